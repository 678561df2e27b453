"""Folders of images, downloads and rendered sets: killed anywhere, and made again."""

import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from conftest import ROOT, nursery
from deep_retrieval import store
from deep_retrieval.making.downloads import Download, download_all
from deep_retrieval.making.fetching import Fetcher
from deep_retrieval.making.folders import MANIFEST, How, Step, make
from image_server import serving

# kills the process at the N-th rename or write of a file, before or after it
KILLER = """
import os, signal, sys
place, after = int(sys.argv.pop(1)), sys.argv.pop(1) == 'after'
count = [0]
def counted(function):
    def call(*args, **kwargs):
        count[0] += 1
        if count[0] != place:
            return function(*args, **kwargs)
        if after:
            function(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
    return call
for name in ('rename', 'replace', 'link'):
    setattr(os, name, counted(getattr(os, name)))
"""


def everything(folder):
    """All entries below a folder, hidden ones too: path -> bytes, or None for folders."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
            for path in sorted(folder.rglob('*'))}


def killed_at(place, code, *args):
    """Run code that is killed at its n-th rename; returns whether it got that far."""
    done = nursery().run(['-c', KILLER + code, *place, *args], cwd='.')
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / 'in'
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f'{i}.png'), np.full((6, 8, 3), 50 * i, np.uint8))
    return folder


MAKE = """
from deep_retrieval.making.folders import How, Step, make
source, output, overwrite = sys.argv[1:]
steps = {f'a/{i}.png': Step(f'{source}/{i}.png') for i in range(3)}
make(output, {'command': 'x'}, steps, {'lab/t.txt': 'text'},
     How(overwrite=overwrite == '1', jobs=1, link=overwrite == '1'))
"""


@pytest.mark.parametrize('moment', ['before', 'after'])
@pytest.mark.parametrize('overwrite', [0, 1])
def test_a_folder_that_is_killed_at_every_rename(moment, overwrite, pictures, tmp_path):
    """The rerun's files are those of an undisturbed run, and nothing is left over."""
    def start(output):
        if overwrite:
            make(str(output), {'command': 'old'}, {'old.png': Step(str(pictures / '0.png'))})
        return output
    output = start(tmp_path / 'out/whole')
    assert not killed_at((0, moment), MAKE, pictures, output, overwrite)
    whole, place = everything(tmp_path / 'out/whole'), 1
    assert len(whole) == 2 + 3 + 2
    while killed_at((place, moment), MAKE, pictures, start(tmp_path / f'{place}/whole'), overwrite):
        assert not killed_at((0, moment), MAKE, pictures, tmp_path / f'{place}/whole', overwrite)
        assert everything(tmp_path / str(place)) == {'whole': None, **{
            f'whole/{name}': data for name, data in whole.items()}}, place
        place += 1
    assert place > 5


def test_the_manifest_describes_all_files_and_changed_ones_are_made_again(pictures, tmp_path):
    steps = {f'{i}.png': Step(str(pictures / f'{i}.png'), np.fliplr) for i in range(3)}
    make(str(tmp_path / 'x'), {}, steps, {'t.txt': 'text'})
    note = store.read_json(tmp_path / 'x' / MANIFEST)
    assert note['files'] == {name: {'sha256': store.sha256(tmp_path / 'x' / name)}
                             for name in ('0.png', '1.png', '2.png', 't.txt')}
    before = everything(tmp_path / 'x')
    (tmp_path / 'x/1.png').write_bytes(b'damaged')
    (tmp_path / 'x/2.png').unlink()
    make(str(tmp_path / 'x'), {}, steps, {'t.txt': 'text'})
    assert everything(tmp_path / 'x') == before


def test_a_damaged_manifest_is_not_ours(pictures, tmp_path):
    steps = {'0.png': Step(str(pictures / '0.png'))}
    (tmp_path / 'x').mkdir()
    for text in ('', '[]', '{"command": "x"}', '\0'):
        (tmp_path / 'x' / MANIFEST).write_text(text)
        with pytest.raises(ValueError, match='x: contains something else; choose another folder'):
            make(str(tmp_path / 'x'), {}, steps)
    make(str(tmp_path / 'x'), {}, steps, how=How(overwrite=True))
    assert sorted(os.listdir(tmp_path)) == ['in', 'x']


def test_a_download_that_is_killed_leaves_nothing(tmp_path, monkeypatch):
    """Leftovers of a run that was killed at the end of a file, and within a log."""
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with serving() as server:
        for i in range(3):
            server.files[f'/{i}'] = cv2.imencode('.jpg', np.full((8, 8, 3), i, np.uint8))[1]
            server.files[f'/{i}'] = server.files[f'/{i}'].tobytes()
        items = [Download(str(i), f'a/{i}.jpg', f'{server.url}/{i}') for i in range(3)]
        download_all(items, str(tmp_path / 'whole'), Fetcher(pause=0.001), 1)
        whole = everything(tmp_path / 'whole')
        download_all(items[:2], str(tmp_path / 'x'), Fetcher(pause=0.001), 1)
        (tmp_path / 'x/a/1.jpg.part.json').write_text('{"url": "x"}')
        (tmp_path / 'x/a/2.jpg.part').write_bytes(server.files['/2'][:10])
        (tmp_path / 'x/a/2.jpg.part.json.aside').write_text('{')
        (tmp_path / 'x/finished.txt.aside').write_text('0')
        download_all(items, str(tmp_path / 'x'), Fetcher(pause=0.001), 1)
        assert everything(tmp_path / 'x') == whole


RENDER = """
from deep_retrieval.scenes.rendering import make_folder
output, overwrite = sys.argv[1:]
def fill(folder):
    (folder / 'jpg').mkdir()
    (folder / 'jpg/a.jpg').write_text('new')
make_folder(output, {'seed': 1}, {'jpg'}, overwrite == '1', fill)
"""


@pytest.mark.parametrize('moment', ['before', 'after'])
@pytest.mark.parametrize('overwrite', [0, 1])
def test_a_rendered_set_that_is_killed_at_every_rename(moment, overwrite, tmp_path):
    def start(folder):
        if overwrite:
            (folder / 'set/jpg').mkdir(parents=True)
            (folder / 'set/jpg/old.jpg').write_text('old')
            store.Manifest.inside(folder / 'set', 'manifest.json').write({'seed': 0})
        return folder / 'set'
    assert not killed_at((0, moment), RENDER, start(tmp_path / 'whole'), overwrite)
    whole, place = everything(tmp_path / 'whole'), 1
    assert len(whole) == 4
    while killed_at((place, moment), RENDER, start(tmp_path / str(place)), overwrite):
        assert not killed_at((0, moment), RENDER, tmp_path / f'{place}/set', overwrite)
        assert everything(tmp_path / str(place)) == whole, place
        place += 1
    assert place > 2


def test_workers_end_with_a_rendering_that_is_killed(tmp_path):
    process = subprocess.Popen([sys.executable, ROOT / 'datasets/make_demo.py', '--output',
                                tmp_path / 'x'], start_new_session=True)
    while not any(path.is_file() for path in tmp_path.rglob('*')) and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _alive(process.pid):
        time.sleep(0.1)
    assert not _alive(process.pid)
    assert os.listdir(tmp_path) == ['.x.aside']
    store.recover(tmp_path / 'x')
    assert os.listdir(tmp_path) == []


def _alive(group):
    """Whether a group has processes that are not zombies."""
    listed = subprocess.run(['ps', '-eo', 'pgid=,stat='], capture_output=True, text=True).stdout
    return any(line.split()[0] == str(group) and not line.split()[1].startswith('Z')
               for line in listed.splitlines())
