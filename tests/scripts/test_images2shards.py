"""Features of a folder's images as shards: by one process or several, killed, and gone on with."""

import json
import os
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import PIL.Image
import pytest
from conftest import ROOT, assert_one_line, run_script
from deep_retrieval import cli, feature_shards, shard_job, store
from deep_retrieval.feature_shards import FeatureFolder, read_shards
from deep_retrieval.images import MEAN, resize
from deep_retrieval.model import DescriptorNet
from deep_retrieval.shard_job import Job
from region_generator import get_rmac_region_coordinates

PROTO = ROOT / 'proto/deploy_resnet_tiny.prototxt'
WEIGHTS = ROOT / 'tests/data/genuine/tiny.caffemodel'
SCRIPT = ROOT / 'myPython/convert/convert_images2shards.py'
NAMES = ['a b.jpg', 'co:lon.jpg', 'one/same_name.jpg', 'tab\there.jpg', 'two/same_name.jpg',
         'ümlaut/日本.png', '\udcff.jpg']     # as they are sorted
ABOUT = {'weights': 'abc'}


class FakeNet:
    """Descriptors that are known: the mean colour of each image, and its size."""

    def __init__(self, breaks_after=None):
        self.calls, self.images, self.breaks_after = 0, 0, breaks_after

    def __call__(self, images):
        if self.calls == self.breaks_after:
            raise KeyboardInterrupt
        self.calls += 1
        self.images += len(images)
        return np.array([known(image) for image in images], np.float32)


def known(image):
    row = np.array([*image.mean((0, 1)), *image.shape[:2]])
    return row / np.linalg.norm(row)


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for i, name in enumerate(NAMES):
        put(tmp_path / 'images' / name, random, (48, 64) if i % 3 else (64, 48))
    return tmp_path / 'images'


def put(path, random, size=(48, 64)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = cv2.resize(random.integers(0, 256, (6, 8, 3), np.uint8), size[::-1])
    with open(path, 'wb') as file:
        file.write(cv2.imencode(path.suffix, image)[1].tobytes())


def read(path):
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name[0] != '.'}


def run(folder, path, net=None, about=ABOUT, scales=(64,), **options):
    options = {'batch_size': 2, 'shard_size': 3, **options}
    return Job(folder, path, list(scales), **options).run(net or FakeNet(), about)


def flags(folder, path):
    return ['--img_dir', folder, '--features_dir', path, '--proto', PROTO, '--weights', WEIGHTS,
            '--S', 64, '--gpu', -1, '--shard_size', 3, '--batch_size', 2]


# What is written

@pytest.mark.parametrize('scales', [[64], [64, 96]])
def test_rows_are_a_forward_on_each_image(folder, tmp_path, scales):
    net = DescriptorNet(PROTO, WEIGHTS, L=2)
    assert run(folder, tmp_path / 'x', net, scales=scales) == []
    features = FeatureFolder(tmp_path / 'x')
    assert features.names == NAMES and features.made_from == {**ABOUT, 'scales': scales}
    assert [len(shard.names) for shard in read_shards(tmp_path / 'x').values()] == [3, 3, 1]
    for name, row in zip(NAMES, features.rows()):
        total = 0
        for S in scales:
            with open(folder / name, 'rb') as file:
                image = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
            image = resize(image, S)[0]
            x, y, w, h = get_rmac_region_coordinates(*image.shape[:2], 2).T
            rois = np.stack([0 * x, x, y, x + w - 1, y + h - 1], 1)
            net.net.blobs['rois'].reshape(*rois.shape)
            net.net.blobs['data'].reshape(1, 3, *image.shape[:2])
            total += net.net.forward(data=(image - MEAN).transpose(2, 0, 1)[None],
                                     rois=rois)['rmac/normalized'].ravel()
        np.testing.assert_allclose(row, total / np.linalg.norm(total), atol=1e-5)


def test_a_later_run_adds_new_images_as_new_shards(folder, tmp_path):
    run(folder, tmp_path / 'x')
    before = read(tmp_path / 'x')
    net = FakeNet()
    run(folder, tmp_path / 'x', net)
    assert not net.calls and read(tmp_path / 'x') == before
    random = np.random.default_rng(1)
    for name in ('0.jpg', 'one/a.jpg', 'z.jpg', 'z/z.jpg'):
        put(folder / name, random)
    run(folder, tmp_path / 'x', net)
    assert net.images == 4 and before.items() <= read(tmp_path / 'x').items()
    features = FeatureFolder(tmp_path / 'x')
    assert features.names == [*NAMES, '0.jpg', 'one/a.jpg', 'z.jpg', 'z/z.jpg']
    for name, row in zip(features.names[7:], features.rows(7)):
        np.testing.assert_allclose(row, known(cv2.imread(str(folder / name))), atol=1e-6)


