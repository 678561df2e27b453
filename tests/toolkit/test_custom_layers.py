import ast
import sys
from pathlib import Path

import custom_layers
import cv2
import numpy as np
import pytest
from conftest import run_script
from custom_nets import Indexed, inputs, layer


def python_net(layer, shape, param_str='', rois=None):
    text = ('layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {} }} }} }}'
            .format(' '.join(f'dim: {dim}' for dim in shape)))
    bottoms = 'bottom: "x"'
    if rois is not None:
        text += ('layer { name: "rois" type: "Input" top: "rois" input_param { shape '
                 f'{{ dim: {len(rois)} dim: 5 }} }} }}')
        bottoms += ' bottom: "rois"'
    return text + (f'layer {{ name: "y" type: "Python" {bottoms} top: "y" python_param {{ '
                   f'module: "custom_layers" layer: "{layer}" param_str: "{param_str}" }} }}')


@pytest.mark.parametrize('shape', [(4, 6), (3, 5, 1, 1), (2, 3, 2, 2)])
def test_normalize_equals_a_loop(shape, make_net):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    x[0] = 0
    out = make_net(python_net('NormalizeLayer', shape)).forward(x=x)['y']
    expected = np.zeros_like(x)
    for index in np.ndindex(shape[0], *shape[2:]):
        column = x[(index[0], slice(None), *index[1:])]
        expected[(index[0], slice(None), *index[1:])] = (
            column / (1e-8 + np.sqrt((column ** 2).sum())))
    np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_normalize_backward_equals_finite_differences():
    rng = np.random.default_rng(1)
    x, diff = rng.normal(size=(2, 3, 5, 2))
    got = custom_layers.normalize_backward(x, diff)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = 1e-6
        change = (custom_layers.normalize(x + step) - custom_layers.normalize(x - step)) / 2e-6
        assert np.sum(change * diff) == pytest.approx(got[index], abs=1e-7)


def test_layers_move_gradients(make_net):
    """backward is called as pycaffe calls it, on the net's own blobs."""
    net = make_net(python_net('NormalizeLayer', (2, 3)))
    x = np.array([[3, 0, 4], [0, 0, 2]], np.float32)
    net.forward(x=x)
    bottom, top = net.blobs['x'], net.blobs['y']
    top.diff[...] = 1
    net.layer_dict['y'].backward([top], [True], [bottom])
    np.testing.assert_allclose(bottom.diff, custom_layers.normalize_backward(x, np.ones((2, 3))),
                               rtol=1e-5, atol=1e-7)
    before = bottom.diff.copy()
    top.diff[...] = 9
    net.layer_dict['y'].backward([top], [False], [bottom])
    np.testing.assert_array_equal(bottom.diff, before)


@pytest.mark.parametrize('rows, param_str, images', [
    (6, "{'num_rois': 2}", [0, 0, 1, 1, 2, 2]), (5, "{'num_rois': 5}", [0] * 5), (4, '{}', [0] * 4),
    (4, '', [0] * 4)])
def test_aggregate_with_one_bottom(rows, param_str, images, make_net):
    x = np.random.default_rng(2).normal(size=(rows, 3, 1, 1)).astype(np.float32)
    net = make_net(python_net('AggregateLayer', x.shape, param_str))
    out = net.forward(x=x)['y']
    assert out.shape == (max(images) + 1, 3, 1, 1)
    for image in set(images):
        expected = sum(x[i] for i in range(rows) if images[i] == image)
        np.testing.assert_allclose(out[image], expected, rtol=1e-5, atol=1e-6)


def test_aggregate_groups_by_the_rois_image(make_net):
    rois = np.zeros((5, 5), np.float32)
    rois[:, 0] = [0, 2, 2, 0, 3]        # in any order, and none for image 1
    x = np.arange(10, dtype=np.float32).reshape(5, 2)
    net = make_net(python_net('AggregateLayer', x.shape, "{'num_rois': 8}", rois))
    out = net.forward(x=x, rois=rois)['y']
    assert out.tolist() == [[6, 8], [0, 0], [6, 8], [8, 9]]
    bottom, top = net.blobs['x'], net.blobs['y']
    top.diff[...] = [[1, 2], [3, 4], [5, 6], [7, 8]]
    net.layer_dict['y'].backward([top], [True, False], [bottom, net.blobs['rois']])
    assert bottom.diff.tolist() == [[1, 2], [5, 6], [5, 6], [1, 2], [7, 8]]


def test_regions_that_do_not_fit_are_refused(make_net):
    with pytest.raises(ValueError, match='5 regions are not a multiple of num_rois 2'):
        make_net(python_net('AggregateLayer', (5, 3), "{'num_rois': 2}"))
    with pytest.raises(ValueError, match='positive integer'):
        make_net(python_net('AggregateLayer', (5, 3), "{'num_rois': many}"))
    with pytest.raises(ValueError, match='5 rows need as many rois'):
        make_net(python_net('AggregateLayer', (5, 3), '', np.zeros((4, 5))))


