"""caffe: pycaffe's interface and Caffe's numerics on PyTorch."""

from . import (
                     coord_map,
                     io,
                     layer_types,  # registers the built-in types
                     net_spec,
)
from .classifier import Classifier
from .common import (
                     TEST,
                     TRAIN,
                     keep_freed_memory,
                     set_device,
                     set_mode_cpu,
                     set_mode_gpu,
                     set_multiprocess,
                     set_random_seed,
                     set_solver_count,
                     set_solver_rank,
                     solver_count,
                     solver_rank,
)
from .detector import Detector
from .errors import CaffeError
from .layer import Layer, layer_type_list
from .log import copy_log, init_log, log
from .net import Net
from .net_spec import NetSpec, layers, params, to_proto
from .parallel import NCCL, has_nccl
from .sgd_solvers import (
                     AdaDeltaSolver,
                     AdaGradSolver,
                     AdamSolver,
                     NesterovSolver,
                     RMSPropSolver,
                     SGDSolver,
                     get_solver,
)
from .timer import Timer

__version__ = '1.0.0'
