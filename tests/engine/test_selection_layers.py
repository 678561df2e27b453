"""Slice, ArgMax, BatchReindex and Filter; recorded cases lie in data/genuine/cases_utility.npz."""

from functools import partial

import caffe
import numpy as np
import pytest
from conftest import check_gradients
from layer_nets import backward, fails, layer_net


@pytest.fixture
def make(make_net):
    """Function: kind, shapes... -> Net whose inputs hold random numbers."""
    return partial(layer_net, make_net)


@pytest.mark.parametrize('param, parts', [
    ('', [(0, 2), (2, 4), (4, 6)]),
    ('slice_point: 1 slice_point: 5', [(0, 1), (1, 5), (5, 6)]),
    ('slice_dim: 1', [(0, 2), (2, 4), (4, 6)]),
    ('axis: -1 slice_point: 1 slice_point: 2', [(0, 1), (1, 2), (2, 6)]),
])
def test_slice(make, param, parts):
    net = make('Slice', [(2, 6)], tops='abc', param=f'slice_param {{ {param} }}')
    x, out = net.blobs['x0'].data.copy(), net.forward()
    for name, (start, stop) in zip('abc', parts):
        np.testing.assert_array_equal(out[name], x[:, start:stop])
    diff = backward(net, a=1, b=2, c=3)[0]
    assert diff[0].tolist() == sum(([i + 1] * (b - a) for i, (a, b) in enumerate(parts)), [])
    check_gradients(net, 'layer')
    out['a'][...] = 0       # a copy, not a view of the bottom
    np.testing.assert_array_equal(net.blobs['x0'].data, x)


@pytest.mark.parametrize('message, param', [
    ('equal parts', 'axis: 0'),
    ('need 2 slice_points, not 1', 'slice_point: 1'),
    ('must increase', 'slice_point: 2 slice_point: 2'),
    ('must increase', 'slice_point: 2 slice_point: 6'),
    ('must increase', 'slice_point: 0 slice_point: 1'),
    ('one of them', 'axis: 1 slice_dim: 1'),
])
def test_slice_refuses(make, message, param):
    fails(make, message, 'Slice', [(2, 6)], tops='abc', param=f'slice_param {{ {param} }}')


def largest(values, count):
    """(value, index) pairs of the largest; of equal values the last comes first."""
    return sorted(((value, i) for i, value in enumerate(values)), reverse=True)[:count]


@pytest.mark.parametrize('axis', [0, 1, -1])
@pytest.mark.parametrize('values', [False, True])
def test_argmax_along_an_axis(make, axis, values):
    net = make('ArgMax', [(3, 4, 5)], param=f'argmax_param {{ top_k: 2 axis: {axis} '
               f'out_max_val: {str(values).lower()} }}')
    net.blobs['x0'].data[...] = np.random.RandomState(1).randint(0, 3, (3, 4, 5))
    wanted = np.apply_along_axis(
        lambda row: [pair[not values] for pair in largest(row, 2)], axis, net.blobs['x0'].data)
    np.testing.assert_array_equal(net.forward()['y'], wanted)


@pytest.mark.parametrize('shape', [(3,), (3, 7), (3, 2, 4), (3, 2, 2, 2, 2)])
@pytest.mark.parametrize('values', [False, True])
def test_argmax_of_items(make, shape, values):
    count = 1 if len(shape) == 1 else 4
    net = make('ArgMax', [shape], param=f'argmax_param {{ top_k: {count} '
               f'out_max_val: {str(values).lower()} }}')
    net.blobs['x0'].data[...] = x = np.random.RandomState(1).randint(0, 3, shape)
    y = net.forward()['y']
    assert y.shape == (3, 1 + values, count, 1, 1)[:max(3, len(shape))]
    for found, item in zip(y.reshape(3, 1 + values, count), x.reshape(3, -1)):
        pairs = largest(item, count)
        assert found[0].tolist() == [index for _, index in pairs]
        if values:
            assert found[1].tolist() == [value for value, _ in pairs]


@pytest.mark.parametrize('param', ['top_k: 0', 'top_k: 13', 'top_k: 4 axis: 1'])
def test_argmax_refuses_a_top_k_out_of_range(make, param):
    fails(make, 'top_k is', 'ArgMax', [(2, 3, 4)], param=f'argmax_param {{ {param} }}')


def test_batch_reindex(make):
    more = 'layer { name: "p" type: "Power" bottom: "y" top: "z" power_param { scale: 2 } }'
    net = make('BatchReindex', [(3, 2), (4,)], force=False, more=more)
    net.blobs['x1'].data[...] = [2, 0, 2, 1]
    x = net.blobs['x0'].data
    np.testing.assert_array_equal(net.forward()['z'], 2 * x[[2, 0, 2, 1]])
    net.blobs['x1'].reshape(1)
    net.blobs['x1'].data[...] = 1
    np.testing.assert_array_equal(net.forward()['z'], 2 * x[[1]])
    net.blobs['x1'].data[...] = 3
    with pytest.raises(caffe.CaffeError, match=r'index 3 is not in 0 \.\. 2'):
        net.forward()


def test_batch_reindex_adds_the_gradients_of_a_repeated_item(make):
    net = make('BatchReindex', [(3, 2), (4,)])
    net.blobs['x1'].data[...] = [2, 0, 2, 2]
    check_gradients(net, 'layer')
    net.forward()
    diffs = backward(net, y=np.arange(8).reshape(4, 2))
    np.testing.assert_array_equal(diffs[0], [[2, 3], [0, 0], [0 + 4 + 6, 1 + 5 + 7]])
    assert not diffs[1].any()


def test_batch_reindex_needs_a_list(make):
    fails(make, 'one axis', 'BatchReindex', [(3, 2), (4, 1)])


def test_filter_follows_the_selector(make):
    more = 'layer { name: "p" type: "Power" bottom: "b" top: "z" power_param { scale: 2 } }'
    net = make('Filter', [(4, 2), (4, 1, 3), (4, 1)], tops='ab', more=more)
    x0, x1, selector = (net.blobs[name].data for name in net.inputs)
    assert net.blobs['a'].shape == (4, 2)       # every item, until there are data
    for chosen in [[1, 0, -0.5, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]]:
        selector[:, 0] = chosen
        rows = np.flatnonzero(chosen)
        out = net.forward()
        np.testing.assert_array_equal(out['a'], x0[rows])
        np.testing.assert_array_equal(out['z'], 2 * x1[rows])
        diffs = backward(net, a=3, z=1)
        wanted = np.zeros(4)
        wanted[rows] = 1
        np.testing.assert_array_equal(diffs[0], np.outer(3 * wanted, [1, 1]))
        np.testing.assert_array_equal(diffs[1], np.outer(2 * wanted, [1, 1, 1]).reshape(4, 1, 3))
        assert not diffs[2].any()


def test_filter_refuses(make):
    fails(make, 'every bottom except the last', 'Filter', [(4, 2), (4, 2), (4,)])
    fails(make, 'one number per item', 'Filter', [(4, 2), (4, 2)])
    fails(make, '3 items', 'Filter', [(4, 2), (3,)])