@pytest.fixture
def features(tmp_path):
    rows = np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32)
    np.save(tmp_path / 'features.npy', rows)
    return rows, str(tmp_path / 'features.npy')


def test_features_are_rows_by_label(features, make_net):
    rows, path = features
    for shape in [(3,), (3, 1, 1, 1)]:
        net = make_net(inputs(label=shape) + layer('FeatureLayer', 'label', 'y',
                                                   f"{{'features': '{path}'}}"))
        out = net.forward(label=np.reshape([4, 0, 4], shape))['y']
        np.testing.assert_array_equal(out, rows[[4, 0, 4]].reshape(3, 4, 1, 1))


@pytest.mark.parametrize('label, words', [
    (5, 'has rows 0 to 4, but a label is 5'), (-1, 'a label is -1'), (1.5, 'a label is 1.5'),
    (np.nan, 'a label is nan'), (2, 'row 2 is not finite')])
def test_labels_without_features_are_refused(label, words, features, make_net):
    rows, path = features
    rows[2, 1] = np.nan
    np.save(path, rows)
    net = make_net(inputs(label=(2,)) + layer('FeatureLayer', 'label', 'y',
                                              f"{{'features': '{path}'}}"))
    with pytest.raises(ValueError, match=words):
        net.forward(label=[0, label])


def test_files_of_features_that_are_refused(features, make_net, tmp_path):
    rows, path = features
    text = inputs(label=(2,)) + layer('FeatureLayer', 'label', 'y', f"{{'features': '{path}'}}")
    np.save(path, rows[0])
    with pytest.raises(ValueError, match='is not an N x D array of numbers'):
        make_net(text)
    np.save(path, [{'an': 'object'}])
    with pytest.raises(ValueError, match='is damaged or is not an .npy file'):
        make_net(text)
    (tmp_path / 'features.npy').write_bytes(b'')
    with pytest.raises(ValueError, match='is damaged or is not an .npy file'):
        make_net(text)
    np.save(path, np.array([['a', 'b']]))
    with pytest.raises(ValueError, match='is not an N x D array of numbers'):
        make_net(text)
    (tmp_path / 'features.npy').unlink()
    with pytest.raises(FileNotFoundError):
        make_net(text)


COVER = [[0, 0, 279, 279], [0, 216, 279, 495], [0, 0, 185, 185], [0, 155, 185, 340],
         [0, 310, 185, 495], [94, 0, 279, 185], [94, 155, 279, 340], [94, 310, 279, 495]]


@pytest.mark.parametrize('dataset', ['cover', 'other'])
def test_rigid_grid(dataset, make_net, caplog):
    """The grid of 280 x 496, written there as for a picture that is higher than wide."""
    net = make_net(inputs(data=(2, 3, 280, 496)) + layer('RigidGridLayer', 'data', 'rois',
                                                         f"{{'dataset': '{dataset}'}}"))
    expected = [[image, x1, y1, x2, y2] for image in (0, 1) for y1, x1, y2, x2 in COVER]
    assert net.forward()['rois'].tolist() == expected
    assert not caplog.messages


def test_rigid_grid_follows_the_images_unless_the_dataset_is_known(make_net, caplog):
    def rois(dataset, shape):
        net = make_net(inputs(data=(1, 3, 280, 496)) + layer('RigidGridLayer', 'data', 'rois',
                                                             f"{{'dataset': '{dataset}'}}"))
        net.blobs['data'].reshape(*shape)
        return net.forward()['rois'].copy()

    assert len(rois('other', (3, 3, 64, 64))) == 3 * 5
    assert not caplog.messages
    np.testing.assert_array_equal(rois('paris', (1, 3, 384, 512)), rois('other', (1, 3, 384, 512)))
    caplog.clear()
    small = rois('cover', (1, 3, 64, 64))
    assert len(small) == 8 and small[1].tolist() == [0, 216, 0, 495, 279]
    assert caplog.text.count('the images are of 64 x 64 pixels') == 1


def test_rois_are_there_while_the_net_is_made(make_net):
    """AggregateLayer's top has its shape from them."""
    net = make_net(inputs(data=(3, 3, 64, 64), x=(15, 2))
                   + layer('RigidGridLayer', 'data', 'rois')
                   + layer('AggregateLayer', 'x rois', 'y'))
    assert net.blobs['y'].data.shape == (3, 2)


@pytest.mark.parametrize('size', [(6, 8), (3, 4), (9, 5), (5, 16)])
def test_resize(size, make_net):
    rng = np.random.default_rng(4)
    x = rng.integers(0, 256, (2, 3, 6, 8)).astype(np.float32)
    text = 'force_backward: true ' + inputs(data=x.shape) + layer(
        'ResizeLayer', 'data', 'y', f"{{'h': {size[0]}, 'w': {size[1]}, 'mean': [1, 2, 3.5]}}")
    net = make_net(text)
    out = net.forward(data=x)['y']
    for i in range(2):
        expected = cv2.resize(x[i].transpose(1, 2, 0), size[::-1]) - np.float32([1, 2, 3.5])
        np.testing.assert_allclose(out[i].transpose(1, 2, 0), expected, atol=1e-3)
    # linear: the gradient's product with any change is the change's own product with the diff
    diff, change = rng.normal(size=out.shape).astype(np.float32), rng.normal(size=x.shape)
    net.blobs['y'].diff[...] = diff
    net.backward()
    moved = np.stack([[cv2.resize(plane, size[::-1]) for plane in image] for image in change])
    assert np.sum(net.blobs['data'].diff * change) == pytest.approx(np.sum(diff * moved), rel=1e-4)


