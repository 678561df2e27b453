"""Gradients of inner blobs of a deployed net: deepdream, saliency."""

import numpy as np
import pytest

DEPLOY = '''
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 12 dim: 10 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {
        num_output: 6 kernel_size: 3 weight_filler { type: "msra" }
        bias_filler { type: "gaussian" std: 0.1 } } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "conv1" }
layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
        pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2" convolution_param {
        num_output: 4 kernel_size: 2 weight_filler { type: "msra" } } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"
        pooling_param { pool: AVE global_pooling: true } }
layer { name: "prob" type: "Softmax" bottom: "pool2" top: "prob" }
'''


def deploy(make_net, text='force_backward: true' + DEPLOY):
    net = make_net(text)
    for blob, value in zip(net.params['bn1'], [0.2, 1.5, 1]):
        blob.data[...] = value
    net.blobs['data'].data[...] = np.random.default_rng(6).normal(size=net.blobs['data'].shape)
    return net


@pytest.mark.parametrize('layer, blob', [('relu2', 'conv2'), ('pool1', 'pool1'), ('bn1', 'conv1'),
                                         ('conv1', 'conv1'), ('prob', 'prob')])
def test_the_gradient_of_an_inner_blob(make_net, layer, blob):
    net = deploy(make_net)
    source = net.blobs['data']

    def energy():
        net.forward(end=layer)
        return (net.blobs[blob].data.astype(float) ** 2).sum() / 2

    energy()
    net.blobs[blob].diff[:] = net.blobs[blob].data
    net.backward(start=layer)
    gradient, start = source.diff.copy(), source.data.copy()
    rng, step = np.random.default_rng(7), 1e-3
    for _ in range(5):
        direction = rng.normal(size=start.shape)
        values = []
        for sign in [1, -1]:
            source.data[...] = start + sign * step * direction
            values.append(energy())
        slope = (values[0] - values[1]) / (2 * step)
        assert slope == pytest.approx((gradient * direction).sum(), rel=0.02, abs=2e-3)


def test_dreaming_over_octaves(make_net):
    net = deploy(make_net)
    source = net.blobs['data']
    image = source.data.copy()
    for height, width in [(8, 8), (12, 10), (16, 17)]:
        source.reshape(1, 3, height, width)
        if image is None:
            image = np.zeros((1, 3, height, width))
        source.data[...] = np.resize(image, source.shape)
        energies = []
        for _ in range(8):
            top = net.forward(end='relu2')['conv2']
            energies.append((top ** 2).sum())
            net.blobs['conv2'].diff[:] = top
            net.backward(start='relu2')
            gradient = source.diff[0]
            assert gradient.shape == (3, height, width)
            source.data[0] += 0.05 * gradient / np.abs(gradient).mean()
        image = source.data.copy()
        assert energies[-1] > 2 * energies[0] > 0


def test_saliency_of_one_class(make_net):
    net = deploy(make_net)
    net.forward()
    for label in range(4):
        net.blobs['prob'].diff[...] = 0
        net.blobs['prob'].diff[0, label] = 1
        net.backward()
        seen = net.blobs['pool2'].diff.ravel()
        prob = net.blobs['prob'].data.ravel()
        np.testing.assert_allclose(seen, prob[label] * (np.eye(4)[label] - prob),
                                   rtol=1e-4, atol=1e-7)
        assert net.blobs['data'].diff.any()


def test_nothing_flows_unless_somebody_asks(make_net):
    net = deploy(make_net, DEPLOY)
    net.forward()
    net.blobs['prob'].diff[...] = 1
    net.backward()
    assert not net.blobs['data'].diff.any() and not net.params['conv1'][0].diff.any()
