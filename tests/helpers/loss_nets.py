"""Nets of one loss, whose inputs hold given arrays."""

import numpy as np


def inputs(**shapes):
    """Input layers of these names and shapes, as text."""
    return 'force_backward: true ' + ''.join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        f'{" ".join(f"dim: {dim}" for dim in shape)} }} }} }}\n' for name, shape in shapes.items())


def loss_net(make_net, kind, options='', tops=('y',), **arrays):
    """A net of one loss `L` over the arrays, in their order, which lie in its inputs."""
    arrays = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    ends = ' '.join([f'bottom: "{name}"' for name in arrays] + [f'top: "{name}"' for name in tops])
    net = make_net(inputs(**{name: array.shape for name, array in arrays.items()})
                   + f'layer {{ name: "L" type: "{kind}" {ends} {options} }}')
    for name, array in arrays.items():
        net.blobs[name].data[...] = array
    return net


def run(net):
    """The loss after forward and backward."""
    loss = float(net.forward()['y'])
    net.backward()
    return loss
