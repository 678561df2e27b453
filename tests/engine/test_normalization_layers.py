"""Normalization; recorded cases lie in data/genuine/cases_normalization.npz."""

import caffe
import numpy as np
import pytest
from conftest import check_gradients

RNG = np.random.default_rng(0)


def text(kind, shape, param='', top='y'):
    dims = ' '.join(f'dim: {dim}' for dim in shape)
    return (f'force_backward: true layer {{ name: "x" type: "Input" top: "x" '
            f'input_param {{ shape {{ {dims} }} }} }} '
            f'layer {{ name: "layer" type: "{kind}" bottom: "x" top: "{top}" {param} }}')


def fill(net, low=-1, high=1):
    blob = net.blobs['x']
    blob.data[...] = RNG.uniform(low, high, blob.shape)
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


def channels_last(values, ndim):
    """A channel's value for an array of ndim axes."""
    return np.asarray(values).reshape(-1, *[1] * (ndim - 2))


def close(actual, wanted):
    np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize('shape', [(3, 4, 5, 6), (6, 3), (2, 3, 4), (2, 3, 2, 3, 2)])
@pytest.mark.parametrize('top', ['y', 'x'])
def test_batch_norm_in_training(make_net, shape, top):
    net = make_net(text('BatchNorm', shape, 'batch_norm_param { moving_average_fraction: 0.75 '
                        'eps: 0.01 }', top), caffe.TRAIN)
    mean, variance, weight = (blob.data for blob in net.params['layer'])
    mean[...], variance[...], weight[...] = 2, 3, 5
    axes = (0, *range(2, len(shape)))
    state = [np.full(shape[1], 2.), np.full(shape[1], 3.), 5]
    for _ in range(2):      # the statistics change once a forward, whatever comes after it
        x = fill(net, low=1, high=3)
        y = forward(net, top).copy()
        centred = x - x.mean(axes, keepdims=True)
        root = np.sqrt(x.var(axes, keepdims=True) + 0.01)
        close(y, centred / root)
        diff, gradient = backward(net, top)
        y = centred / root
        close(gradient, (diff - diff.mean(axes, keepdims=True)
                         - y * (diff * y).mean(axes, keepdims=True)) / root)
        batch = [x.mean(axes), x.var(axes, ddof=1), 1]      # the unbiased variance is kept
        state = [0.75 * old + new for old, new in zip(state, batch)]
        for blob, wanted in zip(net.params['layer'], state):
            close(blob.data, wanted)
            assert not blob.diff.any()


def test_batch_norm_gradient_by_differences(make_net):
    net = make_net(text('BatchNorm', (2, 3, 2, 2)), caffe.TRAIN)
    fill(net)
    check_gradients(net, 'layer')


def test_batch_norm_over_channels_last_images(make_net):
    """Behind a convolution the memory layout is another one; the numbers are the same."""
    net = make_net(text('Convolution', (2, 3, 4, 5), 'convolution_param { num_output: 4 '
                        'kernel_size: 1 weight_filler { type: "gaussian" } }') +
                   'layer { name: "bn" type: "BatchNorm" bottom: "y" top: "z" } '
                   'layer { name: "scale" type: "Scale" bottom: "z" top: "w" '
                   'scale_param { bias_term: true } }', caffe.TRAIN)
    fill(net)
    scale, shift = (blob.data for blob in net.params['scale'])
    scale[...], shift[...] = [1, 2, -3, 0.5], [1, 0, 2, -1]
    net.forward()
    y, z, w = (net.blobs[name].data.astype(float) for name in 'yzw')
    root = np.sqrt(y.var((0, 2, 3), keepdims=True) + 1e-5)
    close(z, (y - y.mean((0, 2, 3), keepdims=True)) / root)
    close(w, z * scale[:, None, None] + shift[:, None, None])
    diff = RNG.normal(size=w.shape).astype(np.float32)
    net.blobs['w'].diff[...] = diff
    net.backward()
    close(net.params['scale'][0].diff, (diff * z).sum((0, 2, 3)))
    close(net.params['scale'][1].diff, diff.sum((0, 2, 3)))
    dz = diff * scale[:, None, None]
    close(net.blobs['z'].diff, dz)
    close(net.blobs['y'].diff, (dz - dz.mean((0, 2, 3), keepdims=True)
                                - z * (dz * z).mean((0, 2, 3), keepdims=True)) / root)


