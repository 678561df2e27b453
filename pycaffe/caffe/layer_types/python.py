"""Python: layers that the user writes."""

import importlib

from ..errors import CaffeError
from ..layer import Layer, register


@register
class Python(Layer):
    """The user's layer: class `layer` of module `module`, with its `param_str`."""

    def __new__(cls, layer_param, phase):
        layer = find_class(layer_param)(layer_param, phase)
        # the second name is the one of older versions of Caffe
        layer.param_str = layer.param_str_ = layer_param.python_param.param_str
        return layer

    @staticmethod
    def parameters(layer_param):
        try:
            return find_class(layer_param).parameters(layer_param)
        except CaffeError:      # its module is not installed here
            return []


def find_class(layer_param):
    """Import the class that a Python layer names.

    Raises CaffeError if there is no such module or class, or if the class is not a caffe.Layer.
    Errors raised inside the module are not caught.
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
    return cls
