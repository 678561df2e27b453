"""The API of a notebook, on the tiny net and a few pictures: against the net run by hand."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import caffe
import cv2
import deep_retrieval as dr
import numpy as np
import pytest
from conftest import run_script
from deep_retrieval import images as image_module
from deep_retrieval import paths, store
from deep_retrieval.model import info_path, write_info
from region_generator import get_rmac_region_coordinates, pack_regions_for_network
from tiny import PROTO, WEIGHTS

S = 64


@pytest.fixture(scope='module')
def model():
    return dr.load_model(WEIGHTS, proto=PROTO, S=S)


@pytest.fixture
def photos(tmp_path):
    """Four photographs of two things, each twice with a little noise, in two folders."""
    rng = np.random.default_rng(0)
    folder = tmp_path / 'photos'
    for thing, size in (('one', (8, 6)), ('two', (6, 8))):
        (folder / thing).mkdir(parents=True)
        pattern = cv2.resize(rng.integers(0, 256, (*size, 3), np.uint8), (96, 72))
        for view in 'ab':
            noisy = np.clip(pattern + rng.normal(0, 3, pattern.shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / thing / f'{view}.png'), noisy)
    return folder


def by_hand(image, S=S, L=2):
    """The descriptor of an image: read, resized, less the mean, through the net."""
    net = caffe.Net(str(PROTO), str(WEIGHTS), caffe.TEST)
    ratio = S / max(image.shape[:2])
    image = cv2.resize(image, (round(image.shape[1] * ratio), round(image.shape[0] * ratio)))
    blob = (image.astype(np.float32) - image_module.MEAN).transpose(2, 0, 1)[None]
    rois = pack_regions_for_network([get_rmac_region_coordinates(*image.shape[:2], L)])
    for name, array in (('data', blob), ('rois', rois)):
        net.blobs[name].reshape(*array.shape)
        net.blobs[name].data[...] = array
    net.forward()
    return net.blobs['rmac/normalized'].data.ravel().copy()


def test_importing_the_package_imports_nothing_heavy():
    code = ('import sys, deep_retrieval; dir(deep_retrieval); '
            'print([m for m in ("torch", "numpy", "cv2", "caffe") if m in sys.modules])')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == '[]\n'


def test_a_function_is_not_hidden_by_the_module_of_its_name():
    import deep_retrieval.describe
    import deep_retrieval.gallery.pages  # noqa: F401
    assert callable(dr.describe) and callable(dr.gallery) and callable(dr.search)
    with pytest.raises(AttributeError, match='nothing_like_this'):
        dr.nothing_like_this  # noqa: B018


def test_describe_gives_what_the_net_gives(model, photos):
    found = dr.describe(model, photos)
    assert found.names == ['one/a.png', 'one/b.png', 'two/a.png', 'two/b.png']
    assert found.dim == 128 and not found.bad and found.folder == str(photos)
    for name, row in zip(found.names, found.rows(), strict=True):
        np.testing.assert_allclose(row, by_hand(cv2.imread(str(photos / name))), atol=1e-5)


def test_every_kind_of_images_is_described_alike(model, photos):
    paths = [photos / 'one/a.png', photos / 'two/b.png']
    rows = dr.describe(model, photos).rows()[[0, 3]]
    arrays = [cv2.imread(str(path)) for path in paths]
    for images in (paths, list(map(str, paths)), arrays):
        np.testing.assert_allclose(dr.describe(model, images).rows(), rows, atol=1e-5)
    np.testing.assert_allclose(model(arrays), rows, atol=1e-5)
    assert dr.describe(model, paths).names == list(map(str, paths))
    assert dr.describe(model, photos / 'one/a.png').names == [str(photos / 'one/a.png')]


def test_scales_are_summed_and_normalized(model, photos):
    image = cv2.imread(str(photos / 'one/a.png'))
    total = sum(by_hand(image, scale) for scale in (32, 64, 96))
    row, = dr.describe(model, [image], multires='original').rows()
    np.testing.assert_allclose(row, total / np.linalg.norm(total), atol=1e-5)
    with pytest.raises(ValueError, match='three resolutions .* 250 pixels, not 64'):
        dr.describe(model, [image], multires=True)
    with pytest.raises(ValueError, match="unknown scales 'many'; known are papers, original"):
        dr.describe(model, [image], multires='many')


def test_pictures_of_two_sizes_in_one_batch(model):
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((60, 80), (80, 60), (60, 80))]
    rows = model(images)
    for image, row in zip(images, rows, strict=True):
        np.testing.assert_allclose(row, by_hand(image), atol=1e-5)
    boxed, = model(images[:1], boxes=[(10, 10, 60, 50)])
    assert not np.allclose(boxed, rows[0])


@pytest.mark.parametrize('image, words', [
    (np.zeros((4, 4, 3), np.float32), 'image 1 has values of type float32.*0 to 1'),
    (np.zeros((4, 4), np.uint8), r'image 1 has shape \(4, 4\), but must be H x W x 3'),
    (np.zeros((4, 4, 4), np.uint8), r'H x W x 3'), (None, 'image 1 is NoneType')])
def test_arrays_that_are_not_images_are_refused(model, image, words):
    good = np.zeros((4, 4, 3), np.uint8)
    for call in (lambda: model([good, image]), lambda: dr.describe(model, [good, image])):
        with pytest.raises(ValueError, match=words):
            call()


def test_damaged_images_are_named(model, photos, tmp_path):
    (photos / 'one/c.jpg').write_bytes(b'no image')
    for cache in (None, tmp_path / 'cache'):
        found = dr.describe(model, photos, cache=cache)
        assert len(found) == 4
        assert found.bad == {'one/c.jpg': 'is not an image that OpenCV can read'}
    with pytest.raises(ValueError, match='none of the 1 images can be read.*c.jpg'):
        dr.describe(model, [photos / 'one/c.jpg'])
    with pytest.raises(FileNotFoundError):
        dr.describe(model, tmp_path / 'nothing')
    (tmp_path / 'empty').mkdir()
    for cache in (None, tmp_path / 'other'):
        with pytest.raises(ValueError, match='empty: contains no images'):
            dr.describe(model, tmp_path / 'empty', cache=cache)


def test_a_cache_describes_only_what_is_new(model, photos, tmp_path, monkeypatch):
    first = dr.describe(model, photos, cache=tmp_path / 'cache')
    images = []
    call = type(model.net).__call__
    monkeypatch.setattr(type(model.net), '__call__',
                        lambda net, batch: images.extend(batch) or call(net, batch))
    again = dr.describe(model, photos, cache=tmp_path / 'cache')
    assert not images
    np.testing.assert_array_equal(again.rows(), first.rows())
    (photos / 'new.png').write_bytes((photos / 'one/a.png').read_bytes())
    more = dr.describe(model, photos, cache=tmp_path / 'cache')
    assert len(images) == 1 and more.names[-1] == 'new.png' and len(more) == 5
    some = dr.describe(model, [photos / 'two/b.png'], cache=tmp_path / 'list')
    np.testing.assert_allclose(some.rows()[0], first.rows()[3], atol=1e-6)


def test_a_cache_of_another_model_is_refused(model, photos, tmp_path):
    dr.describe(model, photos, cache=tmp_path / 'cache')
    for options, word in (({'S': 48}, 'scales'), ({'multires': 'original'}, 'scales')):
        with pytest.raises(ValueError, match=f'made with another {word}'):
            dr.describe(model, photos, cache=tmp_path / 'cache', **options)
    other = dr.load_model(WEIGHTS, proto=PROTO, S=S, L=1)
    with pytest.raises(ValueError, match='made with another L; give another folder'):
        dr.describe(other, photos, cache=tmp_path / 'cache')
    assert len(dr.describe(other, photos, cache=tmp_path / 'cache', overwrite=True)) == 4


def test_a_cache_follows_its_folder(model, photos, tmp_path):
    dr.describe(model, photos, cache=tmp_path / 'cache')
    (photos / 'one/a.png').unlink()
    (photos / 'two/b.png').write_bytes((photos / 'one/b.png').read_bytes() + b' ')
    (photos / 'new.png').write_bytes((photos / 'two/a.png').read_bytes())
    cached, fresh = (dr.describe(model, photos, cache=cache)
                     for cache in (tmp_path / 'cache', None))
    order = [cached.names.index(name) for name in fresh.names]
    assert len(cached) == 4 and cached.folder == str(photos)
    np.testing.assert_allclose(cached.rows()[order], fresh.rows(), atol=1e-6)


def test_an_image_is_given_once(model, photos):
    with pytest.raises(ValueError, match='a.png: is given twice'):
        dr.describe(model, [photos / 'one/a.png', photos / 'one/b.png', photos / 'one/a.png'])


def test_what_is_left_out_is_told(model, photos, caplog):
    found = dr.describe(model, [photos / 'one/a.png', photos / 'nothing.png'])
    assert len(found) == 1 and list(found.bad) == [str(photos / 'nothing.png')]
    told, = caplog.messages
    assert told.startswith(f'skipped: {photos}/nothing.png')


@pytest.mark.parametrize('options, word', [({'L': 1}, 'another L'), ({'S': 48}, 'another scales')])
def test_descriptors_made_otherwise_are_not_compared(options, word, model, photos):
    found = dr.describe(model, photos)
    other = dr.load_model(WEIGHTS, proto=PROTO, **{'S': S, **options})
    with pytest.raises(ValueError, match=word):
        dr.search(found, dr.describe(other, [photos / 'two/a.png']))


def test_search(model, photos):
    found = dr.describe(model, photos)
    hits, = dr.search(found, dr.describe(model, [photos / 'two/a.png']), top=2)
    assert [hit.name for hit in hits] == ['two/a.png', 'two/b.png']
    assert hits[0].similarity == pytest.approx(1, abs=1e-5)
    rows = found.rows().astype(float)
    assert hits[1].similarity == pytest.approx(rows[2] @ rows[3], abs=1e-5)
    assert len(dr.search(found, found, top=100)[0]) == 4
    other = dr.load_model(WEIGHTS, proto=PROTO.with_name('deploy_resnet_tiny_normpython.prototxt'),
                          S=S)
    with pytest.raises(ValueError, match='another proto'):
        dr.search(found, dr.describe(other, [photos / 'two/a.png']))
    with pytest.raises(ValueError, match='top is 0'):
        dr.search(found, found, top=0)


def features(rows, names):
    from deep_retrieval.features import Features
    return Features('made', names, np.asarray(rows, np.float32))


def at(*degrees):
    """Unit vectors at these angles."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_groups_have_one_centre():
    """At 0.9 (25.8 degrees) b is near a and c, which are not near each other; d stands alone."""
    found = features(at(0, 20, 41, 120, 62), ['a', 'b', 'c', 'd', 'e'])
    groups = dr.find_groups(found, threshold=0.9)
    assert [group.names for group in groups] == [['b', 'a', 'c']]
    assert groups[0].hits[0].similarity == pytest.approx(np.cos(np.deg2rad(20)), abs=1e-6)
    chained, = dr.find_groups(found, threshold=0.9, components=True)
    assert sorted(chained.names) == ['a', 'b', 'c', 'e']
    pairs = dr.find_groups(features(at(0, 1, 90, 91), ['d', 'c', 'b', 'a']), threshold=0.9)
    assert [group.names for group in pairs] == [['a', 'b'], ['c', 'd']]
    assert dr.find_groups(found, threshold=0.9, min_size=4) == []
    with pytest.raises(ValueError, match='threshold is 75'):
        dr.find_groups(found, threshold=75)


