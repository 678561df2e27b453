"""Layers over space; recorded cases of each lie in data/genuine/cases_vision.npz."""

import itertools
import math

import caffe
import numpy as np
import pytest
from conftest import check_gradients

GAUSSIAN = 'weight_filler { type: "gaussian" std: 1 } bias_filler { type: "gaussian" std: 1 }'


def text(kind, shape, param, tops='top: "y"', more=''):
    dims = ' '.join(f'dim: {dim}' for dim in shape)
    return (f'force_backward: true layer {{ name: "x" type: "Input" top: "x" '
            f'input_param {{ shape {{ {dims} }} }} }} {more} '
            f'layer {{ name: "layer" type: "{kind}" bottom: "x" {tops} {param} }}')


def second(shape):
    """Another Input, `r`, and the words that make it a second bottom."""
    dims = ' '.join(f'dim: {dim}' for dim in shape)
    return f'layer {{ name: "r" type: "Input" top: "r" input_param {{ shape {{ {dims} }} }} }}'


def fill(net, name='x', seed=0):
    """Distinct values in random order, so that no maximum is a tie."""
    blob = net.blobs[name]
    values = np.random.default_rng(seed).permutation(blob.count) / blob.count - 0.4
    blob.data[...] = values.reshape(blob.shape)
    return blob.data.astype(float)


def forward(net):
    net.forward()
    return net.blobs['y'].data


def naive_convolution(x, weight, bias, stride, pad, dilation, group):
    """N x C x space by loops over every output and tap; cells outside of x are 0."""
    space = x.shape[2:]
    kernel = weight.shape[2:]
    out = [max(0, size + 2 * p - d * (k - 1) - 1) // s + 1
           for size, p, d, k, s in zip(space, pad, dilation, kernel, stride)]
    outputs, inputs = weight.shape[0] // group, weight.shape[1]
    y = np.zeros((len(x), weight.shape[0], *out))
    for o, place, tap in itertools.product(range(weight.shape[0]), np.ndindex(*out),
                                           np.ndindex(*kernel)):
        cell = [i * s - p + t * d for i, s, p, t, d in zip(place, stride, pad, tap, dilation)]
        if all(0 <= i < size for i, size in zip(cell, space)):
            first = o // outputs * inputs
            taken = x[(slice(None), slice(first, first + inputs), *cell)]
            y[(slice(None), o, *place)] += taken @ weight[(o, slice(None), *tap)]
    return y + bias.reshape(-1, *[1] * len(space))


CONVOLUTIONS = [
    # shape, prototxt, stride, pad, dilation, group
    ((2, 3, 6, 5), 'kernel_size: 3', (1, 1), (0, 0), (1, 1), 1),
    ((1, 4, 7, 6), 'kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 3 pad_h: 0 pad_w: 2 group: 2',
     (2, 3), (0, 2), (1, 1), 2),
    ((1, 2, 8, 8), 'kernel_size: 3 dilation: 2 dilation: 3 pad: 1', (1, 1), (1, 1), (2, 3), 1),
    ((2, 3, 7), 'kernel_size: 3 stride: 2 pad: 1', (2,), (1,), (1,), 1),
    ((1, 2, 4, 3, 5), 'kernel_size: 2 kernel_size: 1 kernel_size: 3 pad: 1 stride: 2',
     (2, 2, 2), (1, 1, 1), (1, 1, 1), 1),
    ((1, 1, 2, 5), 'kernel_size: 3 stride: 2', (2, 2), (0, 0), (1, 1), 1),     # 2 rows for 3
    ((3, 2), '', (), (), (), 1),
]


@pytest.mark.parametrize('shape, param, stride, pad, dilation, group', CONVOLUTIONS)
def test_convolution(make_net, shape, param, stride, pad, dilation, group):
    net = make_net(text('Convolution', shape,
                        f'convolution_param {{ num_output: 4 {param} {GAUSSIAN} }}'))
    x = fill(net)
    weight, bias = (blob.data.astype(float) for blob in net.params['layer'])
    wanted = naive_convolution(x, weight, bias, stride, pad, dilation, group)
    np.testing.assert_allclose(forward(net), wanted, rtol=1e-4, atol=1e-5)
    check_gradients(net, 'layer')


