"""Layers that users write in Python, in every place where a net or a solver runs them."""

import traceback

import caffe
import numpy as np
import pytest
from python_layers import INPUT, layer


class Times(caffe.Layer):
    """Multiplies by the number in param_str."""

    def setup(self, bottom, top):
        self.factor = float(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.factor * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = self.factor * top[0].diff


def three(make_net, blobs=('one', 'two', 'three')):
    text, below = INPUT, 'data'
    for name, blob, factor in zip(['one', 'two', 'three'], blobs, [2, 3, 10]):
        text += layer(Times, name, below, blob, factor)
        below = blob
    return make_net(text)


@pytest.mark.parametrize('blobs', [('one', 'two', 'three'), ('one', 'one', 'one'),
                                   ('data', 'data', 'data')], ids=str)
def test_forward_and_backward(make_net, blobs):
    net = three(make_net, blobs)
    net.blobs['data'].data[...] = 8
    net.forward()
    assert (net.blobs[blobs[-1]].data == 480).all()
    net.blobs[blobs[-1]].diff[...] = 7
    net.backward()
    assert (net.blobs['data'].diff == 420).all()


def test_backward_without_a_forward_before(make_net):
    net = three(make_net)
    net.blobs['three'].diff[...] = 7
    net.backward()
    assert (net.blobs['data'].diff == 420).all()
    net.blobs['one'].diff[...] = 1
    net.backward(start='one', end='one')
    assert (net.blobs['data'].diff == 2).all()


def test_reshape_follows_the_input(make_net):
    net = three(make_net)
    net.blobs['data'].reshape(4, 4, 4, 4)
    assert net.forward()['three'].shape == (4, 4, 4, 4)
    assert all(blob.data.shape == blob.diff.shape == (4, 4, 4, 4) for blob in net.blobs.values())


class Phase(caffe.Layer):

    def reshape(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        top[0].data[()] = self.phase


@pytest.mark.parametrize('phase', [caffe.TRAIN, caffe.TEST])
def test_phase(make_net, phase):
    assert make_net(layer(Phase, 'p', top='p'), phase).forward()['p'] == phase


class Raises(caffe.Layer):
    """Raises KeyError in the method that param_str names."""

    def _maybe(self, method):
        if self.param_str == method:
            raise KeyError('my own mistake')

    def setup(self, bottom, top):
        self._maybe('setup')

    def reshape(self, bottom, top):
        self._maybe('reshape')
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self._maybe('forward')
        top[0].data[...] = bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self._maybe('backward')
        bottom[0].diff[...] = top[0].diff


@pytest.mark.parametrize('method', ['setup', 'reshape', 'forward', 'backward'])
@pytest.mark.parametrize('top', ['y', 'data'])
def test_an_exception_reaches_the_caller_as_it_is(make_net, method, top):
    with pytest.raises(KeyError, match='my own mistake') as error:
        net = make_net(INPUT + layer(Raises, 'L', 'data', top, method))
        net.forward()
        net.backward()
    frames = traceback.extract_tb(error.value.__traceback__)
    assert frames[-1].filename == __file__
    assert frames[-1].line == "raise KeyError('my own mistake')"
    assert frames[-1].name == '_maybe' and frames[-2].name == method
    assert type(error.value) is KeyError and error.value.args == ('my own mistake',)


def test_a_net_goes_on_after_an_exception(make_net):
    net = make_net(INPUT + layer(Times, 'a', 'data', 'a', 2) + layer(Raises, 'L', 'a', 'y'))
    net.blobs['data'].data[...] = 3
    for method in ['forward', 'backward']:
        net.layer_dict['L'].param_str = method
        with pytest.raises(KeyError):
            net.forward()
            net.backward()
        net.layer_dict['L'].param_str = ''
        net.blobs['y'].diff[...] = 5
        assert (net.forward()['y'] == 6).all()
        net.backward()
        assert (net.blobs['data'].diff == 10).all()


def test_a_param_str_that_is_refused(make_net):
    with pytest.raises(ValueError, match='not_a_number'):
        make_net(INPUT + layer(Times, 'L', 'data', 'y', 'not_a_number'))


class Bare(caffe.Layer):
    """Neither setup nor backward."""

    def reshape(self, bottom, top):
        for blob in top:
            blob.reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        for number, blob in enumerate(top):
            blob.data[...] = bottom[0].data + number


def test_methods_may_be_left_out_and_tops_be_many(make_net):
    net = make_net(INPUT + layer(Bare, 'L', 'data', 'a b c', more_python='share_in_parallel: true'))
    out = net.forward()
    assert [out[name].max() for name in 'abc'] == [0, 1, 2]
    net.backward()
    assert not net.blobs['data'].diff.any()


class Remembers(caffe.Layer):
    """Keeps what backward was asked for."""

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[...] = sum(blob.data.sum() for blob in bottom)

    def backward(self, top, propagate_down, bottom):
        self.asked, self.top_diff = list(propagate_down), top[0].diff.copy()


@pytest.mark.parametrize('more, asked', [
    ('loss_weight: 2', [True, False]),
    ('loss_weight: 2 propagate_down: true propagate_down: true', [True, True]),
    ('loss_weight: 2 propagate_down: false propagate_down: false', [False, False])])
def test_propagate_down_and_loss_weight(make_net, more, asked):
    net = make_net(INPUT.replace('force_backward: true', '')
                   + 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" '
                     'inner_product_param { num_output: 2 } }'
                   + layer(Remembers, 'L', 'ip data', 'loss', more=more))
    net.forward()
    net.backward()
    assert net.layer_dict['L'].asked == asked and net.layer_dict['L'].top_diff == [2]
    assert net.blob_loss_weights['loss'] == 2


class Counter(caffe.Layer):
    """A data layer: the numbers from 0 on, in batches of 3, and 0 again behind 7."""

    def setup(self, bottom, top):
        self.next = 0
        top[0].reshape(3)

    def forward(self, bottom, top):
        top[0].data[...] = [(self.next + i) % 8 for i in range(3)]
        self.next = (self.next + 3) % 8


def test_a_data_layer_keeps_its_state(make_net):
    net = make_net(layer(Counter, 'L', top='y'))
    seen = np.concatenate([net.forward()['y'].copy() for _ in range(20)])
    assert seen.tolist() == [i % 8 for i in range(60)]
    net.layers[0].next = 5
    assert net.forward()['y'].tolist() == [5, 6, 7]