def test_groups_against_a_naive_loop():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(60, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names = [f'{i:02d}' for i in range(60)]
    free, expected = set(range(60)), []
    near = rows.astype(np.float32).astype(float) @ rows.astype(np.float32).astype(float).T > 0.8
    while True:
        counts = {i: sum(near[i, j] for j in free if j != i) for i in free}
        anchor = min(free, key=lambda i: (-counts[i], names[i]), default=None)
        if anchor is None or not counts[anchor]:
            break
        group = {j for j in free if near[anchor, j]} | {anchor}
        expected.append((names[anchor], {names[j] for j in group}))
        free -= group
    found = dr.find_groups(features(rows, names), threshold=0.8)
    assert [(group.anchor, set(group.names)) for group in found] == sorted(
        expected, key=lambda group: (-len(group[1]), group[0]))


def test_no_gallery_among_the_photographs_or_over_their_descriptors(model, photos, tmp_path):
    found = dr.describe(model, photos, cache=tmp_path / 'cache')
    groups = dr.find_groups(found, threshold=0.5)
    for output in (photos, photos / 'one', photos / 'gallery', tmp_path / 'cache', tmp_path):
        with pytest.raises(ValueError, match=str(output)):
            dr.gallery(groups, found, output, overwrite=True)
    assert len(dr.describe(model, photos, cache=tmp_path / 'cache')) == 4


def test_the_gallery_shows_the_groups(model, photos, tmp_path):
    found = dr.describe(model, photos, cache=tmp_path / 'cache')
    groups = dr.find_groups(found, threshold=0.97)
    done = dr.gallery(groups, found, tmp_path / 'gallery')
    assert done.entries == len(groups) and not done.faults
    assert 'one/a.png' in (tmp_path / 'gallery/index.html').read_text()
    hits = dr.search(found, dr.describe(model, [photos / 'two/a.png']))
    shown = dr.gallery({str(photos / 'two/a.png'): hits[0]}, found, tmp_path / 'hits')
    assert shown.entries == 1 and not shown.faults
    with pytest.raises(ValueError, match='no groups to show'):
        dr.gallery([], found, tmp_path / 'none')
    assert not (tmp_path / 'none').exists()


def test_evaluate_gives_what_test_py_prints(small, scorer, tmp_path):
    model = dr.load_model(WEIGHTS, proto=PROTO, S=128)
    dataset = dr.open_dataset(small)
    result = dr.evaluate(model, dataset, cache=tmp_path / 'a')
    compiled = dr.evaluate(model, dataset, cache=tmp_path / 'a', eval_binary=scorer)
    assert result.per_query == pytest.approx(compiled.per_query, abs=1e-5)
    assert result.mean == pytest.approx(np.mean(list(result.per_query.values())))
    assert result.protocol == 'query_crop roi'
    done = run_script('test.py', '--gpu', -1, '--weights', WEIGHTS, '--proto', PROTO, '--S', 128,
                      '--dataset', small, '--temp_dir', tmp_path / 'b', '--eval_binary', scorer)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == compiled.lines()
    for options, words in (({'aqe': 1000}, 'aqe 1000'), ({'query_crop': 'no'}, 'must be roi or')):
        with pytest.raises(ValueError, match=words):
            dr.evaluate(model, dataset, cache=tmp_path / 'a', **options)


def test_datasets_of_one_layout_have_caches_of_their_own(small, tmp_path, caplog):
    model = dr.load_model(WEIGHTS, proto=PROTO, S=S)
    other = Path(shutil.copytree(small, tmp_path / 'other'))
    (other / 'jpg/copy_000001.jpg').write_bytes(next((other / 'jpg').iterdir()).read_bytes())
    datasets = [dr.open_dataset(folder) for folder in (small, other)]
    for dataset in datasets:
        dr.evaluate(model, dataset, cache=tmp_path / 'cache')
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / 'cache').glob('*.npy')}
    assert len(written) == 4
    for dataset in datasets:
        dr.evaluate(model, dataset, cache=tmp_path / 'cache')
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / 'cache').glob('*.npy')}
    assert not caplog.messages


