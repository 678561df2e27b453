"""caffe.Net as pycaffe's users know it: names, memory, files, callbacks, batches."""

import gc
from collections import OrderedDict

import caffe
import numpy as np
import pytest
from product_net import INPUT

SIMPLE = '''
name: "simple" force_backward: true
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
        shape { dim: 5 dim: 2 dim: 3 dim: 4 } shape { dim: 5 }
        data_filler { type: "gaussian" } data_filler { type: "constant" value: 3 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
        num_output: 4 kernel_size: 2 pad: 1 weight_filler { type: "gaussian" std: 0.5 }
        bias_filler { type: "constant" value: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "scores" inner_product_param {
        num_output: 6 weight_filler { type: "gaussian" std: 0.1 }
        bias_filler { type: "constant" value: -3 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss" }
'''


@pytest.fixture
def net(make_net):
    return make_net(SIMPLE, caffe.TRAIN)


def assert_same_params(one, other):
    assert list(one.params) == list(other.params) != []
    for name, blobs in one.params.items():
        for mine, theirs in zip(blobs, other.params[name], strict=True):
            np.testing.assert_array_equal(mine.data, theirs.data)


def test_names(net):
    assert net.name == 'simple' and net.inputs == [] and net.outputs == ['loss']
    assert net.top_names == OrderedDict(data=['data', 'label'], conv=['conv'], ip=['scores'],
                                        loss=['loss'])
    assert net.bottom_names == OrderedDict(data=[], conv=['data'], ip=['conv'],
                                           loss=['scores', 'label'])
    assert list(net._layer_names) == list(net.layer_dict) == ['data', 'conv', 'ip', 'loss']
    assert [net.layer_dict[name] for name in net._layer_names] == list(net.layers)
    assert net.blob_loss_weights == OrderedDict(data=0, label=0, conv=0, scores=0, loss=1)


def test_blobs_live_longer_than_their_net(net):
    net.forward()
    net.backward()
    blobs = [*net.blobs.values(), *net.params['conv'], *net.params['ip']]
    views = [net.blobs['scores'].data[1], net.params['ip'][0].diff]
    before = [view.copy() for view in views]
    del net
    gc.collect()
    assert all(np.isfinite(blob.data).all() and np.isfinite(blob.diff).all() for blob in blobs)
    for view, values in zip(views, before):
        np.testing.assert_array_equal(view, values)


