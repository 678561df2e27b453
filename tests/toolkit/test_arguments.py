"""Arguments of the API that are wrong are one line that names them; natural ones are understood."""

import re

import cv2
import deep_retrieval as dr
import numpy as np
import pytest
from deep_retrieval.features import Features
from tiny import PROTO, WEIGHTS

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture(scope='module')
def model():
    return dr.load_model(WEIGHTS, proto=PROTO, S=64)


@pytest.fixture
def described():
    return Features('x', ['a', 'b'], np.eye(2, 128, dtype=np.float32), {})


def assert_refused(call, error, words):
    with pytest.raises(error, match=words) as raised:
        call()
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize('S', [0, -4, 1, 2])
def test_a_size_below_the_nets_needs(model, S):
    for call in (lambda: dr.load_model(WEIGHTS, proto=PROTO, S=S),
                 lambda: dr.describe(model, [IMAGE], S=S)):
        assert_refused(call, ValueError, f'^S is {S}, but must be at least 3$')


@pytest.mark.parametrize('options, error, words', [
    ({'S': 96.5}, TypeError, 'S is 96.5, but must be an integer'),
    ({'S': '96'}, TypeError, "S is '96'"), ({'S': True}, TypeError, 'S is True'),
    ({'L': -1}, ValueError, 'L is -1, but must be at least 0'),
    ({'mean': (1, 2)}, ValueError, r'mean is \(1, 2\), but must have 3 finite numbers'),
    ({'mean': 104}, ValueError, 'mean is 104'), ({'mean': '123'}, ValueError, "mean is '123'"),
    ({'mean': (1, 2, np.inf)}, ValueError, 'mean is'),
    ({'mean': np.zeros((3, 224, 224))}, ValueError, 'mean is')])
def test_a_model_checks_its_numbers(options, error, words):
    assert_refused(lambda: dr.load_model(WEIGHTS, proto=PROTO, **options), error, '^' + words)


@pytest.mark.parametrize('batch_size, error', [(0, ValueError), (-1, ValueError),
                                               (None, TypeError), ('4', TypeError)])
def test_batch_size(model, batch_size, error, small):
    for call in (lambda: dr.describe(model, [IMAGE], batch_size=batch_size),
                 lambda: dr.evaluate(model, small, batch_size=batch_size)):
        assert_refused(call, error, 'batch_size is ')


@pytest.mark.parametrize('option', [{'aqe': -1}, {'dbe': '5'}, {'aqe': 1.5}])
def test_neighbours_to_average(model, option, small):
    assert_refused(lambda: dr.evaluate(model, small, **option), (TypeError, ValueError),
                   f'^{next(iter(option))} is ')


def test_numbers_of_numpy(model):
    mean = dr.load_model(WEIGHTS, proto=PROTO, S=np.int64(64), mean=np.array([1., 2, 3]))
    assert mean.info.mean == (1, 2, 3) and mean.made_from['mean'] == [1, 2, 3]
    box = [10, 10, 60, 40]
    np.testing.assert_array_equal(model([IMAGE], boxes=np.array([box])), model([IMAGE], [box]))


def test_boxes(model):
    assert_refused(lambda: model([IMAGE] * 2, boxes=[None]), ValueError,
                   '^boxes has 1 entries, but images has 2$')
    for box in ((64, 0, 90, 40), (0, 50, 60, 90)):
        assert_refused(lambda box=box: model([IMAGE] * 2, boxes=[None, box]), ValueError,
                       '^image 1: the box .* lies outside its 64 x 48 pixels$')
    for box in ((0, 0, 9), 'abcd', 5):
        assert_refused(lambda box=box: model([IMAGE], boxes=[box]), ValueError,
                       '^image 0: the box is .*, but must have 4 finite numbers$')


def test_a_querys_box_outside_its_image(model, small, tmp_path):
    dataset = dr.open_dataset(small)
    first = dataset.queries[0]
    dataset.queries[0] = first._replace(box=(5000, 0, 6000, 50))
    assert_refused(lambda: dr.evaluate(model, dataset, cache=tmp_path, skip_bad=True), ValueError,
                   f'{first.image}.jpg: the box 5000, 0, 6000, 50 lies outside its')


def test_a_blob_that_is_not_a_descriptor():
    data = dr.load_model(WEIGHTS, proto=PROTO, S=64, end='data')
    for call in (dr.describe, lambda model, images: model(images)):
        assert_refused(lambda call=call: call(data, [IMAGE, IMAGE[:, :40]]), ValueError,
                       "^the blob 'data' has .* values for an image and .*; it is not a descriptor")


def test_what_is_not_described_yet(described, model):
    for call in (lambda: dr.search(described, 'query.jpg'), lambda: dr.search(described, IMAGE),
                 lambda: dr.search(model, described), lambda: dr.find_groups(IMAGE)):
        assert_refused(call, TypeError, '(queries|features) is of type .* pass what `describe`')
    hits = dr.search(described, described)
    assert_refused(lambda: dr.gallery(hits, described, 'x'), TypeError,
                   r'^groups must be .*dict\(zip\(queries.names, hits\)\)')
    assert_refused(lambda: dr.search(described, described, top='5'), TypeError, "top is '5'")


def test_one_image_is_a_list_of_one(model, tmp_path):
    one = dr.describe(model, IMAGE)
    np.testing.assert_array_equal(one.rows(), dr.describe(model, [IMAGE]).rows())
    assert_refused(lambda: dr.describe(model, IMAGE[..., 0]), ValueError, '^image 0 has shape')
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), IMAGE)
    with pytest.raises(FileNotFoundError):
        dr.describe(model, tmp_path / 'b.png', cache=tmp_path / 'cache')
    for _ in 'ab':
        kept = dr.describe(model, path, cache=tmp_path / 'cache')
        assert kept.names == [str(path)]
        np.testing.assert_allclose(kept.rows(), one.rows(), atol=1e-6)


def test_the_path_of_a_dataset_is_opened(model, small, tmp_path):
    given, opened = (dr.evaluate(model, dataset, cache=tmp_path / 'cache')
                     for dataset in (small, dr.open_dataset(small)))
    assert given.per_query == opened.per_query
    assert_refused(lambda: dr.evaluate(model, str(tmp_path)), ValueError, 'is not a dataset')


def test_caches_that_are_not_folders(model, tmp_path, monkeypatch, small):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / 'file'
    file.touch()
    for cache, error, words in ((file, ValueError, f'^{re.escape(str(file))}: is not a folder'),
                                ('', ValueError, '^cache is empty'),
                                (True, TypeError, '^cache is True')):
        for call in (lambda cache=cache: dr.describe(model, small / 'jpg', cache=cache),
                     lambda cache=cache: dr.evaluate(model, small, cache=cache)):
            assert_refused(call, error, words)
    assert list(tmp_path.iterdir()) == [file]
