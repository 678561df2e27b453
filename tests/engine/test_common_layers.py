"""InnerProduct, Dropout and Embed; recorded cases lie in data/genuine/cases_common.npz."""

import caffe
import numpy as np
import pytest
from conftest import check_gradients

TEXT = '''
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 } } }
layer { name: "layer" type: "%s" bottom: "x" top: "%s" %s }
'''
WEIGHTS = 'weight_filler { type: "gaussian" std: 1 } bias_filler { type: "gaussian" std: 1 }'


@pytest.mark.parametrize('axis', [1, 2, -1])
@pytest.mark.parametrize('transpose', ['false', 'true'])
def test_inner_product(make_net, axis, transpose):
    param = f'num_output: 5 axis: {axis} transpose: {transpose} {WEIGHTS}'
    net = make_net(TEXT % ('InnerProduct', 'y', f'inner_product_param {{ {param} }}'))
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 10
    net.blobs['x'].data[...] = x
    net.forward()
    weight, bias = (blob.data for blob in net.params['layer'])
    rows = x.reshape(-1, 12 if axis == 1 else 4)
    assert weight.shape == ((rows.shape[1], 5) if transpose == 'true' else (5, rows.shape[1]))
    wanted = np.array([[sum(row[k] * (weight[k, j] if transpose == 'true' else weight[j, k])
                            for k in range(len(row))) + bias[j] for j in range(5)] for row in rows])
    np.testing.assert_allclose(net.blobs['y'].data, wanted.reshape(*x.shape[:axis], 5), rtol=1e-4)
    check_gradients(net, 'layer')


def test_inner_product_refuses_another_number_of_inputs(make_net):
    net = make_net(TEXT % ('InnerProduct', 'y', 'inner_product_param { num_output: 5 }'))
    net.blobs['x'].reshape(2, 3, 5)
    with pytest.raises(caffe.CaffeError, match='15 inputs per row, but the weights take 12'):
        net.forward()


def dropout_net(make_net, ratio, phase, top='y'):
    net = make_net(TEXT.replace('3 dim: 4', '100 dim: 50')
                   % ('Dropout', top, f'dropout_param {{ dropout_ratio: {ratio} }}'), phase)
    net.blobs['x'].data[...] = np.arange(1, 10001).reshape(2, 100, 50)
    return net


@pytest.mark.parametrize('top', ['x', 'y'])
def test_dropout_in_training(make_net, top):
    net = dropout_net(make_net, 0.25, caffe.TRAIN, top)
    x = net.blobs['x'].data.copy()
    y = net.forward()[top].copy()
    kept = y != 0
    assert abs(kept.mean() - 0.75) < 0.02
    np.testing.assert_allclose(y[kept], x[kept] / 0.75, rtol=1e-6)
    net.blobs[top].diff[...] = 3
    net.backward()
    np.testing.assert_allclose(net.blobs['x'].diff, np.where(kept, 4, 0), rtol=1e-6)


def test_dropout_is_repeatable_and_new_each_time(make_net):
    net = dropout_net(make_net, 0.5, caffe.TRAIN)
    caffe.set_random_seed(3)
    first, second = net.forward()['y'].copy(), net.forward()['y'].copy()
    assert (first != second).any()
    caffe.set_random_seed(3)
    np.testing.assert_array_equal(net.forward()['y'], first)


def test_dropout_at_test_time_is_a_copy(make_net):
    net = dropout_net(make_net, 0.5, caffe.TEST)
    x = net.blobs['x'].data.copy()
    np.testing.assert_array_equal(net.forward()['y'], x)
    net.blobs['y'].data[...] = 0
    np.testing.assert_array_equal(net.blobs['x'].data, x)
    net.blobs['y'].diff[...] = 3
    net.backward()
    np.testing.assert_array_equal(net.blobs['x'].diff, np.full(x.shape, 3))


def test_dropout_ratio_1_would_divide_by_0(make_net):
    with pytest.raises(caffe.CaffeError, match='dropout_ratio is 1'):
        dropout_net(make_net, 1, caffe.TRAIN)


def embed_net(make_net, param):
    net = make_net(TEXT.replace('force_backward: true', '')
                   % ('Embed', 'y', f'loss_weight: 1 embed_param {{ {param} }}'))
    net.blobs['x'].data[...] = np.arange(24).reshape(2, 3, 4) % 5
    return net


def test_embed(make_net):
    net = embed_net(make_net, 'input_dim: 5 num_output: 2 ' + WEIGHTS)
    weight, bias = (blob.data for blob in net.params['layer'])
    indices = net.blobs['x'].data.astype(int)
    y = net.forward()['y']
    for place in np.ndindex(2, 3, 4):
        np.testing.assert_allclose(y[place], weight[indices[place]] + bias, rtol=1e-6)
    check_gradients(net, 'layer')
    net.blobs['y'].diff[...] = 2
    net.backward()
    counts = np.bincount(indices.ravel())
    np.testing.assert_allclose(net.params['layer'][0].diff, np.outer(counts, [2, 2]))
    np.testing.assert_allclose(net.params['layer'][1].diff, [48, 48])
    assert not net.blobs['x'].diff.any()


def test_embed_cuts_fractions_off(make_net):
    net = embed_net(make_net, 'input_dim: 5 num_output: 1 bias_term: false')
    net.params['layer'][0].data[...] = np.arange(5)[:, None]
    net.blobs['x'].data[...] = 3.9
    assert (net.forward()['y'] == 3).all()


@pytest.mark.parametrize('index', [-1, 5, np.nan])
def test_embed_refuses_an_index_out_of_range(make_net, index):
    net = embed_net(make_net, 'input_dim: 5 num_output: 2')
    net.blobs['x'].data[1, 2, 3] = index
    with pytest.raises(caffe.CaffeError, match=rf"'layer' .*: index {index} is not in 0 \.\. 4"):
        net.forward()


@pytest.mark.parametrize('param', ['', 'num_output: 2', 'input_dim: 5'])
def test_embed_needs_both_sizes(make_net, param):
    with pytest.raises(caffe.CaffeError, match='input_dim and num_output'):
        embed_net(make_net, param)


def test_embed_has_no_gradient_for_the_indices(make_net):
    net = make_net('''
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }
        layer { name: "s" type: "Scale" bottom: "x" top: "i" scale_param { axis: 0 num_axes: 0 } }
        layer { name: "layer" type: "Embed" bottom: "i" top: "y" loss_weight: 1
                embed_param { input_dim: 5 num_output: 2 } }''')
    net.forward()
    with pytest.raises(caffe.CaffeError, match="no gradient for its bottom 'i'"):
        net.backward()