@pytest.mark.parametrize('weight', [4, 0])
@pytest.mark.parametrize('phase, param', [
    (caffe.TEST, ''), (caffe.TRAIN, 'batch_norm_param { use_global_stats: true }')])
def test_batch_norm_with_kept_statistics(make_net, weight, phase, param):
    """A weight of 0 makes mean and variance 0."""
    net = make_net(text('BatchNorm', (2, 3, 4, 5), param), phase)
    kept = [np.array([1, -2, 3.]), np.array([8, 4, 2.]), np.array([weight])]
    for blob, value in zip(net.params['layer'], kept):
        blob.data[...] = value
    x = fill(net)
    mean, variance = (channels_last(v / weight if weight else v * 0, 4) for v in kept[:2])
    close(forward(net), (x - mean) / np.sqrt(variance + 1e-5))
    diff, gradient = backward(net)
    close(gradient, diff / np.sqrt(variance + 1e-5))
    for blob, value in zip(net.params['layer'], kept):
        np.testing.assert_array_equal(blob.data, value)
        assert not blob.diff.any()
    check_gradients(net, 'layer')


def test_batch_norm_of_the_batch_in_test(make_net):
    net = make_net(text('BatchNorm', (2, 3, 4), 'batch_norm_param { use_global_stats: false }'))
    x = fill(net)
    y = forward(net)
    close(y.mean((0, 2)), 0)
    close(net.params['layer'][0].data, x.mean((0, 2)))


def test_batch_norm_of_one_value_a_channel(make_net):
    net = make_net(text('BatchNorm', (1, 3, 1, 1)), caffe.TRAIN)
    x = fill(net)
    np.testing.assert_array_equal(forward(net), np.zeros((1, 3, 1, 1)))
    _, gradient = backward(net)
    assert not gradient.any()
    close(net.params['layer'][0].data, x.ravel())
    np.testing.assert_array_equal(net.params['layer'][1].data, np.zeros(3))


def test_batch_norm_needs_lr_mult_0(make_net):
    for spec in ('param { lr_mult: 0 }', 'param { } ' * 3):     # three is how older nets say it
        make_net(text('BatchNorm', (2, 3), spec), caffe.TRAIN)
    for spec in ('param { lr_mult: 1 }', 'param { lr_mult: 0 } param { }'):
        with pytest.raises(caffe.CaffeError, match='lr_mult must be 0'):
            make_net(text('BatchNorm', (2, 3), spec), caffe.TRAIN)


def test_batch_norm_refuses_other_channels(make_net):
    net = make_net(text('BatchNorm', (2, 3, 4)))
    for shape in ((2, 4, 3), (24,)):
        net.blobs['x'].reshape(*shape)
        with pytest.raises(caffe.CaffeError, match='3 channels of the statistics'):
            net.forward()
    with pytest.raises(caffe.CaffeError, match='axis 1 is out of range'):
        make_net(text('BatchNorm', (5,)))


def naive_lrn(x, size, alpha, beta, k, within):
    """The window's sum of squares is divided by the whole window, also where it hangs over."""
    y = np.zeros_like(x)
    half = size // 2
    for n, c, i, j in np.ndindex(*x.shape):
        if within:
            window = x[n, c, max(0, i - half):i + half + 1, max(0, j - half):j + half + 1]
            y[n, c, i, j] = x[n, c, i, j] * (1 + alpha * (window ** 2).sum() / size ** 2) ** -beta
        else:
            window = x[n, max(0, c - half):c + half + 1, i, j]
            y[n, c, i, j] = x[n, c, i, j] * (k + alpha * (window ** 2).sum() / size) ** -beta
    return y