def test_bad_images_are_told_and_listed(folder, tmp_path, caplog):
    random = np.random.default_rng(0)
    (folder / 'zero.jpg').touch()
    (folder / 'text.jpg').write_text('no image')
    whole = (folder / NAMES[0]).read_bytes()
    (folder / 'trunc ated.jpg').write_bytes(whole[:len(whole) // 2])
    for name in ('cut.bmp', 'cut.webp'):
        put(folder / name, random)
        os.truncate(folder / name, os.path.getsize(folder / name) // 2)
    frames = [PIL.Image.fromarray(random.integers(0, 256, (48, 64, 3), np.uint8)) for _ in range(2)]
    for kind in ('gif', 'png', 'webp'):
        frames[0].save(folder / f'moving.{kind}', save_all=True, append_images=frames[1:])
    PIL.Image.new('L', (10000, 10000)).save(folder / 'huge.png', compress_level=1)
    (folder / 'itself.jpg').symlink_to('itself.jpg')
    (folder / 'nowhere.jpg').symlink_to('none.jpg')
    os.mkfifo(folder / 'pipe.jpg')
    (folder / 'one/loop').symlink_to(folder)
    (folder / 'folder.jpg').mkdir()
    (folder / '.hidden.jpg').touch()
    (folder / 'notes.txt').touch()
    frames[0].save(folder / 'still.gif')
    (folder / 'link.jpg').symlink_to(NAMES[0])
    run(folder, tmp_path / 'x')
    told = caplog.messages
    reasons = {'cut.bmp': 'truncated', 'cut.webp': 'not an image',
               'huge.png': '10000 x 10000 pixels',
               'itself.jpg': 'links', 'moving.gif': 'animated', 'moving.png': 'animated',
               'moving.webp': 'animated',
               'nowhere.jpg': 'No such file', 'pipe.jpg': 'not a file',
               'text.jpg': 'not an image',
               'trunc ated.jpg': 'truncated', 'zero.jpg': 'not an image'}
    features = FeatureFolder(tmp_path / 'x')
    assert features.names == sorted([*NAMES, 'link.jpg', 'still.gif'])
    assert np.isfinite(features.rows()).all()
    assert sorted(features.bad) == sorted(reasons)
    listed = dict(line.split('\t') for line in
                  (tmp_path / 'x/bad.txt').read_text().splitlines())
    for name, words in reasons.items():
        assert words in features.bad[name] and str(tmp_path) not in features.bad[name]
        assert listed[name.replace(' ', '%20')] == features.bad[name]
        assert any(line.startswith(f'skipped: {folder / name}: ') for line in told)
    assert len(told) == len(reasons)


def test_images_whose_descriptor_has_no_direction_are_bad(folder, tmp_path):
    class Nothing(FakeNet):
        def __call__(self, images):
            return super().__call__(images) * (self.calls > 1)

    run(folder, tmp_path / 'x', Nothing())
    features = FeatureFolder(tmp_path / 'x')
    assert sorted([*features.names, *features.bad]) == NAMES and len(features.bad) == 2
    assert all('zero or not finite' in why for why in features.bad.values())


def test_no_good_image_at_all(tmp_path):
    with pytest.raises(FileNotFoundError):
        run(tmp_path / 'none', tmp_path / 'x')
    (tmp_path / 'images').mkdir()
    with pytest.raises(ValueError, match='contains no images'):
        run(tmp_path / 'images', tmp_path / 'x')
    (tmp_path / 'images/a.jpg').touch()
    with pytest.raises(ValueError, match='none of its images'):
        run(tmp_path / 'images', tmp_path / 'x')


def test_links_to_folders_are_followed_where_they_lead_elsewhere(folder, tmp_path):
    put(tmp_path / 'other/a.jpg', np.random.default_rng(0))
    (tmp_path / 'other/back').symlink_to(folder)
    (folder / 'other').symlink_to(tmp_path / 'other')
    job = Job(folder, tmp_path / 'x', [64])
    assert job.names == sorted([*NAMES, 'other/a.jpg'])


# What was there before

def test_features_of_something_else_are_refused_or_thrown_away(folder, tmp_path):
    run(folder, tmp_path / 'x')
    before = read(tmp_path / 'x')
    for options, words in (({'about': {'weights': 'other'}}, 'weights'),
                           ({'about': {**ABOUT, 'L': 3}}, 'L'), ({'scales': [32]}, 'scales')):
        with pytest.raises(ValueError, match=f'made with another {words}; '):
            run(folder, tmp_path / 'x', **options)
    assert read(tmp_path / 'x') == before
    net = FakeNet()
    run(folder, tmp_path / 'x', net, overwrite=True)
    assert not net.calls
    run(folder, tmp_path / 'x', net, scales=[32], overwrite=True)
    run(folder, tmp_path / 'y', scales=[32])
    assert net.images == 7 and read(tmp_path / 'x') == read(tmp_path / 'y') != before


def test_a_folder_that_holds_something_else(folder, tmp_path):
    (tmp_path / 'x').mkdir()
    (tmp_path / 'x/mine.txt').touch()
    with pytest.raises(ValueError, match='contains other files .mine.txt'):
        run(folder, tmp_path / 'x')
    assert os.listdir(tmp_path / 'x') == ['mine.txt']
    for scales in ([32], [64]):
        run(folder, tmp_path / 'x', scales=scales, overwrite=True)
    assert (tmp_path / 'x/mine.txt').exists() and len(FeatureFolder(tmp_path / 'x')) == 7


def test_features_of_another_folder(folder, tmp_path):
    run(folder, tmp_path / 'x')
    with pytest.raises(ValueError, match='features of the images in .*images; give another'):
        run(folder / 'one', tmp_path / 'x')
    folder.rename(tmp_path / 'moved')       # those of a folder that has been moved stay
    run(tmp_path / 'moved', tmp_path / 'x', net := FakeNet())
    assert not net.calls
    assert FeatureFolder(tmp_path / 'x').folder == str(tmp_path / 'moved')
    (tmp_path / 'moved').rename(tmp_path / 'away')
    (tmp_path / 'other').mkdir()
    put(tmp_path / 'other/x.png', np.random.default_rng(1))
    with pytest.raises(ValueError, match='features of other images'):
        run(tmp_path / 'other', tmp_path / 'x')


def test_shards_without_a_manifest_are_refused(folder, tmp_path):
    run(folder, tmp_path / 'x')
    whole = read(tmp_path / 'x')
    (tmp_path / 'x/manifest.json').unlink()
    with pytest.raises(ValueError, match='x: has shards, but no manifest.json'):
        run(folder, tmp_path / 'x', scales=[48])
    run(folder, tmp_path / 'x', overwrite=True)
    assert read(tmp_path / 'x') == whole


def test_features_beside_the_images_are_refused(folder, tmp_path):
    for path in (folder, folder / 'one/cache'):
        with pytest.raises(ValueError, match='whose images are described'):
            run(folder, path)
    assert not (folder / 'one/cache').exists()


def test_a_shard_that_another_process_makes_is_waited_for(folder, tmp_path):
    with store.Locks(tmp_path / 'x') as locks, locks.held(1):
        code = ('import os, sys; sys.path[:0] = sys.argv[3:]; import test_images2shards as t; '
                't.Job(sys.argv[1], sys.argv[2], [64]).run(t.FakeNet(), t.ABOUT, wait=True); '
                'print(len(t.FeatureFolder(sys.argv[2])))')
        waiting = subprocess.Popen([sys.executable, '-c', code, folder, tmp_path / 'x', *sys.path],
                                   stdout=subprocess.PIPE, text=True)
        while not (tmp_path / 'x/shard_00000.json').exists():
            assert waiting.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.5)
    assert waiting.communicate()[0] == '7\n' and waiting.returncode == 0


def test_images_that_changed_are_told(folder, tmp_path, caplog):
    (folder / 'b.jpg').touch()
    run(folder, tmp_path / 'x')
    (folder / NAMES[0]).unlink()
    random = np.random.default_rng(1)
    put(folder / 'b.jpg', random)
    put(folder / NAMES[-1], random, (90, 90))
    before = read(tmp_path / 'x')
    caplog.clear()
    run(folder, tmp_path / 'x')
    told = caplog.messages
    assert re.match('1 images no longer exist.* a b.jpg', told[0])
    assert re.match('2 images have changed.* b.jpg; recomputing', told[1])
    assert list(FeatureFolder(tmp_path / 'x').bad) == [NAMES[0]]
    (folder / NAMES[0]).symlink_to('co:lon.jpg')
    run(folder, tmp_path / 'x')
    features = FeatureFolder(tmp_path / 'x')
    assert features.names == sorted([*NAMES, 'b.jpg']) and not features.bad
    changed = {name for name, data in read(tmp_path / 'x').items() if before[name] != data}
    assert changed == {'shard_00000.npy', 'shard_00000.json', 'shard_00002.npy',
                       'shard_00002.json', 'bad.txt'}


# Interrupted, and several at once

@pytest.mark.parametrize('scales', [[64], [48, 64]])
def test_interrupted_at_every_batch(folder, tmp_path, scales):
    (folder / 'bad.jpg').touch()
    net = FakeNet()
    run(folder, tmp_path / 'whole', net, scales=scales)
    for _ in range(net.calls - 1):      # each run gets one batch further
        with pytest.raises(KeyboardInterrupt):
            run(folder, tmp_path / 'broken', FakeNet(1), scales=scales)
    last = FakeNet()
    run(folder, tmp_path / 'broken', last, scales=scales)
    assert last.calls == 1 and read(tmp_path / 'broken') == read(tmp_path / 'whole')


DRIVER = '''
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)
from deep_retrieval.model import DescriptorNet
from deep_retrieval.shard_job import Job

proto, weights, images, one, other, several = sys.argv[1:]
net = DescriptorNet(proto, weights, L=2)

def start(path, share=(0, 1)):
    child = os.fork()
    if child:
        return child
    Job(images, path, [64], 2, 3, share).run(net, {'weights': 'abc'})
    os._exit(0)

begun = time.monotonic()
assert os.waitpid(start(one), 0)[1] == 0
took = time.monotonic() - begun
random.seed(0)
for kill in range(10):
    child = start(other)
    time.sleep(random.uniform(0.05, 0.5) * took)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if all(name in os.listdir(other) for name in os.listdir(one)):
        other += '_'     # whole already: once more
        os.makedirs(other, exist_ok=True)
assert os.waitpid(start(other), 0)[1] == 0
children = [start(several, (i, 3)) for i in range(3)] + [start(several, (1, 3))]
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
'''


def test_killed_at_ten_random_moments_and_by_several_processes(folder, tmp_path):
    random = np.random.default_rng(1)
    for i in range(20):
        put(folder / f'{i}.jpg', random, (48, 64) if i % 3 else (64, 48))
    (folder / 'bad.jpg').touch()
    paths = [tmp_path / name for name in ('one', 'other', 'several')]
    for path in paths:
        path.mkdir()
    subprocess.run([sys.executable, '-c', DRIVER, PROTO, WEIGHTS, folder, *paths], check=True)
    whole = read(paths[0])
    assert len(whole) == 2 * 10 + 2     # 28 images in shards of 3
    made = [path for path in tmp_path.iterdir() if path.name.startswith(('other', 'several'))]
    for path in made:
        assert read(path) == whole


def test_each_process_makes_its_part(folder, tmp_path):
    run(folder, tmp_path / 'one')
    nets = [FakeNet(), FakeNet()]
    assert run(folder, tmp_path / 'x', nets[1], share=(1, 2)) == [0, 2]
    assert not (tmp_path / 'x/bad.txt').exists()
    assert run(folder, tmp_path / 'x', nets[0], share=(0, 2)) == []
    assert [net.images for net in nets] == [4, 3]
    assert read(tmp_path / 'x') == read(tmp_path / 'one')


def test_a_process_may_make_its_last_shard_while_another_looks(folder, tmp_path, monkeypatch):
    run(folder, tmp_path / 'one')
    read_shards = feature_shards.read_shards

    def read_and_then_others_finish(path):
        shards = read_shards(path)
        if len({shard.bad is None for shard in shards.values()}) == 2:
            shutil.copytree(tmp_path / 'one', path, dirs_exist_ok=True)
        return shards
    monkeypatch.setattr(feature_shards, 'read_shards', read_and_then_others_finish)
    assert run(folder, tmp_path / 'x', share=(0, 2)) == [1]
    assert run(folder, tmp_path / 'x', share=(1, 2)) == []
    assert read(tmp_path / 'x') == read(tmp_path / 'one')


def test_shares(monkeypatch):
    assert shard_job.share() == (0, 1) and shard_job.share('2/4') == (2, 4)
    monkeypatch.setenv('RANK', '3')
    monkeypatch.setenv('WORLD_SIZE', '8')
    assert shard_job.share() == (3, 8) and shard_job.share('0/2') == (0, 2)
    for text in ('4/4', '1', '-1/2', '1/0', 'a/b'):
        with pytest.raises(ValueError, match='I is from 0 to N - 1'):
            shard_job.share(text)


# The script

def test_the_script(folder, tmp_path, monkeypatch, capsys):
    (folder / 'bad.jpg').touch()
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import convert_images2shards as script
    monkeypatch.setattr('sys.argv', list(map(str, [SCRIPT, *flags(folder, tmp_path / 'x')])))
    cli.run(script.parse_args, script.main)
    out, err = capsys.readouterr()
    assert out == f'{tmp_path}/x: 7 x 128; 1 bad images, see bad.txt\n'
    assert err == (f'convert_images2shards.py: skipped: {folder}/bad.jpg: is not an image '
                   'that OpenCV can read\n')
    manifest = json.loads((tmp_path / 'x/manifest.json').read_text())['made_from']
    assert manifest['L'] == 2 and manifest['scales'] == [64] and len(manifest['weights']) == 64
    assert_one_line(run_script(SCRIPT, *flags(folder, tmp_path / 'x'), '--L', 1, '--shard', '0/2'),
                    f'{tmp_path}/x: ', 'made with another L')
