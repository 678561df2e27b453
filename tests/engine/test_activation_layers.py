"""Activations; recorded cases of each lie in data/genuine/cases_activation.npz."""

import caffe
import numpy as np
import pytest
from conftest import check_gradients

TEXT = '''
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 2 } } }
layer { name: "layer" type: "%s" bottom: "x" top: "y" %s }
'''
X = np.linspace(-2.5, 3.1, 12).reshape(2, 3, 2)     # no kink lies on it
SLOPES = np.array([0.5, -0.25, 2]).reshape(3, 1)


def softplus(x):
    return np.log(1 + np.exp(x))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


FORMULAS = [
    ('AbsVal', '', np.abs),
    ('BNLL', '', softplus),
    ('Clip', 'clip_param { min: -0.6 max: 1.1 }', lambda x: np.minimum(np.maximum(x, -0.6), 1.1)),
    ('ELU', '', lambda x: np.where(x > 0, x, np.exp(x) - 1)),
    ('ELU', 'elu_param { alpha: 0.3 }', lambda x: np.where(x > 0, x, 0.3 * (np.exp(x) - 1))),
    ('Exp', '', np.exp),
    ('Exp', 'exp_param { base: 2 scale: 0.5 shift: 1.5 }', lambda x: 2 ** (1.5 + 0.5 * x)),
    ('Log', 'log_param { shift: 3 }', lambda x: np.log(3 + x)),
    ('Log', 'log_param { base: 10 scale: -1 shift: 4 }', lambda x: np.log10(4 - x)),
    ('Power', '', lambda x: x),
    ('Power', 'power_param { power: 3 scale: 0.5 shift: -1 }', lambda x: (0.5 * x - 1) ** 3),
    ('Power', 'power_param { power: -0.5 shift: 3 }', lambda x: (x + 3) ** -0.5),
    ('PReLU', 'prelu_param { filler { value: -2 } }', lambda x: np.where(x > 0, x, -2 * x)),
    ('ReLU', '', lambda x: np.maximum(x, 0)),
    ('ReLU', 'relu_param { negative_slope: 0.2 }', lambda x: np.where(x > 0, x, 0.2 * x)),
    ('Sigmoid', '', sigmoid),
    ('Swish', '', lambda x: x * sigmoid(x)),
    ('Swish', 'swish_param { beta: 0.5 }', lambda x: x * sigmoid(0.5 * x)),
    ('TanH', '', np.tanh),
    ('Threshold', 'threshold_param { threshold: 0.75 }', lambda x: x > 0.75),
]


def run(net, x, diff=None):
    """Forward `x`; with `diff` at the top also backward. Returns the top, or the bottom's diff."""
    net.blobs['x'].data[...] = x
    net.forward()
    if diff is None:
        return net.blobs['y'].data
    net.blobs['y'].diff[...] = diff
    net.backward()
    return net.blobs['x'].diff


@pytest.mark.parametrize('kind, param, formula', FORMULAS)
def test_formula(make_net, kind, param, formula):
    net = make_net(TEXT % (kind, param))
    np.testing.assert_allclose(run(net, X), formula(X), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize('kind, param', [case[:2] for case in FORMULAS if case[0] != 'Threshold'])
def test_gradients(make_net, kind, param):
    net = make_net(TEXT % (kind, param))
    net.blobs['x'].data[...] = X
    check_gradients(net, 'layer')


@pytest.mark.parametrize('kind, param, x, slope', [
    ('AbsVal', '', 0, 0),
    ('ReLU', '', 0, 0),
    ('ReLU', 'relu_param { negative_slope: 0.5 }', 0, 0.5),
    ('PReLU', '', 0, 0.25),
    ('ELU', 'elu_param { alpha: 3 }', 0, 3),
    ('Clip', 'clip_param { min: -1 max: 2 }', -1, 1),      # the bounds are inside
    ('Clip', 'clip_param { min: -1 max: 2 }', 2, 1),
    ('Clip', 'clip_param { min: -1 max: 2 }', 2.5, 0),
    ('Power', 'power_param { power: 0 }', 0, 0),
    ('Power', 'power_param { power: -1 scale: 0 }', 0, 0),  # y is inf
])
def test_gradient_at_the_kink(make_net, kind, param, x, slope):
    net = make_net(TEXT % (kind, param))
    np.testing.assert_array_equal(run(net, x, 2), np.full(X.shape, 2 * slope))


def test_power_of_a_negative_zero(make_net):
    net = make_net(TEXT % ('Power', 'power_param { power: -1 scale: -1 }'))
    assert (run(net, 0.) == -np.inf).all()


@pytest.mark.parametrize('param', ['', 'prelu_param { channel_shared: true }'])
def test_prelu_starts_at_a_quarter(make_net, param):
    net = make_net(TEXT % ('PReLU', param))
    assert net.params['layer'][0].shape == (() if param else (3,))
    np.testing.assert_allclose(run(net, X), np.where(X > 0, X, X / 4), rtol=1e-6)


def test_prelu_has_a_slope_for_each_channel(make_net):
    net = make_net(TEXT % ('PReLU', ''))
    net.params['layer'][0].data[...] = SLOPES.ravel()
    np.testing.assert_allclose(run(net, X), np.where(X > 0, X, SLOPES * X), rtol=1e-6)
    np.testing.assert_allclose(run(net, X, 3), np.where(X > 0, 3, 3 * SLOPES + 0 * X), rtol=1e-6)
    np.testing.assert_allclose(net.params['layer'][0].diff, 3 * np.minimum(X, 0).sum((0, 2)),
                               rtol=1e-6)


def test_in_place_gradient_is_that_of_the_layer(make_net):
    text = TEXT % ('Power', 'power_param { scale: 2 }')
    text += 'layer { name: "a" type: "%s" bottom: "y" top: "y" }'
    for kind, slope in [('TanH', 2 / np.cosh(2 * X) ** 2), ('ReLU', 2 * (X > 0)),
                        ('BNLL', 2 * sigmoid(2 * X))]:
        np.testing.assert_allclose(run(make_net(text % kind), X, 1), slope, rtol=1e-4, atol=1e-6)


def test_powers_top_is_not_its_bottom(make_net):
    net = make_net(TEXT % ('Power', ''))
    run(net, X)
    net.blobs['y'].data[...] = 0
    np.testing.assert_allclose(net.blobs['x'].data, X, rtol=1e-6)


@pytest.mark.parametrize('kind, param, message', [
    ('Log', 'log_param { base: 1 }', 'logarithm'),
    ('Log', 'log_param { base: 0 }', 'base is 0'),
    ('Exp', 'exp_param { base: -2 }', 'base is -2'),
])
def test_bad_parameters(make_net, kind, param, message):
    with pytest.raises(caffe.CaffeError, match=message):
        make_net(TEXT % (kind, param))


def test_prelu_needs_its_channels(make_net):
    with pytest.raises(caffe.CaffeError, match='channel axis'):
        make_net((TEXT % ('PReLU', '')).replace('dim: 3 dim: 2', ''))
    net = make_net(TEXT % ('PReLU', ''))
    net.blobs['x'].reshape(2, 4, 2)
    with pytest.raises(caffe.CaffeError, match='for 3 channels'):
        net.forward()
