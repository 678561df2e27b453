"""Utility layers; recorded cases lie in data/genuine/cases_utility.npz."""

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


@pytest.mark.parametrize('kind, shapes, param', [
    ('Concat', [(2, 3), (2, 1)], ''),
    ('Eltwise', [(2, 3)] * 3, 'eltwise_param { coeff: 2 coeff: -1 coeff: 0 }'),
    ('Eltwise', [(2, 3)] * 3, 'eltwise_param { operation: PROD }'),
    ('Eltwise', [(2, 3)] * 3, 'eltwise_param { operation: MAX }'),
    ('Reshape', [(2, 3)], 'reshape_param { shape { dim: -1 } }'),
    ('Flatten', [(2, 3, 2)], ''),
    ('Reduction', [(2, 3, 2)], 'reduction_param { operation: SUM axis: 1 coeff: 3 }'),
    ('Reduction', [(2, 3, 2)], 'reduction_param { operation: ASUM coeff: -2 }'),
    ('Reduction', [(2, 3, 2)], 'reduction_param { operation: SUMSQ axis: -1 }'),
    ('Reduction', [(2, 3, 2)], 'reduction_param { operation: MEAN axis: 1 }'),
    ('Tile', [(2, 3)], 'tile_param { tiles: 3 }'),
    ('Split', [(2, 3)], ''),
])
def test_gradients(make, kind, shapes, param):
    check_gradients(make(kind, shapes, param=param), 'layer')


def test_split_adds_the_gradients(make):
    net = make('Split', [(2, 3)], tops=['a', 'b', 'c'])
    out = net.forward()
    for name in 'abc':
        np.testing.assert_array_equal(out[name], net.blobs['x0'].data)
    np.testing.assert_array_equal(backward(net, a=1, b=2, c=4)[0], np.full((2, 3), 7))


def test_concat(make):
    net = make('Concat', [(2, 3), (2, 1), (2, 2)], param='concat_param { axis: -1 }')
    x0, x1, x2 = (net.blobs[name].data for name in net.inputs)
    y = net.forward()['y']
    assert y.shape == (2, 6)
    np.testing.assert_array_equal(y[:, :3], x0)
    np.testing.assert_array_equal(y[:, 3:4], x1)
    np.testing.assert_array_equal(y[:, 4:], x2)
    diffs = backward(net, y=np.arange(12).reshape(2, 6))
    np.testing.assert_array_equal(diffs[2], [[4, 5], [10, 11]])


def test_concat_refuses(make):
    fails(make, 'differ outside axis 1', 'Concat', [(2, 3), (1, 3)])
    fails(make, 'differ outside axis 1', 'Concat', [(2, 3), (2,)])
    fails(make, 'differ outside axis 1', 'Concat', [(2, 3), (2, 3, 1)])
    fails(make, 'one of them', 'Concat', [(2, 3)] * 2,
          param='concat_param { axis: 1 concat_dim: 1 }')
    fails(make, 'axis 2 is out of range', 'Concat', [(2, 3)] * 2, param='concat_param { axis: 2 }')


def test_eltwise_prod_has_a_gradient_where_factors_are_0(make):
    net = make('Eltwise', [(3,)] * 3, param='eltwise_param { operation: PROD }')
    for name, values in zip(net.inputs, [[0, 0, 2], [3, 0, 3], [4, 4, 4]]):
        net.blobs[name].data[...] = values
    np.testing.assert_array_equal(net.forward()['y'], [0, 0, 24])
    np.testing.assert_array_equal(backward(net, y=1), [[12, 0, 12], [0, 0, 8], [0, 0, 6]])


def test_eltwise_max_gives_a_tie_to_one_bottom(make):
    net = make('Eltwise', [(4,)] * 3, param='eltwise_param { operation: MAX }')
    for name, values in zip(net.inputs, [[1, 2, 0, 5], [1, 1, 3, 5], [1, 2, 3, 6]]):
        net.blobs[name].data[...] = values
    np.testing.assert_array_equal(net.forward()['y'], [1, 2, 3, 6])
    np.testing.assert_array_equal(backward(net, y=1), [[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]])


def test_eltwise_refuses(make):
    fails(make, 'differ', 'Eltwise', [(2, 3), (3, 2)])
    fails(make, 'as many coeffs', 'Eltwise', [(2,)] * 2, param='eltwise_param { coeff: 1 }')
    fails(make, 'PROD', 'Eltwise', [(2,)] * 2,
          param='eltwise_param { operation: PROD coeff: 1 coeff: 2 }')


@pytest.mark.parametrize('param, shape', [
    ('shape { dim: 0 dim: -1 }', (2, 60)),
    ('shape { dim: 20 } axis: 2', (2, 3, 20)),
    ('shape { dim: 2 dim: -1 } axis: 1 num_axes: 2', (2, 2, 6, 5)),
    ('shape { dim: 1 } axis: -1 num_axes: 0', (2, 3, 4, 5, 1)),
    ('axis: 1 num_axes: 0', (2, 3, 4, 5)),
])
def test_reshape(make, param, shape):
    net = make('Reshape', [(2, 3, 4, 5)], param=f'reshape_param {{ {param} }}')
    np.testing.assert_array_equal(net.forward()['y'], net.blobs['x0'].data.reshape(shape))


