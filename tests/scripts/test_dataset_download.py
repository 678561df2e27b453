"""datasets/download.py, with small archives from a server on this machine."""

import gzip
import io
import os
import runpy
import sys
import tarfile

import cv2
import numpy as np
import pytest
from conftest import ROOT
from deep_retrieval.datasets import OxfordHelper, ParisHelper
from deep_retrieval.making.unpacking import unpack
from image_server import serving
from picture_folders import tree

SCRIPT = str(ROOT / 'datasets/download.py')
TRUTH = {'tower_1_query.txt': b'oxc1_tower_000001 1 1 5 5\n', 'tower_1_good.txt': b'tower_000002\n',
         'tower_1_ok.txt': b'', 'tower_1_junk.txt': b'', 'readme.txt': b'x'}


def jpeg(value):
    return cv2.imencode('.jpg', np.full((8, 8, 3), value, np.uint8))[1].tobytes()


def archive(files):
    """A .tgz; a value may be a TarInfo, for what is not a file."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w:gz') as tar:
        for name, content in files.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.name = name
            if member is not content:
                member.size = len(content)
            tar.addfile(member, None if member is content else io.BytesIO(content))
    return data.getvalue()


def images(*names, folder=''):
    return {f'{folder}{name}.jpg': jpeg(10 * value) for value, name in enumerate(names)}


OXFORD = {'oxbuild_images-v1.tgz': archive({'./jpg/a/._tower_000001.jpg': b'x',
                                            **images('tower_000001', 'tower_000002')}),
          'gt_files_170407.tgz': archive(TRUTH)}
PARIS = {'paris_1-v1.tgz': archive(images('tower_000001', folder='paris/tower/')),
         'paris_2-v1.tgz': archive(images('tower_000002', 'paris_louvre_000136',
                                          folder='paris/b/')),
         'paris_120310.tgz': archive({f'lab/{name}': text for name, text in TRUTH.items()})}
OXFORD_FILES = {'jpg/tower_000001.jpg', 'jpg/tower_000002.jpg',
                *(f'lab/tower_1_{what}.txt' for what in ('query', 'good', 'ok', 'junk'))}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with serving() as running:
        for name, data in {**OXFORD, **PARIS}.items():
            running.files[f'/vgg/{name}'] = data
        yield running


@pytest.fixture
def call(server, monkeypatch):
    def run(*flags):
        monkeypatch.setattr(sys, 'argv', [SCRIPT, *map(str, flags), '--home', f'{server.url}/vgg',
                                          '--pause', '0.001'])
        runpy.run_path(SCRIPT, run_name='__main__')
    return run


def data_of(folder):
    return {path for path in tree(folder) if not path.startswith('archives/')}


def test_oxford(server, call, tmp_path, capsys):
    server.faults['/vgg/oxbuild_images-v1.tgz'] = [('cut', 200), 500]
    call('oxford', '--output', tmp_path / 'o')
    assert capsys.readouterr().out == f'{tmp_path}/o: 2 images, 1 queries\n'
    assert data_of(tmp_path / 'o') == OXFORD_FILES
    assert OxfordHelper(tmp_path / 'o').images == ['tower_000001', 'tower_000002']
    assert ('/vgg/oxbuild_images-v1.tgz', 'bytes=200-') in server.asked
    server.asked.clear()
    call('oxford', '--output', tmp_path / 'o', '--delete')
    assert not server.asked and os.listdir(tmp_path / 'o/archives') == ['unpacked.json']
    call('oxford', '--output', tmp_path / 'o')
    assert not server.asked
    # a damaged record costs time only
    (tmp_path / 'o/archives/unpacked.json').write_text('{"oxbuild_images-v1.tgz": 3}')
    call('oxford', '--output', tmp_path / 'o', '--delete')
    assert len(server.asked) == 2 and data_of(tmp_path / 'o') == OXFORD_FILES
    server.asked.clear()
    # a file that has gone comes back
    (tmp_path / 'o/jpg/tower_000002.jpg').unlink()
    call('oxford', '--output', tmp_path / 'o')
    assert data_of(tmp_path / 'o') == OXFORD_FILES
    assert [path for path, _ in server.asked] == ['/vgg/oxbuild_images-v1.tgz']


def test_paris_with_archives_that_are_there(server, call, tmp_path, capsys):
    """By their names or their old ones; the damaged image is unpacked, and then ignored."""
    for name, old in (('paris_1-v1.tgz', 'paris_1.tgz'), ('paris_2-v1.tgz',) * 2):
        (tmp_path / old).write_bytes(PARIS[name])
    call('paris', '--output', tmp_path / 'p', '--archive', tmp_path / 'paris_1.tgz',
         tmp_path / 'paris_2-v1.tgz', '--delete')
    assert capsys.readouterr().out == (
        f'{tmp_path}/p: 2 images without the 20 damaged ones, 1 queries\n')
    assert [path for path, _ in server.asked] == ['/vgg/paris_120310.tgz']
    assert (tmp_path / 'p/jpg/paris_louvre_000136.jpg').exists()
    assert ParisHelper(tmp_path / 'p').images == ['tower_000001', 'tower_000002']
    assert (tmp_path / 'paris_1.tgz').exists()      # only what was downloaded is deleted


def test_mistakes(server, call, tmp_path, capsys):
    (tmp_path / 'x.tgz').write_bytes(b'')
    del server.files['/vgg/gt_files_170407.tgz']
    for flags, words in ((['--archive', tmp_path / 'x.tgz'], 'is not one of oxbuild_images-v1.tgz'),
                         (['--archive', tmp_path / 'gt_files_170407.tgz'], 'no such file'),
                         ([], 'gt_files_170407.tgz: status 404')):
        with pytest.raises(SystemExit) as ended:
            call('oxford', '--output', tmp_path / 'o', *flags)
        told = capsys.readouterr().err
        assert ended.value.code == 1 and words in told and told.count('\n') == 1


def test_images_of_no_archive_are_reported(call, tmp_path, capsys):
    (tmp_path / 'o/jpg').mkdir(parents=True)
    (tmp_path / 'o/jpg/mine.jpg').write_bytes(jpeg(3))
    call('oxford', '--output', tmp_path / 'o')
    told = capsys.readouterr().err
    assert 'jpg: has 1 images that are not from an archive, such as mine.jpg' in told
    (tmp_path / 'p/jpg').mkdir(parents=True)
    (tmp_path / 'p/jpg/tower_000001.jpg').write_bytes(b'mine')
    with pytest.raises(SystemExit):
        call('oxford', '--output', tmp_path / 'p')
    assert 'tower_000001.jpg: exists, but differs' in capsys.readouterr().err
    assert (tmp_path / 'p/jpg/tower_000001.jpg').read_bytes() == b'mine'
    call('oxford', '--output', tmp_path / 'p', '--overwrite')
    assert data_of(tmp_path / 'p') == OXFORD_FILES


def put(path, data):
    path.write_bytes(data)
    return str(path)


def test_nothing_is_written_elsewhere(tmp_path):
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, '/etc/passwd'
    device = tarfile.TarInfo()
    device.type = tarfile.CHRTYPE
    path = put(tmp_path / 'evil.tgz', archive({
        '../../up.jpg': jpeg(1), '/root.jpg': jpeg(2), 'a/../../b.png': jpeg(3), 'link.jpg': link,
        'null.jpg': device, '../x.sh': b'x', 'c:d e_ü.JPG': jpeg(4), '..': b'y',
        '../t_query.txt': b'q'}))
    assert unpack(path, str(tmp_path / 'o')) == [
        'jpg/up.jpg', 'jpg/root.jpg', 'jpg/b.png', 'jpg/c:d e_ü.JPG', 'lab/t_query.txt']
    assert set(tree(tmp_path)) == {
        'evil.tgz', *(f'o/{name}' for name in ('jpg/up.jpg', 'jpg/root.jpg', 'jpg/b.png',
                                               'jpg/c:d e_ü.JPG', 'lab/t_query.txt'))}


def test_two_files_of_one_name(tmp_path):
    same = archive({'a/x.jpg': jpeg(1), 'b/x.jpg': jpeg(1)})
    assert unpack(put(tmp_path / 'a.tgz', same), str(tmp_path / 'o')) == ['jpg/x.jpg']
    other = archive({'a/y.jpg': jpeg(1), 'b/y.jpg': jpeg(2)})
    with pytest.raises(ValueError, match='has two different files y.jpg'):
        unpack(put(tmp_path / 'b.tgz', other), str(tmp_path / 'o'), overwrite=True)


def test_damaged_archives(tmp_path):
    """Truncated anywhere, or one bit wrong: refused, and nothing of it stays."""
    random = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    whole = archive({f'{i}.jpg': cv2.imencode('.jpg', random)[1].tobytes() for i in range(3)})
    spoilt = bytearray(gzip.decompress(whole))
    spoilt[700] ^= 1                # of an image; gzip's checksum is that of the right bytes
    crc_wrong = gzip.compress(bytes(spoilt))[:-8] + whole[-8:]
    cases = [whole[:length] for length in (0, 5, 300, len(whole) // 2, len(whole) - 4)]
    for number, data in enumerate([*cases, b'<html>no archive</html>' * 50, crc_wrong]):
        with pytest.raises(ValueError, match=r'x.tgz: is damaged \(.*remove it'):
            unpack(put(tmp_path / 'x.tgz', data), str(tmp_path / f'o{number}'))
        assert not (tmp_path / f'o{number}').exists() or not tree(tmp_path / f'o{number}')
    assert len(unpack(put(tmp_path / 'x.tgz', whole), str(tmp_path / 'o'))) == 3


def test_interrupted_unpacking(tmp_path, monkeypatch):
    path = put(tmp_path / 'x.tgz', archive(images('a', 'b', 'c', 'd')))
    unpack(path, str(tmp_path / 'whole'))
    count = [0]

    def stop(*args):
        count[0] += 1
        if count[0] == 3:
            raise KeyboardInterrupt
        return write(*args)
    from deep_retrieval.making import unpacking
    write = unpacking.store.write
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(unpacking.store, 'write', stop)
        unpack(path, str(tmp_path / 'o'))
    assert len(tree(tmp_path / 'o')) == 2
    unpack(path, str(tmp_path / 'o'))
    assert tree(tmp_path / 'o') == tree(tmp_path / 'whole')
