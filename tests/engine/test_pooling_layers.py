"""Pooling and SPP; recorded cases lie in data/genuine/cases_vision.npz."""

import math

import caffe
import numpy as np
import pytest
from conftest import check_gradients


def text(kind, shape, param, tops='top: "y"'):
    dims = ' '.join(f'dim: {dim}' for dim in shape)
    return (f'force_backward: true layer {{ name: "x" type: "Input" top: "x" '
            f'input_param {{ shape {{ {dims} }} }} }} '
            f'layer {{ name: "layer" type: "{kind}" bottom: "x" {tops} {param} }}')


def fill(net):
    """Distinct values in random order, so that no maximum is a tie."""
    blob = net.blobs['x']
    values = np.random.default_rng(0).permutation(blob.count) / blob.count - 0.4
    blob.data[...] = values.reshape(blob.shape)
    return blob.data.astype(float)


def forward(net):
    net.forward()
    return net.blobs['y'].data


def naive_pooling(x, kernel, stride, pad, average):
    """Also the row and column of each maximum, -1 where nothing is."""
    height, width = x.shape
    out = []
    for size, k, s, p in zip(x.shape, kernel, stride, pad):
        pooled = math.ceil((size + 2 * p - k) / s) + 1
        out.append(pooled - (any(pad) and (pooled - 1) * s >= size + p))
    y, mask = np.zeros(out), np.full(out, -1)
    for i, j in np.ndindex(*out):
        top, left = i * stride[0] - pad[0], j * stride[1] - pad[1]
        bottom = min(top + kernel[0], height + pad[0])
        right = min(left + kernel[1], width + pad[1])
        cells = [(a, b) for a in range(max(top, 0), min(bottom, height))
                 for b in range(max(left, 0), min(right, width))]
        if average:
            y[i, j] = sum(x[cell] for cell in cells) / ((bottom - top) * (right - left))
        else:
            best = max(cells, key=lambda cell: x[cell])     # the first of equals
            y[i, j], mask[i, j] = x[best], best[0] * width + best[1]
    return y, mask


POOLINGS = [
    # prototxt, kernel, stride, pad
    ('kernel_size: 2 stride: 2', (2, 2), (2, 2), (0, 0)),
    ('kernel_size: 3 stride: 2', (3, 3), (2, 2), (0, 0)),
    ('kernel_size: 3 stride: 2 pad: 1', (3, 3), (2, 2), (1, 1)),
    ('kernel_h: 2 kernel_w: 5 stride_h: 3 stride_w: 2 pad_h: 1 pad_w: 3', (2, 5), (3, 2), (1, 3)),
    ('kernel_size: 4 stride: 3 pad: 3', (4, 4), (3, 3), (3, 3)),
    ('kernel_size: 9 stride: 4 pad: 0', (9, 9), (4, 4), (0, 0)),       # larger than the image
    ('global_pooling: true', (6, 7), (1, 1), (0, 0)),
]


@pytest.mark.parametrize('param, kernel, stride, pad', POOLINGS)
@pytest.mark.parametrize('pool', ['MAX', 'AVE'])
def test_pooling(make_net, param, kernel, stride, pad, pool):
    tops = 'top: "y"' + ' top: "mask"' * (pool == 'MAX')
    net = make_net(text('Pooling', (2, 2, 6, 7), f'pooling_param {{ pool: {pool} {param} }}', tops))
    x = fill(net)
    y = forward(net)
    diff = np.arange(1, y.size + 1).reshape(y.shape)
    net.blobs['y'].diff[...] = diff
    net.backward()
    for n, c in np.ndindex(2, 2):
        wanted, mask = naive_pooling(x[n, c], kernel, stride, pad, pool == 'AVE')
        np.testing.assert_allclose(y[n, c], wanted, rtol=1e-5, atol=1e-6)
        if pool == 'MAX':
            np.testing.assert_array_equal(net.blobs['mask'].data[n, c], mask)
            gradient = np.bincount(mask.ravel(), diff[n, c].ravel(), 42).reshape(6, 7)
            np.testing.assert_array_equal(net.blobs['x'].diff[n, c], gradient)
    if pool == 'AVE':
        check_gradients(net, 'layer')


