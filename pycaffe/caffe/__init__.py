"""caffe: pycaffe's interface and Caffe's numerics on PyTorch."""

from . import net_spec
from .common import (TEST, TRAIN, set_device, set_mode_cpu, set_mode_gpu,
                     set_random_seed)
from .errors import CaffeError
from .layer import Layer, layer_type_list
from .net import Net
from .net_spec import NetSpec, layers, params, to_proto
from . import layer_types   # registers the built-in types

__version__ = '1.0.0'