def test_no_gradient_passes_features_and_regions(features, make_net):
    net = make_net('force_backward: true ' + inputs(label=(2,), data=(1, 3, 64, 64))
                   + layer('FeatureLayer', 'label', 'y', f"{{'features': '{features[1]}'}}")
                   + layer('RigidGridLayer', 'data', 'rois'))
    net.forward()
    net.blobs['label'].diff[...] = net.blobs['data'].diff[...] = 3
    net.backward()
    assert not net.blobs['label'].diff.any() and not net.blobs['data'].diff.any()


@pytest.mark.parametrize('name, param_str, words', [
    ('ResizeLayer', "{'h': 3}", 'must be a dict with h, w, and may have mean; it is'),
    ('ResizeLayer', "{'h': 3, 'w': 4, 'means': 5}", "it is {'h': 3, 'w': 4, 'means': 5}"),
    ('ResizeLayer', "{'h': 3, 'w': 0}", 'w must be a positive integer, not 0'),
    ('ResizeLayer', "{'h': 3, 'w': 4, 'mean': [1, 2]}", 'mean must be 3 numbers'),
    ('ResizeLayer', "{'h': 3, 'w': 4, 'mean': {}}", 'mean must be 3 numbers'),
    ('ResizeLayer', '[3, 4]', 'must be a dict'),
    ('ResizeLayer', '{3, 4', 'is not YAML'),
    ('FeatureLayer', '', 'must be a dict with features')])
def test_parameters_that_are_refused(name, param_str, words, make_net):
    with pytest.raises(ValueError) as error:
        make_net(inputs(data=(1, 3, 8, 8)) + layer(name, 'data', 'y', param_str))
    assert words in str(error.value) and str(error.value).startswith(name)


@pytest.mark.parametrize('name, shapes, param_str', [
    ('NormalizeLayer', [(4, 3)], '{}'), ('AggregateLayer', [(4, 3)], '{}'),
    ('AggregateLayer', [(4, 3), (4, 5)], '{}'), ('ResizeLayer', [(2, 3, 6, 8)], "{'h': 3, 'w': 3}"),
    ('GeMLayer', [(2, 3, 4, 5)], '{}'), ('GeMLayer', [(2, 3, 4, 5), (4, 5)], '{}'),
    ('RigidGridLayer', [(2, 3, 64, 64)], '{}'), ('FeatureLayer', [(4,)], "{'features': '%s'}"),
    ('PairL2LossLayer', [(4, 3), (4, 5)], '{}'),
    ('PairLiftedStructuredLossLayer', [(4, 3), (4, 5)], '{}')])
def test_blobs_that_cannot_be_looped_over(name, shapes, param_str, features, make_net):
    names = [f'x{i}' for i in range(len(shapes))]
    net = make_net(inputs(**dict(zip(names, shapes)))
                   + layer(name, ' '.join(names), 'y', param_str.replace('%s', features[1])))
    bottom, top = Indexed(net.blobs[blob] for blob in names), Indexed([net.blobs['y']])
    expected = net.forward()['y'].copy()
    for blob in net.blobs.values():
        blob.diff[...] = 1
    python = net.layer_dict[name]
    python.setup(bottom, top)
    python.reshape(bottom, top)
    python.forward(bottom, top)
    python.backward(top, [True] * len(bottom), bottom)
    np.testing.assert_array_equal(net.blobs['y'].data, expected)


def test_the_layers_run_on_the_python_of_genuine_pycaffe():
    """Debian 11 has 3.9: without `a | b` in annotations, `match`, and zip's `strict`."""
    done = run_script('-c', 'import sys; old = set(sys.modules); import custom_layers\n'
                            'for name in set(sys.modules) - old: print(name)')
    names = [name for name in done.stdout.split()
             if name.split('.')[0] in ('custom_layers', 'region_generator', 'deep_retrieval')]
    assert 'deep_retrieval.images' in names, done.stderr
    for name in names:
        __import__(name)
        text = Path(sys.modules[name].__file__).read_text()
        tree = ast.parse(text, feature_version=(3, 9))
        if 'from __future__ import annotations' not in text:
            for node in ast.walk(tree):
                for part in (getattr(node, 'annotation', None), getattr(node, 'returns', None)):
                    assert not part or not any(isinstance(inner, ast.BinOp)
                                               for inner in ast.walk(part)), name
    for path in (custom_layers.__file__, *(sys.modules[name].__file__ for name in names
                                           if '.training.' in name)):
        assert 'strict=' not in Path(path).read_text(), path