# Weights that describe themselves

@pytest.fixture
def weights(tmp_path):
    path = tmp_path / 'mine.caffemodel'
    path.write_bytes(WEIGHTS.read_bytes())
    return path


def test_the_json_says_how_weights_are_used(weights, photos, caplog):
    write_info(weights, net='proto/deploy_resnet_tiny.prototxt', blob='rmac/normalized',
               S=48, L=1, dimension=128, trained=False, source='a test')
    model = dr.load_model(weights)
    assert (model.S, model.L, model.end) == (48, 1, 'rmac/normalized')
    assert 'not trained' in caplog.text
    image = cv2.imread(str(photos / 'one/a.png'))
    np.testing.assert_allclose(model([image])[0], by_hand(image, 48, 1), atol=1e-5)
    given = dr.load_model(weights, S=64, L=2)
    np.testing.assert_allclose(given([image])[0], by_hand(image), atol=1e-5)


def test_mean_scale_and_colour_reach_the_net(weights, photos):
    image = cv2.imread(str(photos / 'one/a.png'))
    write_info(weights, net=str(PROTO), mean=[1, 2, 3], scale=0.5, colour='RGB', S=S)
    model = dr.load_model(weights)
    seen = {}
    feed = model.net.feed
    model.net.feed = lambda name, array: (seen.__setitem__(name, array), feed(name, array))
    model([image])
    small, _ = image_module.resize(image, S)
    expected = (small[..., ::-1].astype(float) - [1, 2, 3]) * 0.5
    np.testing.assert_allclose(seen['data'][0].transpose(1, 2, 0), expected, atol=1e-4)
    assert model.made_from['mean'] == [1, 2, 3] and model.made_from['colour'] == 'RGB'


