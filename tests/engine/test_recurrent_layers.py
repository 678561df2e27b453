"""LSTM, RNN and LSTMUnit: the state carried on, exposed states, gradients and bad input."""

import json
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe.errors import CaffeError
from conftest import check_gradients
from loss_nets import inputs

RNG = np.random.default_rng(0)
# forwards one after the other, as genuine Caffe ran them: the streams go 2 2 2 1 2 3 3, and an
# odd one is followed by a backward
CARRY = np.load(Path(__file__).parents[1] / 'data/genuine/recurrent_carry.npz')


def recurrent_net(make_net, kind='LSTM', size=3, options='', bottoms=None, tops=('y',)):
    """A net of one layer `L` over 4 steps of 2 streams, with random parameters and inputs."""
    shapes = {'x': (4, 2, 5), 'cont': (4, 2), **(bottoms or {})}
    ends = ' '.join([f'bottom: "{name}"' for name in shapes] + [f'top: "{name}"' for name in tops])
    filler = 'type: "uniform" min: -0.7 max: 0.7'
    net = make_net(inputs(**shapes) + f"""layer {{ name: "L" type: "{kind}" {ends}
        recurrent_param {{ num_output: {size} weight_filler {{ {filler} }}
                           bias_filler {{ {filler} }} {options} }} }}""")
    for name, shape in shapes.items():
        net.blobs[name].data[...] = RNG.normal(size=shape) if name != 'cont' else 1
    return net


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_loops(net, kind, h, c, static=0):
    """y of every step, and the last states, by the formulas; h and c are N x D."""
    w_x, b, *static_w, w_h = [blob.data for blob in net.params['L']][:3 + bool(np.any(static))]
    out = []
    for x, cont in zip(net.blobs['x'].data, net.blobs['cont'].data[..., None]):
        z = x @ w_x.T + b + (cont * h) @ w_h.T
        if static_w:
            z = z + static @ static_w[0].T
        if kind == 'RNN':
            h = np.tanh(z)
            w_o, b_o = [blob.data for blob in net.params['L']][-2:]
            out.append(np.tanh(h @ w_o.T + b_o))
        else:
            i, f, o, g = np.split(z, 4, axis=1)
            c = cont * sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            out.append(h)
    return np.stack(out), h, c


