import numpy as np
import pytest

import custom_layers


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
        expected[(index[0], slice(None), *index[1:])] = column / (1e-8 + np.sqrt((column ** 2).sum()))
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
    with pytest.raises(ValueError, match='5 regions are no multiple of num_rois 2'):
        make_net(python_net('AggregateLayer', (5, 3), "{'num_rois': 2}"))
    with pytest.raises(ValueError, match='positive integer'):
        make_net(python_net('AggregateLayer', (5, 3), "{'num_rois': many}"))
    with pytest.raises(ValueError, match='5 rows need as many rois'):
        make_net(python_net('AggregateLayer', (5, 3), '', np.zeros((4, 5))))
