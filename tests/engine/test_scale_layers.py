"""Scale and Bias; recorded cases lie in data/genuine/cases_normalization.npz."""

import caffe
import numpy as np
import pytest
from conftest import check_gradients

RNG = np.random.default_rng(0)


def text(kind, shape, param='', top='y', r=None):
    inputs = {'x': shape, **({} if r is None else {'r': r})}
    layers = ' '.join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        f'{" ".join(f"dim: {dim}" for dim in dims)} }} }} }}' for name, dims in inputs.items())
    bottoms = ' '.join(f'bottom: "{name}"' for name in inputs)
    return (f'force_backward: true {layers} layer {{ name: "layer" type: "{kind}" {bottoms} '
            f'top: "{top}" {param} }}')


def fill(net, name='x'):
    blob = net.blobs[name]
    blob.data[...] = RNG.uniform(-1, 1, blob.shape)
    return blob.data.astype(float)


def forward(net, top='y'):
    net.forward()
    return net.blobs[top].data


def backward(net, top='y'):
    """Backward of a random diff; returns it and the bottom's."""
    diff = RNG.normal(size=net.blobs[top].shape).astype(np.float32)
    net.blobs[top].diff[...] = diff
    net.backward()
    return diff, net.blobs['x'].diff


def close(actual, wanted):
    np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=2e-6)


SPANS = [
    # shape of x, prototxt, shape of the operand as it is broadcast
    ((2, 3, 4, 5), '', (3, 1, 1)),
    ((2, 3), '', (3,)),
    ((2, 3, 4), 'num_axes: 2', (3, 4)),
    ((2, 3, 4), 'num_axes: -1 axis: 0', (2, 3, 4)),
    ((2, 3, 4), 'axis: 0', (2, 1, 1)),
    ((2, 3, 4), 'axis: -1', (4,)),
    ((2, 3, 4), 'axis: -3 num_axes: 2', (2, 3, 1)),
    ((2, 3, 4), 'num_axes: 0', ()),
]


@pytest.mark.parametrize('shape, param, broadcast', SPANS)
@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('top', ['y', 'x'])
def test_scale(make_net, shape, param, broadcast, bias, top):
    param += ' bias_term: true' * bias
    net = make_net(text('Scale', shape, f'scale_param {{ {param} }}', top), caffe.TRAIN)
    span = tuple(dim for dim in broadcast if dim > 1)
    scale = net.params['layer'][0].data
    assert scale.shape == span and (scale == 1).all()       # 1 if no filler is given
    scale[...] = RNG.normal(size=span)
    shift = np.zeros(())
    if bias:
        shift = net.params['layer'][1].data
        assert shift.shape == span and not shift.any()
        shift[...] = RNG.normal(size=span)
        shift = shift.reshape(broadcast)
    x = fill(net)
    close(forward(net, top), x * scale.reshape(broadcast) + shift)
    diff, gradient = backward(net, top)
    close(gradient, diff * scale.reshape(broadcast))
    axes = tuple(i for i in range(len(shape))
                 if ((1,) * (len(shape) - len(broadcast)) + broadcast)[i] == 1)
    close(net.params['layer'][0].diff, (diff * x).sum(axes).reshape(span))
    if bias:
        close(net.params['layer'][1].diff, diff.sum(axes).reshape(span))
    if top == 'y':
        check_gradients(net, 'layer')


@pytest.mark.parametrize('shape, param, broadcast', SPANS)
@pytest.mark.parametrize('kind', ['Scale', 'Bias'])
def test_second_bottom(make_net, kind, shape, param, broadcast):
    """num_axes is not looked at then: the second bottom's shape says it."""
    more = ' bias_term: true bias_filler { value: 0.5 }' if kind == 'Scale' else ''
    span = tuple(dim for dim in broadcast if dim > 1)
    net = make_net(text(kind, shape, f'{kind.lower()}_param {{ {param} {more} }}', r=span))
    x, r = fill(net), fill(net, 'r').reshape(broadcast)
    close(forward(net), x * r + 0.5 if kind == 'Scale' else x + r)
    check_gradients(net, 'layer')


@pytest.mark.parametrize('shape, param, broadcast', SPANS)
def test_bias(make_net, shape, param, broadcast):
    net = make_net(text('Bias', shape, f'bias_param {{ {param} filler {{ value: 0.25 }} }}'))
    bias = net.params['layer'][0].data
    assert (bias == 0.25).all() and bias.shape == tuple(dim for dim in broadcast if dim > 1)
    bias[...] = RNG.normal(size=bias.shape)
    x = fill(net)
    close(forward(net), x + bias.reshape(broadcast))
    check_gradients(net, 'layer')


@pytest.mark.parametrize('kind', ['Scale', 'Bias'])
@pytest.mark.parametrize('param, r, words', [
    ('num_axes: 3', None, 'axis 1 and num_axes 3 exceed the axes'),
    ('num_axes: -2 axis: 0', None, 'num_axes -2'),
    ('axis: 3', None, 'axis 3'),
    ('', (2,), r'shape \(2,\) does not fit'),
    ('axis: 2', (4, 1), r'shape \(4, 1\) does not fit'),
])
def test_spans_that_do_not_fit(make_net, kind, param, r, words):
    with pytest.raises(caffe.CaffeError, match=words):
        make_net(text(kind, (2, 3, 4), f'{kind.lower()}_param {{ {param} }}', r=r))