def test_a_held_array_follows_every_forward_and_backward(net):
    scores, diff = net.blobs['scores'].data, net.blobs['scores'].diff
    weights, gradient = net.params['ip'][0].data, net.params['ip'][0].diff
    for _ in range(2):
        weights *= 0.5
        net.clear_param_diffs()
        net.forward()
        net.backward()
        expected = net.blobs['conv'].data.reshape(5, -1) @ weights.T + net.params['ip'][1].data
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
        odds = np.exp(expected - expected.max(1, keepdims=True))
        expected = (odds / odds.sum(1, keepdims=True) - np.eye(6)[3]) / 5
        np.testing.assert_allclose(diff, expected, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(gradient, expected.T @ net.blobs['conv'].data.reshape(5, -1),
                                   rtol=1e-3, atol=1e-5)


def test_parameter_diffs_add_up_until_cleared(net):
    net.forward()
    net.backward()
    diff = net.params['conv'][0].diff
    once, blob_diff = diff.copy(), net.blobs['conv'].diff.copy()
    net.backward()
    assert np.abs(once).max() > 0
    np.testing.assert_allclose(diff, 2 * once, rtol=1e-5)
    np.testing.assert_array_equal(net.blobs['conv'].diff, blob_diff)
    net.clear_param_diffs()
    assert not any(blob.diff.any() for blobs in net.params.values() for blob in blobs)
    assert not diff.any()


def test_one_layer_forward_and_backward(net):
    rng = np.random.default_rng(0)
    x = net.blobs['conv'].data
    x[...] = rng.normal(size=x.shape)
    weights, bias = (blob.data for blob in net.params['ip'])
    assert list(net.forward(start='ip', end='ip')) == ['scores']
    np.testing.assert_allclose(net.blobs['scores'].data, x.reshape(5, -1) @ weights.T + bias,
                               rtol=1e-4, atol=1e-5)
    net.blobs['scores'].diff[...] = rng.normal(size=(5, 6))
    assert list(net.backward(start='ip', end='ip')) == ['conv']
    np.testing.assert_allclose(net.blobs['conv'].diff.reshape(5, -1),
                               net.blobs['scores'].diff @ weights, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(net.params['ip'][0].diff,
                               net.blobs['scores'].diff.T @ x.reshape(5, -1), rtol=1e-4, atol=1e-5)


def test_backward_returns_input_diffs_and_more(make_net):
    net = make_net('force_backward: true' + INPUT)
    net.forward(data=np.ones((4, 3), np.float32))
    top = np.arange(8, dtype=np.float32).reshape(4, 2)
    found = net.backward(diffs=['ip'], ip=top)
    assert set(found) == {'data', 'ip'}
    np.testing.assert_array_equal(found['ip'], top)
    np.testing.assert_allclose(found['data'], top @ net.params['ip'][0].data, rtol=1e-5)
    with pytest.raises(Exception, match='outputs are'):
        net.backward(data=top)
    with pytest.raises(Exception, match='batch size'):
        net.backward(ip=top[:1])
    with pytest.raises(ValueError, match='no layer'):
        net.backward(start='zz')
    with pytest.raises(Exception, match='no blob'):
        net.backward(diffs=['zz'])


def test_every_diff_can_be_written(net):
    for blob in [*net.blobs.values(), *net.params['conv'], *net.params['ip']]:
        blob.diff[...] = 7
        assert (blob.diff == 7).all()
        blob.diff.flat[0] = 8
        assert blob.diff.flat[0] == 8 and not (blob.data == 8).any()


def test_the_weight_of_a_loss_stands_in_its_diff(net):
    gradients = []
    for weight in [1, 3]:
        net.blobs['loss'].diff[...] = weight
        net.forward(start='conv')
        net.backward()
        assert net.blobs['loss'].diff == weight
        gradients.append(net.blobs['scores'].diff.copy())
    assert gradients[0].any()
    np.testing.assert_allclose(gradients[1], 3 * gradients[0], rtol=1e-6)


@pytest.mark.parametrize('way', ['weights=', 'positional', 'copy_from', 'hdf5',
                                 'hdf5 by copy_from'])
def test_saved_parameters_are_read_back(net, make_net, tmp_path, way):
    path = str(tmp_path / ('w.caffemodel' + '.h5' * ('hdf5' in way)))
    (net.save_hdf5 if 'hdf5' in way else net.save)(path)
    text = str(tmp_path / 'net.prototxt')
    if way == 'weights=':
        other = caffe.Net(text, caffe.TRAIN, weights=path)
    elif way == 'positional':
        other = caffe.Net(text, path, caffe.TRAIN)
    else:
        other = make_net(SIMPLE)
        assert (other.params['ip'][0].data != net.params['ip'][0].data).any()
        (other.load_hdf5 if way == 'hdf5' else other.copy_from)(path)
    assert_same_params(net, other)


def test_callbacks_see_every_layer(net):
    calls = []
    for when in ['before_forward', 'after_forward', 'before_backward', 'after_backward']:
        getattr(net, when)(lambda index, when=when: calls.append((when, index)))
    net.forward()
    assert calls == [(when, i) for i in range(4) for when in ['before_forward', 'after_forward']]
    calls.clear()
    net.backward(end='ip')
    assert calls == [(when, i) for i in [3, 2] for when in ['before_backward', 'after_backward']]


def test_an_after_forward_callback_may_change_the_blob(make_net):
    net = make_net(INPUT + 'layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }')

    def negate(index):
        if net._layer_names[index] == 'ip':
            net.blobs['ip'].data[...] *= -1
    data = np.ones((4, 3), np.float32)
    before = net.forward(data=data, end='ip')['ip'].copy()
    net.after_forward(negate)
    np.testing.assert_array_equal(net.forward(data=data)['ip'], np.maximum(-before, 0))


def test_share_with_shares_data_and_not_diffs(net, make_net):
    other = make_net(SIMPLE)
    other.share_with(net)
    assert_same_params(net, other)
    net.params['ip'][0].data[0, 0] = 42
    assert other.params['ip'][0].data[0, 0] == 42
    other.params['ip'][1].data[...] = 5
    assert (net.params['ip'][1].data == 5).all()
    net.params['ip'][0].diff[...] = 1
    assert not other.params['ip'][0].diff.any()
    with pytest.raises(caffe.CaffeError, match="'ip'.*shape"):
        make_net(INPUT).share_with(net)


@pytest.mark.parametrize('count', [1, 4, 6, 9])
def test_forward_all_takes_any_number(make_net, count):
    net = make_net('force_backward: true' + INPUT
                   + 'layer { name: "r" type: "ReLU" bottom: "ip" top: "r" }')
    rng = np.random.default_rng(1)
    data, diff = rng.normal(size=(count, 3)), rng.normal(size=(count, 2))
    weights = net.params['ip'][0].data
    ip = data.astype(np.float32) @ weights.T
    out = net.forward_all(blobs=['ip'], data=data)
    assert set(out) == {'r', 'ip'}
    np.testing.assert_allclose(out['ip'], ip, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out['r'], np.maximum(ip, 0), rtol=1e-5, atol=1e-6)
    out, diffs = net.forward_backward_all(blobs=['ip'], diffs=['ip'], data=data, r=diff)
    assert set(out) == {'r', 'ip'} and set(diffs) == {'data', 'ip'}
    np.testing.assert_allclose(out['ip'], ip, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(diffs['ip'], diff * (ip > 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(diffs['data'], diff * (ip > 0) @ weights, rtol=1e-4, atol=1e-6)


def test_nccl_uid_is_bytes():
    assert isinstance(caffe.has_nccl(), bool)
    assert isinstance(caffe.NCCL.new_uid(), bytes)


def test_nets_live_longer_than_their_solver(tmp_path):
    (tmp_path / 'net.prototxt').write_text(SIMPLE)
    (tmp_path / 'solver.prototxt').write_text(
        f'net: "{tmp_path}/net.prototxt" test_iter: 2 test_interval: 4 base_lr: 0.01 max_iter: 9 '
        'lr_policy: "inv" gamma: 0.1 power: 0.75 snapshot_after_train: false snapshot_prefix: "x"')
    solver = caffe.SGDSolver(str(tmp_path / 'solver.prototxt'))
    assert solver.iter == 0
    solver.solve()
    assert solver.iter == 9
    nets = [solver.net, *solver.test_nets]
    del solver
    gc.collect()
    assert len(nets) == 2
    for net in nets:
        for blob in [*net.blobs.values(), *net.params['conv'], *net.params['ip']]:
            assert np.isfinite(blob.data).all() and np.isfinite(blob.diff).all()
    assert nets[0].params['ip'][0].diff.any()
    assert_same_params(*nets)
