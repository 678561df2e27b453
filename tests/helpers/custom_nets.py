"""Nets of the layers of custom_layers."""


def layer(name, bottoms, tops, param_str='{}', more=''):
    """A layer of custom_layers named `name`, `bottoms` and `tops` apart by spaces."""
    return (f'layer {{ name: "{name}" type: "Python" '
            + ''.join(f'bottom: "{blob}" ' for blob in bottoms.split())
            + ''.join(f'top: "{blob}" ' for blob in tops.split())
            + f'{more} python_param {{ module: "custom_layers" layer: "{name}" '
              f'param_str: "{param_str}" }} }}\n')


def inputs(**shapes):
    return ''.join(f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
                   + ' '.join(f'dim: {dim}' for dim in shape) + ' } } }\n'
                   for name, shape in shapes.items())


class Indexed(tuple):
    """Blobs as genuine pycaffe hands them to a layer: by index, but not in a loop."""

    __iter__ = None
