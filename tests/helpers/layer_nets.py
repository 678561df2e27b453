"""Nets of one layer over inputs that hold random numbers."""

import caffe
import numpy as np
import pytest


def text(kind, shapes, tops=('y',), param='', force=True):
    """A net of one Input per shape (x0, x1...) and the layer `layer` over them."""
    inputs = ''.join(
        f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ '
        + ' '.join(f'dim: {dim}' for dim in shape) + ' } } }\n' for i, shape in enumerate(shapes))
    blobs = ''.join(f'bottom: "x{i}" ' for i in range(len(shapes)))
    blobs += ''.join(f'top: "{top}" ' for top in tops)
    return (f'force_backward: {str(force).lower()}\n' + inputs
            + f'layer {{ name: "layer" type: "{kind}" {blobs} {param} }}\n')


def layer_net(make_net, *args, more='', **kwargs):
    """The net of `text(*args, **kwargs)` and `more`, with random numbers in its inputs."""
    net = make_net(text(*args, **kwargs) + more)
    rng = np.random.RandomState(0)
    for name in net.inputs:
        net.blobs[name].data[...] = rng.randn(*net.blobs[name].shape)
    return net


def backward(net, **diffs):
    """Backward from these diffs; returns those of the inputs."""
    for name, diff in diffs.items():
        net.blobs[name].diff[...] = diff
    net.backward()
    return [net.blobs[name].diff.copy() for name in net.inputs]


def fails(make, message, *args, **kwargs):
    with pytest.raises(caffe.CaffeError, match=message):
        make(*args, **kwargs)