@pytest.mark.parametrize('kind', ['Convolution', 'Deconvolution', 'Im2col'])
@pytest.mark.parametrize('more', ['force_nd_im2col: true', 'engine: CAFFE', 'engine: CUDNN'])
def test_fields_that_change_nothing(make_net, kind, more):
    results = []
    for extra in ('', more):
        caffe.set_random_seed(3)
        net = make_net(text(kind, (1, 2, 5, 5), f'convolution_param {{ num_output: 3 '
                            f'kernel_size: 2 {GAUSSIAN} {extra} }}'))
        fill(net)
        results.append(forward(net).copy())
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize('kind', ['Convolution', 'Deconvolution', 'Im2col'])
@pytest.mark.parametrize('axis', [2, -3])
def test_channels_on_another_axis(make_net, kind, axis):
    """All axes before the channels are a batch."""
    param = f'num_output: 4 kernel_size: 2 kernel_size: 3 stride: 2 group: 2 {GAUSSIAN}'
    caffe.set_random_seed(1)
    net = make_net(text(kind, (2, 3, 2, 4, 5), f'convolution_param {{ axis: {axis} {param} }}'))
    caffe.set_random_seed(1)
    flat = make_net(text(kind, (6, 2, 4, 5), f'convolution_param {{ {param} }}'))
    flat.blobs['x'].data[...] = fill(net).reshape(6, 2, 4, 5)
    y, wanted = forward(net), forward(flat)
    assert y.shape == (2, 3, *wanted.shape[1:])
    np.testing.assert_allclose(y.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('shape, param, stride, pad, dilation, group', [
    *CONVOLUTIONS[:2], *CONVOLUTIONS[3:5], CONVOLUTIONS[6],
    ((1, 2, 3, 4), 'kernel_size: 2 dilation: 3 stride: 2', (2, 2), (0, 0), (3, 3), 1)])
def test_deconvolution_is_the_transpose(make_net, shape, param, stride, pad, dilation, group):
    """<deconvolution of x, z> = <x, convolution of z> for every z, with the same weights."""
    net = make_net(text('Deconvolution', shape, f'convolution_param {{ num_output: 4 {param} '
                        'weight_filler { type: "gaussian" } bias_filler { value: 0.5 } }'))
    x = fill(net)
    weight, bias = (blob.data.astype(float) for blob in net.params['layer'])
    assert weight.shape[:2] == (shape[1], 4 // group)
    y = forward(net) - bias.reshape(-1, *[1] * len(stride))
    z = np.random.default_rng(5).normal(size=y.shape)
    back = naive_convolution(z, weight, np.zeros(len(weight)), stride, pad, dilation, group)
    assert back.shape == x.shape
    assert np.isclose((y * z).sum(), (back * x).sum(), rtol=1e-4)
    check_gradients(net, 'layer')


def test_bilinear_upsampling(make_net):
    net = make_net(text('Deconvolution', (1, 2, 1, 3), 'convolution_param { num_output: 2 group: 2 '
                        'kernel_size: 4 stride: 2 pad: 1 bias_term: false '
                        'weight_filler { type: "bilinear" } }'))
    net.blobs['x'].data[...] = [0, 4, 8]
    row = np.array([0, 1, 3, 5, 7, 6])      # zeros beyond the border weigh in at the ends
    np.testing.assert_allclose(forward(net)[0, 1], 0.75 * np.stack([row, row]))


@pytest.mark.parametrize('kind', ['Convolution', 'Deconvolution'])
def test_several_bottoms_share_the_weights(make_net, kind):
    net = make_net(text(kind, (1, 2, 4, 4), f'convolution_param {{ num_output: 2 kernel_size: 3 '
                        f'{GAUSSIAN} }}', 'bottom: "r" top: "y" top: "z"', second((1, 2, 4, 4))))
    x, r = fill(net), fill(net, 'r', 1)
    y = forward(net).copy()
    z = net.blobs['z'].data.copy()
    for name in 'yz':
        net.blobs[name].diff[...] = 1
    net.backward()
    np.testing.assert_allclose(net.params['layer'][1].diff, 2 * math.prod(y.shape[2:]), rtol=1e-5)
    net.blobs['x'].data[...], net.blobs['r'].data[...] = r, x
    np.testing.assert_allclose(forward(net), z, rtol=1e-5)
    np.testing.assert_allclose(net.blobs['z'].data, y, rtol=1e-5)
    check_gradients(net, 'layer')


@pytest.mark.parametrize('shape, param, stride, pad, dilation, _', CONVOLUTIONS[:-1])
def test_im2col(make_net, shape, param, stride, pad, dilation, _):
    """A column is what a convolution with one-hot weights gives."""
    net = make_net(text('Im2col', shape, f'convolution_param {{ {param} }}'))
    x = fill(net)
    kernel = net.layer_dict['layer'].kernel
    columns = shape[1] * math.prod(kernel)
    weight = np.eye(columns).reshape(columns, shape[1], *kernel)
    wanted = naive_convolution(x, weight, np.zeros(columns), stride, pad, dilation, 1)
    np.testing.assert_allclose(forward(net), wanted, rtol=1e-6)
    check_gradients(net, 'layer')


def test_im2col_over_four_axes(make_net):
    net = make_net(text('Im2col', (1, 1, 2, 2, 2, 3), 'convolution_param { kernel_size: 2 }'))
    x = fill(net)
    y = forward(net)
    assert y.shape == (1, 16, 1, 1, 1, 2)
    np.testing.assert_array_equal(y[0, :, 0, 0, 0, 1], x[0, 0, ..., 1:].astype(np.float32).ravel())


@pytest.mark.parametrize('axis, offsets, window', [
    ('', '', np.s_[:, :, :2, :3]),
    ('', 'offset: 1', np.s_[:, :, 1:3, 1:4]),
    ('axis: 1', 'offset: 1 offset: 0 offset: 2', np.s_[:, 1:3, :2, 2:5]),
    ('axis: -1', 'offset: 2', np.s_[:, :, :, 2:5]),
    ('axis: 0', 'offset: 0', np.s_[:1, :2, :2, :3]),
])
def test_crop(make_net, axis, offsets, window):
    net = make_net(text('Crop', (2, 3, 4, 5), f'crop_param {{ {axis} {offsets} }}',
                        'bottom: "r" top: "y"', second((1, 2, 2, 3))))
    x = fill(net).astype(np.float32)
    y = forward(net)
    np.testing.assert_array_equal(y, x[window])
    net.blobs['y'].diff[...] = 2
    net.backward()
    wanted = np.zeros_like(x)
    wanted[window] = 2
    np.testing.assert_array_equal(net.blobs['x'].diff, wanted)
    assert not net.blobs['r'].diff.any()
    y[...] = 9      # a top of its own, no view of the bottom
    np.testing.assert_array_equal(net.blobs['x'].data, x)


CONV = 'convolution_param { num_output: 2 %s }'


@pytest.mark.parametrize('kind, shape, param, words', [
    ('Convolution', (1, 2, 5, 5), CONV % '', 'kernel_size is missing'),
    ('Convolution', (1, 2, 5, 5), CONV % 'kernel_size: 7', 'too small'),
    ('Convolution', (1, 2, 5, 5), CONV % 'kernel_size: 1 stride: 0', 'must be positive'),
    ('Convolution', (1, 2, 5, 5), CONV % 'kernel_size: 2 dilation: 0', 'must be positive'),
    ('Convolution', (1, 2, 5, 5), CONV % 'kernel_size: 2 pad: 1 pad: 1 pad: 1', '3 times'),
    ('Convolution', (1, 2, 5), CONV % 'kernel_h: 2 kernel_w: 2', '2 spatial axes'),
    ('Convolution', (1, 2, 5, 5), CONV % 'kernel_size: 2 pad: 1 pad_h: 1', 'exclude pad'),
    ('Convolution', (1, 3, 5, 5), CONV % 'kernel_size: 2 group: 2', '2 groups'),
    ('Convolution', (1, 3, 5, 5), CONV % 'kernel_size: 2 group: 0', '0 groups'),
    ('Convolution', (1, 3, 5, 5), 'convolution_param { kernel_size: 2 }', '0 outputs'),
    ('Convolution', (1, 3, 2, 2, 2, 2), CONV % 'kernel_size: 2', 'at most 3'),
    ('Convolution', (1, 3), CONV % 'axis: 2', 'axis 2'),
    ('Deconvolution', (1, 2, 1, 1), CONV % 'kernel_size: 2 pad: 1', 'too small'),
    ('Im2col', (1, 2, 5), 'convolution_param { kernel_size: 7 }', 'too small'),
    ('Im2col', (1, 2), 'convolution_param { kernel_size: 1 }', 'no axis after'),
])
def test_bad_parameters(make_net, kind, shape, param, words):
    with pytest.raises(caffe.CaffeError, match=words):
        make_net(text(kind, shape, param))


@pytest.mark.parametrize('shape, param, words', [
    ((1, 1, 2, 9), '', 'does not fit'),
    ((1, 1, 2, 3), 'offset: 3', 'does not fit'),
    ((1, 1), '', 'fewer axes'),
    ((1, 1, 2, 3), 'offset: 0 offset: 0 offset: 0', '3 times for 2 axes'),
    ((1, 1, 2, 3), 'axis: 4', 'axis 4'),
])
def test_bad_crops(make_net, shape, param, words):
    with pytest.raises(caffe.CaffeError, match=words):
        make_net(text('Crop', (1, 1, 4, 5), f'crop_param {{ {param} }}', 'bottom: "r" top: "y"',
                      second(shape)))


def test_bad_bottoms(make_net):
    net = make_net(text('Convolution', (1, 2, 4, 4), CONV % 'kernel_size: 2',
                        'bottom: "r" top: "y" top: "z"', second((1, 2, 4, 4))))
    net.blobs['r'].reshape(1, 2, 4, 5)
    with pytest.raises(caffe.CaffeError, match='differ'):
        net.forward()
    for shape in ((1, 3, 4, 4), (1, 2, 4)):
        for name in 'xr':
            net.blobs[name].reshape(*shape)
        with pytest.raises(caffe.CaffeError, match='does not have 2 channels'):
            net.forward()
    with pytest.raises(caffe.CaffeError, match='as many tops'):
        make_net(text('Convolution', (1, 2, 4, 4), CONV % 'kernel_size: 2', 'bottom: "x" top: "y"'))