@pytest.mark.parametrize('change, words', [
    ({'net': 'proto/none.prototxt'}, 'its net proto/none.prototxt does not exist'),
    ({'sha256': '0' * 64}, 'written for other weights'), ({'S': 'big'}, "S is 'big'"),
    ({'S': -4}, 'S is -4, but must be at least 3'), ({'S': 0}, 'S is 0'),
    ({'S': 96.7}, 'S is 96.7, but must be an integer'), ({'L': -1}, 'L is -1'),
    ({'dimension': 64}, "dimension is 64, but the blob 'rmac/normalized' has 128"),
    ({'mean': [1, 2]}, 'mean is .1, 2., but must have 3 finite numbers'),
    ({'mean': [1, 2, float('nan')]}, 'mean is'), ({'mean': 'grey'}, "mean is 'grey'"),
    ({'scale': float('inf')}, 'scale is inf'), ({'colour': 'CMYK'}, 'BGR or RGB'),
    ({'net': 5}, 'net is 5'), ({'blob': []}, 'blob is')])
def test_a_wrong_json_is_one_line(weights, change, words):
    write_info(weights, net=str(PROTO), S=S)
    path = info_path(weights)
    with open(path) as file:
        found = json.load(file)
    store.write_json(path, {**found, **change})
    with pytest.raises(ValueError, match=words) as error:
        dr.load_model(weights)
    assert str(error.value).startswith(path) and '\n' not in str(error.value)


