"""Parameters of layers that users write in Python: saved, shared and trained as any others."""

import caffe
import numpy as np
from python_layers import INPUT, layer


class Parameter(caffe.Layer):
    """y = w x + b, with w of one number and b of three."""

    def setup(self, bottom, top):
        self.blobs.add_blob(1)
        self.blobs.add_blob(3, 1)
        assert len(self.blobs) == 2 and self.blobs[1].data.shape == (3, 1)
        assert not self.blobs[0].data.any() and not self.blobs[1].diff.any()
        self.blobs[0].data[...] = 2

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data * bottom[0].data + self.blobs[1].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum()
        self.blobs[1].diff[...] += top[0].diff.sum((0, 2), keepdims=True)[0]
        bottom[0].diff[...] = self.blobs[0].data * top[0].diff


PARAMETER = layer(Parameter, 'P', 'data', 'y')


def test_parameters_are_saved_loaded_and_shared(make_net, tmp_path):
    net = make_net(INPUT + PARAMETER)
    assert list(net.params) == ['P'] and len(net.params['P']) == 2
    net.params['P'][0].data[...] = 5
    net.params['P'][1].data[...] = np.array([[1], [2], [3]])
    net.blobs['data'].data[...] = 10
    assert net.forward()['y'][0, :, 0].tolist() == [51, 52, 53]
    for save, name in [(net.save, 'w.caffemodel'), (net.save_hdf5, 'w.h5')]:
        path = str(tmp_path / name)
        save(path)
        other = make_net(INPUT + PARAMETER)
        assert other.params['P'][0].data == 2
        other.copy_from(path)
        assert other.params['P'][0].data == 5 and other.params['P'][1].data[2] == 3
    other = make_net(INPUT + PARAMETER)
    other.share_with(net)
    net.layer_dict['P'].blobs[0].data[0] += 1
    assert other.layers[-1].blobs[0].data[0] == 6 and other.params['P'][1].data[1] == 2


def test_gradients_of_parameters_add_up(make_net):
    net = make_net(INPUT + PARAMETER)
    net.blobs['data'].data[...] = 1
    net.blobs['y'].diff[...] = 1
    for times in [1, 2]:
        net.forward()
        net.backward()
        assert net.params['P'][0].diff == 24 * times
        assert (net.params['P'][1].diff == 8 * times).all()
    net.clear_param_diffs()
    assert net.params['P'][0].diff == 0


def test_parameters_of_one_name_are_one(make_net):
    names = 'param { name: "w" } param { name: "b" }'
    net = make_net(INPUT + layer(Parameter, 'P', 'data', 'y', more=names)
                   + layer(Parameter, 'Q', 'y', 'z', more=names))
    net.params['Q'][0].data[...] = 3
    net.blobs['data'].data[...] = 1
    assert (net.forward()['z'] == 9).all()
    net.blobs['z'].diff[...] = 1
    net.backward()
    assert net.params['P'][0].diff == net.params['Q'][0].diff == 24 * 3 + 24 * 3


TRAINED = '''
layer { name: "data" type: "DummyData" top: "data" top: "t" dummy_data_param {
        shape { dim: 4 dim: 3 dim: 2 } data_filler { type: "constant" value: 1 } } }
%s
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
'''


def test_a_solver_trains_the_parameters_and_its_test_net_sees_them(tmp_path):
    (tmp_path / 'net.prototxt').write_text(TRAINED % layer(
        Parameter, 'P', 'data', 'y',
        more='param { lr_mult: 2 decay_mult: 0 } param { lr_mult: 0 }'))
    (tmp_path / 'solver.prototxt').write_text(
        f'net: "{tmp_path}/net.prototxt" base_lr: 0.01 lr_policy: "fixed" weight_decay: 0.5 '
        'test_iter: 1 test_interval: 9 test_initialization: false snapshot_prefix: "x"')
    solver = caffe.get_solver(str(tmp_path / 'solver.prototxt'))
    solver.net.params['P'][1].data[...] = 7
    w = 2.0
    for _ in range(3):
        solver.step(1)
        w -= 0.01 * 2 * (w + 7 - 1) * 24 / 4    # the loss is the mean of the images
    np.testing.assert_allclose(solver.net.params['P'][0].data, w, rtol=1e-5)
    assert (solver.net.params['P'][1].data == 7).all()
    test = solver.test_nets[0]
    assert test.layer_dict['P'].phase == caffe.TEST
    np.testing.assert_allclose(test.params['P'][0].data, w, rtol=1e-5)
    np.testing.assert_allclose(test.forward()['loss'], 24 / 4 / 2 * (w + 6) ** 2, rtol=1e-5)