@pytest.mark.parametrize('message, param', [
    ('more than one', 'shape { dim: -1 dim: -1 }'),
    ('cannot be divided', 'shape { dim: 5 dim: -1 }'),
    ('does not have the count', 'shape { dim: 5 }'),
    ('lacks', 'shape { dim: 6 dim: 1 dim: 0 }'),
    ('not in', 'shape { dim: 6 } axis: 1 num_axes: 2'),
    ('not in', 'shape { dim: 6 } axis: 1 num_axes: -2'),
    ('out of range', 'shape { dim: 6 } axis: 3'),
])
def test_reshape_refuses(make, message, param):
    fails(make, message, 'Reshape', [(2, 3)], param=f'reshape_param {{ {param} }}')


@pytest.mark.parametrize('param, shape', [
    ('', (2, 60)),
    ('axis: 0', (120,)),
    ('axis: -3 end_axis: -2', (2, 12, 5)),
    ('axis: 2 end_axis: 1', (2, 3, 1, 4, 5)),       # Caffe's empty span
])
def test_flatten(make, param, shape):
    net = make('Flatten', [(2, 3, 4, 5)], param=f'flatten_param {{ {param} }}')
    np.testing.assert_array_equal(net.forward()['y'], net.blobs['x0'].data.reshape(shape))


def test_flatten_refuses_a_reversed_span(make):
    fails(make, 'before axis 2', 'Flatten', [(2, 3, 4)],
          param='flatten_param { axis: 2 end_axis: 0 }')


@pytest.mark.parametrize('kind, param', [
    ('Flatten', ''), ('Reshape', 'reshape_param { shape { dim: -1 } }')])
def test_no_new_shape_in_place(make, kind, param):
    fails(make, 'in place', kind, [(2, 3)], tops=['x0'], param=param)


@pytest.mark.parametrize('operation, function', [
    ('SUM', np.sum), ('ASUM', lambda x: np.abs(x).sum()), ('SUMSQ', lambda x: (x * x).sum()),
    ('MEAN', np.mean)])
@pytest.mark.parametrize('axis', [0, 1, -1])
def test_reduction(make, operation, function, axis):
    net = make('Reduction', [(2, 3, 4)],
               param=f'reduction_param {{ operation: {operation} axis: {axis} coeff: -1.5 }}')
    x = net.blobs['x0'].data
    rest = x.shape[:axis]
    wanted = np.empty(rest)
    for place in np.ndindex(*rest):
        wanted[place] = -1.5 * function(x[place])
    y = net.forward()['y']
    assert y.shape == rest
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6)


def test_absolute_sum_has_no_gradient_at_0(make):
    net = make('Reduction', [(3,)], param='reduction_param { operation: ASUM coeff: 2 }')
    net.blobs['x0'].data[...] = [-3, 0, 5]
    net.forward()
    np.testing.assert_array_equal(backward(net, y=1)[0], [-2, 0, 2])


def test_tile(make):
    net = make('Tile', [(2, 3)], param='tile_param { axis: 0 tiles: 3 }')
    x = net.blobs['x0'].data
    np.testing.assert_array_equal(net.forward()['y'], np.concatenate([x, x, x]))
    diff = np.arange(18).reshape(6, 3)
    np.testing.assert_array_equal(backward(net, y=diff)[0], diff[:2] + diff[2:4] + diff[4:])


def test_tiles_must_be_set(make):
    fails(make, 'tiles', 'Tile', [(2, 3)])


def test_silence(make):
    net = make('Silence', [(2, 3), (4,)], tops=())
    assert net.outputs == []
    net.forward()
    for diff in backward(net, x0=5, x1=5):
        assert not diff.any()


def test_silence_beside_another_reader(make):
    net = make('Silence', [(2, 3)], tops=(), more='layer { name: "p" type: "Power" bottom: "x0" '
               'top: "y" power_param { scale: 3 } }')
    assert net.outputs == ['y']
    net.forward()
    np.testing.assert_array_equal(backward(net, y=2)[0], np.full((2, 3), 6))


PARAMETER = '''
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 2 dim: 3 } } %s }
layer { name: "e" type: "Eltwise" bottom: "x" bottom: "p" top: "y" loss_weight: 1
        eltwise_param { coeff: 1 coeff: 3 } }
'''


def test_parameter_has_its_tops_memory(make_net):
    net = make_net(PARAMETER % '', caffe.TRAIN)
    parameter, top = net.params['p'][0], net.blobs['p']
    parameter.data[...] = 2
    assert (net.forward()['y'] == 6).all()
    assert (top.data == 2).all()
    top.data[...] = 4
    assert (parameter.data == 4).all()
    assert (net.forward()['y'] == 12).all()
    net.backward()
    assert (parameter.diff == 3).all()
    assert (top.diff == 3).all()
    top.diff[...] = 1
    assert (parameter.diff == 1).all()


def test_parameter_shared_by_name(make_net):
    net = make_net(PARAMETER % 'param { name: "w" }' + '''
        layer { name: "q" type: "Parameter" top: "q" parameter_param { shape { dim: 2 dim: 3 } }
                param { name: "w" } }''')
    net.params['p'][0].data[...] = 5
    assert (net.forward()['q'] == 5).all()
    net.params['q'][0].data[...] = 7
    assert (net.forward()['y'] == 21).all()
