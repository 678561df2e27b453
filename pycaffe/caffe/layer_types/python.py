"""Layers that the user writes in Python."""

import importlib

from ..errors import CaffeError
from ..layer import TYPES, Layer


def python_layer(layer_param, phase):
    """Make the user's layer: class `layer` of module `module`, with its `param_str`.

    Raises CaffeError where there is no such module or class, or the class is no caffe.Layer; an
    error inside the module is the user's own and comes through.
    """
    param = layer_param.python_param
    try:
        module = importlib.import_module(param.module)
    except ModuleNotFoundError as error:
        if error.name != param.module.split('.')[0] and error.name != param.module:
            raise
        raise CaffeError(f'there is no Python module {param.module!r}; '
                         'is its folder on PYTHONPATH?') from None
    cls = getattr(module, param.layer, None)
    if not (isinstance(cls, type) and issubclass(cls, Layer)):
        raise CaffeError(f'{module.__file__} has no caffe.Layer named {param.layer!r}')
    layer = cls(layer_param, phase)
    layer.param_str = layer.param_str_ = param.param_str    # the second name is older Caffe's
    return layer


TYPES['Python'] = python_layer