@pytest.mark.parametrize('param, size, alpha, beta, k', [
    ('', 5, 1, 0.75, 1),
    ('local_size: 3 alpha: 2 beta: 0.5 k: 4', 3, 2, 0.5, 4),
    ('local_size: 1 alpha: 0.5 beta: 2', 1, 0.5, 2, 1),
    ('local_size: 9 k: 2', 9, 1, 0.75, 2),      # more than there is
])
@pytest.mark.parametrize('within', [True, False])
def test_lrn(make_net, param, size, alpha, beta, k, within):
    net = make_net(text('LRN', (2, 4, 3, 5), f'lrn_param {{ {param} norm_region: '
                        f'{"WITHIN_CHANNEL" if within else "ACROSS_CHANNELS"} }}'))
    x = fill(net)
    close(forward(net), naive_lrn(x, size, alpha, beta, k, within))
    check_gradients(net, 'layer')


def test_bad_lrn(make_net):
    with pytest.raises(caffe.CaffeError, match='must be odd'):
        make_net(text('LRN', (1, 2, 3, 3), 'lrn_param { local_size: 4 }'))
    with pytest.raises(caffe.CaffeError, match='4 axes'):
        make_net(text('LRN', (1, 2, 3)))


@pytest.mark.parametrize('shape', [(2, 3, 4, 5), (2, 3, 4), (2, 3), (4,)])
@pytest.mark.parametrize('across', [True, False])
@pytest.mark.parametrize('eps', [1e-9, 0.5, None])
def test_mvn(make_net, shape, across, eps):
    """Without eps: only the mean is taken off. The gradient is Caffe's, not the derivative."""
    param = f'eps: {eps}' if eps else 'normalize_variance: false'
    param += f' across_channels: {str(across).lower()}'
    net = make_net(text('MVN', shape, f'mvn_param {{ {param} }}'))
    four = shape + (1,) * (4 - len(shape))      # the top has four axes
    x = fill(net).reshape(four)
    axes = (1, 2, 3) if across else (2, 3)
    centred = x - x.mean(axes, keepdims=True)
    root = x.std(axes, keepdims=True) + eps if eps else 1
    y = centred / root
    found = forward(net)
    assert found.shape == four
    close(found, y)
    diff, gradient = backward(net)
    wanted = diff - diff.mean(axes, keepdims=True)
    if eps:
        wanted = (wanted - y * (diff * y).mean(axes, keepdims=True)) / root
        if eps < 1e-3 and x.std(axes).min() == 0:   # one value each: all is rounding over eps
            wanted = np.zeros_like(wanted)
    close(gradient.reshape(four), wanted)


def test_mvn_refuses_five_axes(make_net):
    with pytest.raises(caffe.CaffeError, match='4 axes at most'):
        make_net(text('MVN', (1, 2, 3, 2, 2)))


@pytest.mark.parametrize('param, axis', [('', 1), ('axis: 0', 0), ('axis: -1', 2), ('axis: 2', 2)])
@pytest.mark.parametrize('top', ['y', 'x'])
def test_softmax(make_net, param, axis, top):
    net = make_net(text('Softmax', (2, 3, 4), f'softmax_param {{ {param} engine: CUDNN }}', top))
    x = fill(net, low=-90, high=90)     # exp(90) has no float32
    e = np.exp(x - x.max(axis, keepdims=True))
    y = e / e.sum(axis, keepdims=True)
    close(forward(net, top), y)
    diff, gradient = backward(net, top)
    close(gradient, y * (diff - (diff * y).sum(axis, keepdims=True)))


def test_softmax_refuses_an_axis_that_is_not_there(make_net):
    with pytest.raises(caffe.CaffeError, match='axis 1'):
        make_net(text('Softmax', (3,)))


@pytest.mark.parametrize('shape', [(2, 3, 2, 2), (4, 3), (2, 3, 2)])
def test_normalize(make_net, shape):
    net = make_net(text('Normalize', shape))
    x = fill(net)
    close(forward(net), x / np.sqrt((x ** 2).sum(1, keepdims=True) + 1e-6))
    check_gradients(net, 'layer')
    net.blobs['x'].data[0] = 0      # nothing to divide by
    y = forward(net)
    assert not y[0].any() and np.isfinite(y).all()
    diff, gradient = backward(net)
    close(gradient[0], diff[0] * 1000)