@pytest.mark.parametrize('case', json.loads(str(CARRY['index'])), ids=lambda case: case['name'])
def test_states_are_carried_on_as_in_genuine_caffe(make_net, case):
    net = make_net(case['prototxt'], caffe.TRAIN)
    values = lambda *key: CARRY['/'.join(map(str, (case['name'], *key)))]
    for j, blob in enumerate(net.params['L']):
        blob.data[...] = values('param', j)
    for k in range(case['forwards']):
        for name in net.inputs:
            net.blobs[name].reshape(*values(k, name).shape)
            net.blobs[name].data[...] = values(k, name)
        np.testing.assert_allclose(net.forward()['y'], values(k, 'y'), rtol=1e-5, atol=1e-6)
        if k % 2:
            recurrent = net.params['L'][2 + ('s' in net.inputs)]
            recurrent.diff[...] = 0
            net.blobs['y'].diff[...] = values(k, 'topdiff')
            net.backward()
            for found, name in ((net.blobs['x'], 'xdiff'), (recurrent, 'hdiff')):
                np.testing.assert_allclose(found.diff, values(k, name), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('kind', ['LSTM', 'RNN'])
def test_two_forwards_go_on_like_one_longer(make_net, kind):
    net = recurrent_net(make_net, kind)
    zero = np.zeros((2, 3))
    expected, h, c = by_loops(net, kind, zero, zero)
    np.testing.assert_allclose(net.forward()['y'], expected, rtol=1e-5, atol=1e-6)
    expected, _, _ = by_loops(net, kind, h, c)
    np.testing.assert_allclose(net.forward()['y'], expected, rtol=1e-5, atol=1e-6)
    net.blobs['cont'].data[0] = 0
    expected, _, _ = by_loops(net, kind, zero, zero)
    np.testing.assert_allclose(net.forward()['y'], expected, rtol=1e-5, atol=1e-6)


def test_backward_leaves_the_states_alone(make_net):
    net = recurrent_net(make_net)
    state = np.zeros((2, 2, 3))
    for _ in range(3):
        y, *state = by_loops(net, 'LSTM', *state)
        np.testing.assert_allclose(net.forward()['y'], y, rtol=1e-5, atol=1e-6)
        net.blobs['y'].diff[...] = 1
        net.backward()
        net.backward()


@pytest.mark.parametrize('kind, states', [('LSTM', ['h', 'c']), ('RNN', ['h'])])
@pytest.mark.parametrize('static', [False, True])
def test_exposed_states(make_net, kind, states, static):
    bottoms = {'s': (2, 3, 2)} if static else {}
    bottoms.update({f'{state}0': (1, 2, 3) for state in states})
    net = recurrent_net(make_net, kind, 3, 'expose_hidden: true', bottoms,
                        ['y', *(f'{state}T' for state in states)])
    net.blobs['cont'].data[2, 0] = 0
    begin = [net.blobs[name].data[0] for name in ('h0', 'c0') if name in net.blobs] + [None]
    s = net.blobs['s'].data.reshape(2, 6) if static else 0
    y, *end = by_loops(net, kind, *begin[:2], static=s)
    for _ in range(2):      # nothing is carried on besides
        net.forward()
        np.testing.assert_allclose(net.blobs['y'].data, y, rtol=1e-5, atol=1e-6)
        for state, value in zip(states, end):
            np.testing.assert_allclose(net.blobs[f'{state}T'].data, value[None],
                                       rtol=1e-5, atol=1e-6)
    # genuine Caffe passes no gradient through the states
    net.blobs['y'].diff[...] = 1
    net.backward()
    before = net.blobs['x'].diff.copy()
    assert before.any()
    for state in states:
        net.blobs[f'{state}T'].diff[...] = 5
    net.backward()
    np.testing.assert_array_equal(net.blobs['x'].diff, before)
    assert not net.blobs['h0'].diff.any()


def test_parameters_stand_in_caffes_order(make_net):
    shapes = lambda net: [blob.shape for blob in net.params['L']]
    static = {'s': (2, 7)}
    assert shapes(recurrent_net(make_net)) == [(12, 5), (12,), (12, 3)]
    assert shapes(recurrent_net(make_net, bottoms=static)) == [(12, 5), (12,), (12, 7), (12, 3)]
    assert shapes(recurrent_net(make_net, 'RNN', bottoms=static)) == [
        (3, 5), (3,), (3, 7), (3, 3), (3, 3), (3,)]


@pytest.mark.parametrize('kind', ['LSTM', 'RNN'])
def test_gradients(make_net, kind):
    net = recurrent_net(make_net, kind, 2, bottoms={'s': (2, 3)})
    net.blobs['cont'].data[:] = [[0, 1], [1, 1], [1, 0], [1, 1]]
    net.forward()       # so that the states that go on are not zero
    net.blobs['x'].data[...] = RNG.normal(size=(4, 2, 5))
    net.forward()
    check_gradients(net, 'L')


UNIT = """layer { name: "L" type: "LSTMUnit" bottom: "c" bottom: "g" bottom: "cont"
                  top: "C" top: "H" }"""


def unit_net(make_net, c=(1, 3, 2), gates=(1, 3, 8), cont=(1, 3)):
    net = make_net(inputs(c=c, g=gates, cont=cont) + UNIT)
    net.blobs['c'].data[...] = RNG.normal(size=c)
    net.blobs['g'].data[...] = RNG.normal(size=gates)
    net.blobs['cont'].data[...] = [[1, 0, 1]]
    return net


def test_lstm_unit(make_net):
    net = unit_net(make_net)
    net.forward()
    i, f, o, g = np.split(net.blobs['g'].data[0], 4, axis=1)
    c = np.array([[1], [0], [1]]) * sigmoid(f) * net.blobs['c'].data[0] + sigmoid(i) * np.tanh(g)
    np.testing.assert_allclose(net.blobs['C'].data, c[None], rtol=1e-5)
    np.testing.assert_allclose(net.blobs['H'].data, (sigmoid(o) * np.tanh(c))[None], rtol=1e-5)
    check_gradients(net, 'L')


@pytest.mark.parametrize('shapes', [
    {'c': (2, 3, 2)}, {'c': (1, 3, 2, 1)}, {'gates': (1, 3, 6)}, {'gates': (1, 2, 8)},
    {'cont': (3,)}, {'cont': (1, 3, 1)}])
def test_lstm_unit_of_shapes_that_do_not_fit(make_net, shapes):
    with pytest.raises(CaffeError, match='1 x N x D'):
        unit_net(make_net, **shapes)


@pytest.mark.parametrize('bottoms, options, message', [
    ({'x': (4, 2)}, '', 'x must be T x N'),
    ({'cont': (4, 2, 1)}, '', 'cont has the shape'), ({'cont': (2, 4)}, '', 'cont has the shape'),
    ({'s': (3, 5)}, '', 'x_static has the shape'), ({'s': (2,)}, '', 'x_static must be N x'),
    ({'s': (2, 1), 't': (2, 1)}, '', 'has 4 bottoms, but takes 2 to 3'),
    ({}, 'expose_hidden: true', 'has 2 bottoms, but takes 4 to 5'),
    ({'h': (1, 2, 3), 'c': (2, 3)}, 'expose_hidden: true', 'state has the shape')])
def test_bottoms_that_do_not_fit(make_net, bottoms, options, message):
    tops = ('y', 'hT', 'cT') if options else ('y',)
    with pytest.raises(CaffeError, match=message):
        recurrent_net(make_net, options=options, bottoms=bottoms, tops=tops)


def test_num_output_and_steps(make_net):
    with pytest.raises(CaffeError, match='num_output is missing'):
        recurrent_net(make_net, size=0)
    net = recurrent_net(make_net)
    for shape in ((3, 2, 5), (4, 2, 6), (4,)):
        net.blobs['x'].reshape(*shape)
        with pytest.raises(CaffeError, match='x has the shape'):
            net.forward()