def test_a_tie_of_maxima_goes_to_the_first(make_net):
    net = make_net(text('Pooling', (1, 1, 4, 4), 'pooling_param { kernel_size: 2 stride: 2 }'))
    net.blobs['x'].data[...] = 3
    np.testing.assert_array_equal(forward(net), np.full((1, 1, 2, 2), 3))
    net.blobs['y'].diff[...] = [[1, 2], [3, 4]]
    net.backward()
    np.testing.assert_array_equal(net.blobs['x'].diff[0, 0],
                                  [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize('pool', ['MAX', 'AVE'])
def test_spp(make_net, pool):
    """Levels of 1, 2 x 2 and 4 x 4 bins over 7 x 9: kernels and pads are worked by hand."""
    net = make_net(text('SPP', (2, 2, 7, 9), f'spp_param {{ pyramid_height: 3 pool: {pool} }}'))
    x = fill(net)
    y = forward(net)
    assert y.shape == (2, 2 * (1 + 4 + 16))
    for n in range(2):
        wanted = [naive_pooling(x[n, c], kernel, kernel, pad, pool == 'AVE')[0].ravel()
                  for kernel, pad in (((7, 9), (0, 0)), ((4, 5), (1, 1)), ((2, 3), (1, 2)))
                  for c in range(2)]
        np.testing.assert_allclose(y[n], np.concatenate(wanted), rtol=1e-5, atol=1e-6)
    check_gradients(net, 'layer')


def test_spp_of_one_level_keeps_four_axes(make_net):
    net = make_net(text('SPP', (2, 3, 4, 5), 'spp_param { pyramid_height: 1 }'))
    x = fill(net).astype(np.float32)
    np.testing.assert_array_equal(forward(net), x.max((2, 3), keepdims=True))


@pytest.mark.parametrize('kind, shape, param, words', [
    ('Pooling', (1, 2, 5), 'pooling_param { kernel_size: 2 }', '4 axes'),
    ('Pooling', (1, 2, 5, 5), 'pooling_param { }', 'is missing'),
    ('Pooling', (1, 2, 5, 5), 'pooling_param { kernel_h: 2 }', 'kernel_h and kernel_w'),
    ('Pooling', (1, 2, 5, 5), 'pooling_param { kernel_size: 2 pad_w: 1 }', 'pad_h and pad_w'),
    ('Pooling', (1, 2, 5, 5), 'pooling_param { kernel_size: 2 stride: 1 stride_h: 1 stride_w: 1 }',
     'stride_h and stride_w'),
    ('Pooling', (1, 2, 5, 5), 'pooling_param { kernel_size: 2 pad: 2 }', 'must exceed pad'),
    ('Pooling', (1, 2, 5, 5), 'pooling_param { kernel_size: 2 pool: STOCHASTIC }', 'STOCHASTIC'),
    ('Pooling', (1, 2, 5, 5), 'pooling_param { kernel_size: 2 global_pooling: true }', 'no kernel'),
    ('Pooling', (1, 2, 5, 5), 'pooling_param { stride: 2 global_pooling: true }', 'no stride'),
    ('Pooling', (1, 2, 2, 2), 'pooling_param { kernel_size: 5 }', 'smaller than the kernel'),
    ('SPP', (1, 2, 5, 5), 'spp_param { }', 'pyramid_height'),
    ('SPP', (1, 2, 5), 'spp_param { pyramid_height: 1 }', '4 axes'),
    ('SPP', (1, 2, 3, 3), 'spp_param { pyramid_height: 3 }', 'too small for 4 x 4'),
    ('SPP', (1, 2, 5, 5), 'spp_param { pyramid_height: 1 pool: STOCHASTIC }', 'STOCHASTIC'),
])
def test_bad_parameters(make_net, kind, shape, param, words):
    with pytest.raises(caffe.CaffeError, match=words):
        make_net(text(kind, shape, param))