@pytest.mark.parametrize('name', ['net.pth', 'net.safetensors', 'net.pt'])
def test_weights_of_pytorch_name_the_importer(tmp_path, name):
    (tmp_path / name).write_bytes(b'PK')
    with pytest.raises(ValueError, match=f'{name}: is not a caffemodel.*model_tools.py'):
        dr.load_model(tmp_path / name, proto=PROTO)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        dr.load_model(tmp_path / 'none.caffemodel')
    assert error.value.filename == str(tmp_path / 'none.caffemodel')


def test_without_a_path_the_released_weights_or_others_are_loaded(weights, monkeypatch, caplog):
    monkeypatch.setattr(paths, 'WEIGHTS', weights.with_name('released.caffemodel'))
    monkeypatch.setattr(paths, 'LITE_WEIGHTS', weights.with_name('lite.caffemodel'))
    monkeypatch.setattr(paths, 'DEMO_WEIGHTS', weights.with_name('demo.caffemodel'))
    with pytest.raises(FileNotFoundError, match='docs/weights.md.*`make weights`') as error:
        dr.load_model()
    assert error.value.filename == str(paths.WEIGHTS)
    weights.rename(paths.DEMO_WEIGHTS)
    write_info(paths.DEMO_WEIGHTS, net=str(PROTO), trained=False)
    assert dr.load_model().weights == str(paths.DEMO_WEIGHTS) and 'not trained' in caplog.text
    paths.LITE_WEIGHTS.write_bytes(WEIGHTS.read_bytes())
    assert dr.load_model(proto=PROTO).weights == str(paths.LITE_WEIGHTS)
    paths.WEIGHTS.write_bytes(WEIGHTS.read_bytes())
    assert dr.load_model(proto=PROTO).weights == str(paths.WEIGHTS)


def test_groups_take_the_threshold_of_the_weights(weights, photos, tmp_path):
    write_info(weights, net=str(PROTO), S=S, thresholds={'0.90': 0.1, '0.95': 0.98, '0.99': 1})
    model = dr.load_model(weights)
    for cache in (None, tmp_path / 'cache'):
        found = dr.describe(model, photos, cache=cache)
        assert found.thresholds == {'0.90': 0.1, '0.95': 0.98, '0.99': 1}
        assert dr.find_groups(found) == dr.find_groups(found, 0.98) != dr.find_groups(found, 0.1)
    unknown = dr.describe(dr.load_model(WEIGHTS, proto=PROTO, S=S), photos)
    assert dr.find_groups(unknown) == dr.find_groups(unknown, 0.75)


def test_nothing_is_printed(model, photos, capsys):
    dr.describe(model, photos)
    assert capsys.readouterr() == ('', '')


def test_progress_in_a_log(caplog, monkeypatch):
    """A line with count, elapsed and remaining time every 30 seconds; the clock is turned."""
    from deep_retrieval import progress
    caplog.set_level(logging.INFO)
    clock = [0.0]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: clock[0])
    for _ in progress.bar(range(10), desc='describe', unit='image', mininterval=0, delay=0):
        clock[0] += 10
    lines = [message for message in caplog.messages if message.startswith('describe: ')]
    assert len(lines) == 3 and all('of 10 (' in line and 'elapsed' in line and 'remaining' in line
                                   for line in lines)
