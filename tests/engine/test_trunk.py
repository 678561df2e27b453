"""A frozen trunk keeps no activations, and nobody who asks for one can tell."""

import caffe
import numpy as np
import pytest

TRUNK = '''
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a"
        param { lr_mult: 0 } param { lr_mult: 0 }
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "a" top: "a"
        batch_norm_param { use_global_stats: %s } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b" type: "Convolution" bottom: "a" top: "b" param { lr_mult: 0 } param { lr_mult: 0 }
        convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }
layer { name: "pool" type: "Pooling" bottom: "sum" top: "pool"
        pooling_param { global_pooling: true } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" %s
        inner_product_param { num_output: 3 weight_filler { type: "msra" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
'''
FIXED = TRUNK % ('true', '')
DROPPED = ['a', 'a_relu_0_split_0', 'a_relu_0_split_1', 'b', 'sum']


def has_data(net):
    return {name for name, blob in net.blobs.items() if blob._data._tensor is not None}


@pytest.fixture
def net(make_net):
    net = make_net(FIXED, caffe.TRAIN)
    for blob, value in zip(net.params['bn'], (0.1, 1.5, 1)):
        blob.data[...] = value
    net.blobs['data'].data[...] = np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    return net


def test_what_only_the_trunk_reads_is_dropped(net):
    net.forward()
    assert has_data(net) == {'data', 'label', 'pool', 'ip', 'loss'}
    net.backward()
    assert not any(net.blobs[name].has_diff for name in [*DROPPED, 'pool'])
    assert net.params['ip'][0].diff.any() and not net.params['a'][0].diff.any()


def test_a_dropped_blob_is_there_when_asked_for(net, make_net):
    # a net that learns from its first layer on keeps every blob
    whole = make_net(FIXED.replace('param { lr_mult: 0 }', ''), caffe.TRAIN)
    whole.share_with(net)
    whole.blobs['data'].data[...] = net.blobs['data'].data
    net.forward()
    whole.forward()
    net.blobs['data'].data[...] = 7     # what was computed before does not change
    for name in DROPPED:
        np.testing.assert_allclose(net.blobs[name].data, whole.blobs[name].data, atol=1e-6)
    assert (net.blobs['data'].data == 7).all()
    net.forward()
    whole.blobs['data'].data[...] = 7
    whole.forward()
    np.testing.assert_allclose(net.blobs['b'].data, whole.blobs['b'].data, atol=1e-6)


def test_a_held_blob_follows_each_forward(net):
    net.forward()
    held = net.blobs['b'].data
    before = held.copy()
    net.blobs['data'].data[...] *= 2
    net.forward()
    assert not np.allclose(held, before)
    np.testing.assert_array_equal(held, net.blobs['b'].data)


def test_a_part_of_the_trunk_can_be_run(net):
    net.forward()
    expected = net.blobs['pool'].data.copy()
    net.blobs['sum'].data[...] += 1
    net.forward(start='pool', end='pool')
    np.testing.assert_allclose(net.blobs['pool'].data, expected + 1, atol=1e-6)
    assert net.forward(end='b')['b'].any()


def test_reshaped_inputs_leave_no_stale_blobs(net):
    net.forward()
    net.blobs['data'].reshape(1, 3, 8, 8)
    net.blobs['label'].reshape(1)
    net.blobs['data'].data[...] = 1
    net.forward()
    assert net.blobs['b'].data.shape == (1, 4, 6, 6) and net.blobs['b'].data.any()


def test_what_cannot_be_repeated_is_kept(make_net):
    net = make_net(TRUNK % ('false', ''), caffe.TRAIN)     # statistics of the batch, and counted
    net.forward()
    assert net.params['bn'][2].data == 1
    net.blobs['b'].data, net.blobs['a'].data
    assert net.params['bn'][2].data == 1


def test_a_net_without_learning_keeps_all(make_net):
    net = make_net(TRUNK % ('true', 'param { lr_mult: 0 } param { lr_mult: 0 }'), caffe.TEST)
    net.forward()
    assert has_data(net) == set(net.blobs)


def test_making_a_blob_again_leaves_what_others_wrote_over(make_net):
    # the trunk makes c, which a layer behind the trunk changes in place
    net = make_net(FIXED.replace('layer { name: "pool"', '''
layer { name: "c" type: "Pooling" bottom: "sum" top: "c" pooling_param { kernel_size: 2 } }
layer { name: "cbn" type: "BatchNorm" bottom: "c" top: "c"
        batch_norm_param { use_global_stats: false } }
layer { name: "pool"'''), caffe.TRAIN)
    net.blobs['data'].data[...] = np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    net.forward()
    expected = net.blobs['c'].data.copy()
    assert net.blobs['b'].data.any()
    np.testing.assert_array_equal(net.blobs['c'].data, expected)


def test_a_trunk_that_begins_in_place(make_net):
    text = FIXED.replace('layer { name: "a"',
                         'layer { name: "first" type: "Power" bottom: "data" top: "data" '
                         'power_param { scale: 2 } } layer { name: "a"', 1)
    net = make_net(text, caffe.TRAIN)
    net.blobs['data'].data[...] = np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    held = net.blobs['b'].data      # is there all the time
    net.forward()
    expected = held.copy()
    del held
    net.blobs['data'].data[...] = np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    net.forward()
    np.testing.assert_array_equal(net.blobs['b'].data, expected)
