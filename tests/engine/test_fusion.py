"""A chain of in-place layers is one operation, and nothing that a user sees tells so."""

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

TRUNK = '''
layer { name: "data" type: "Input" top: "data" input_param {
        shape { dim: 2 dim: 3 dim: 9 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
        num_output: 4 kernel_size: 3 pad: 1 %s weight_filler { type: "msra" }
        bias_filler { type: "gaussian" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param {
        use_global_stats: true } }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true
        filler { type: "gaussian" mean: 1 } bias_filler { type: "gaussian" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "other" type: "Convolution" bottom: "data" top: "other" convolution_param {
        num_output: 4 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "other" top: "sum" }
layer { name: "sum_relu" type: "ReLU" bottom: "sum" top: "sum" }
'''
CHAIN = ['conv', 'bn', 'scale', 'relu']


@pytest.fixture(params=['', 'bias_term: false', 'stride: 2 pad: 2 kernel_h: 3'])
def net(request, make_net):
    if 'stride' in request.param:   # other geometry for both branches
        text = TRUNK.replace('kernel_size: 3 pad: 1 %s', 'kernel_size: 3 pad: 1 stride: 2').replace(
            'num_output: 4 kernel_size: 1', 'num_output: 4 kernel_size: 1 stride: 2')
    else:
        text = TRUNK % request.param
    net = make_net(text)
    rng = np.random.default_rng(1)
    net.params['bn'][0].data[...] = rng.normal(size=4)
    net.params['bn'][1].data[...] = rng.uniform(0.5, 2, 4)
    net.params['bn'][2].data[...] = 3
    net.blobs['data'].data[...] = rng.normal(size=(2, 3, 9, 8))
    return net


def naive(net, upto='relu'):
    """The chain layer by layer in float64, the convolution by loops over its window."""
    param = net.layer_dict['conv'].layer_param.convolution_param
    stride = param.stride[0] if param.stride else 1
    x = np.pad(net.blobs['data'].data.astype(float), [(0, 0), (0, 0), (1, 1), (1, 1)])
    weight = net.params['conv'][0].data.astype(float)
    height, width = ((size - 3) // stride + 1 for size in x.shape[2:])
    y = sum(np.einsum('nchw,oc->nohw', x[:, :, i:i + stride * height:stride,
                                         j:j + stride * width:stride][:, :, :height, :width],
                      weight[:, :, i, j]) for i in range(3) for j in range(3))
    if len(net.params['conv']) > 1:
        y += net.params['conv'][1].data[:, None, None]
    if upto == 'conv':
        return y
    mean, variance, weight = (blob.data.astype(float) for blob in net.params['bn'])
    y = (y - (mean / weight)[:, None, None]) / np.sqrt(variance / weight + 1e-5)[:, None, None]
    if upto == 'bn':
        return y
    scale, shift = (blob.data.astype(float)[:, None, None] for blob in net.params['scale'])
    y = y * scale + shift
    return y if upto == 'scale' else np.maximum(y, 0)


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_the_whole_net(net):
    net.forward()
    assert_close(net.blobs['conv'].data, naive(net))
    assert_close(net.blobs['sum'].data,
                 np.maximum(net.blobs['conv'].data + net.blobs['other'].data, 0))


@pytest.mark.parametrize('end', CHAIN)
def test_a_run_that_ends_inside_a_chain(net, end):
    net.forward()
    net.forward(end=end)
    assert_close(net.blobs['conv'].data, naive(net, end))


def test_a_run_that_begins_inside_a_chain(net):
    net.forward(end='conv')
    net.forward(start='bn', end='bn')
    net.forward(start='scale')
    assert_close(net.blobs['conv'].data, naive(net))


@pytest.mark.parametrize('layer', ['conv', 'bn', 'scale'])
def test_edits_to_params_count(net, layer):
    net.forward()
    held = net.params[layer][0].data
    held[...] = held * 1.5 + 0.25
    net.forward()
    assert_close(net.blobs['conv'].data, naive(net))
    held[0] = 4                     # a view kept over runs counts too
    net.forward()
    assert_close(net.blobs['conv'].data, naive(net))
    del held
    net.forward()
    net.params[layer][0].data[1] = 0.125
    net.forward()
    assert_close(net.blobs['conv'].data, naive(net))


def test_weights_loaded_later_count(net, tmp_path):
    path = str(tmp_path / 'w.caffemodel')
    net.forward()
    net.save(path)
    before = net.blobs['conv'].data.copy()
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] *= 2
    net.forward()
    assert np.abs(net.blobs['conv'].data - before).max() > 0.1
    net.copy_from(path)
    net.forward()
    np.testing.assert_array_equal(net.blobs['conv'].data, before)


def test_batch_statistics_are_not_folded(make_net):
    param = caffe_pb2.NetParameter()
    text_format.Parse(TRUNK % '', param)
    param.layer[2].batch_norm_param.use_global_stats = False
    net = make_net(text_format.MessageToString(param), caffe.TRAIN)
    net.blobs['data'].data[...] = np.random.default_rng(0).normal(size=(2, 3, 9, 8))
    net.forward(end='bn')
    y = net.blobs['conv'].data
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(y.var((0, 2, 3)), 1, rtol=1e-3)
    assert net.params['bn'][2].data[0] == 1
