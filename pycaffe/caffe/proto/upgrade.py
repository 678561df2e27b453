"""Reading nets and solvers, and bringing what older versions of Caffe wrote up to date."""

import os

from google.protobuf import text_format

from ..errors import CaffeError
from ..files import naming, read_message
from . import caffe_pb2
from .upgrade_v0 import upgrade_v0
from .upgrade_v1 import move_transformations, upgrade_v1


def read_net(path):
    """The NetParameter in the prototxt `path`, upgraded.

    Raises CaffeError that names file, line and column where the text is no net, and file, layer
    and field where a net of an older Caffe cannot be upgraded.
    """
    return _upgraded(path, read_prototxt(path, caffe_pb2.NetParameter()))


def read_binary_net(path):
    """The NetParameter in the binary file `path`, weights and all, upgraded."""
    return _upgraded(path, read_message(path, caffe_pb2.NetParameter(), 'binary net'))


def read_solver(path):
    """The SolverParameter in the prototxt `path`, upgraded, with a file for `snapshot_prefix`.

    Without a prefix the snapshots lie beside the solver under its name, without its suffix; where
    the prefix is a folder they lie in that, under the solver's name. Raises CaffeError as above.
    """
    solver = read_prototxt(path, caffe_pb2.SolverParameter())
    with naming(path):
        upgrade_solver(solver)
    stem = os.path.splitext(path)[0]
    if not solver.HasField('snapshot_prefix'):
        solver.snapshot_prefix = stem
    elif os.path.isdir(solver.snapshot_prefix):
        solver.snapshot_prefix = os.path.join(solver.snapshot_prefix, os.path.basename(stem))
    return solver


def read_prototxt(path, message):
    """Parse the text file `path` into `message` and return it; CaffeError as above."""
    try:
        with open(path, encoding='utf-8') as file:
            return text_format.Parse(file.read(), message)
    except OSError as error:
        raise CaffeError(f'{path}: {error.strerror}') from None
    except UnicodeDecodeError:
        raise CaffeError(f'{path}: is not a text file') from None
    except text_format.ParseError as error:
        line, column = error.GetLine(), error.GetColumn()
        place = f'{path}:{line}:{column}' if line else f'{path}'
        # the error's own text begins with the place, as 'line:column : '
        message = str(error).split(' : ', 1)[-1].replace('\n', ' ')
        raise CaffeError(f'{place}: {message}') from None


def upgrade_net(net):
    """Bring a NetParameter up to date, in place."""
    if net.layers and net.layer:
        raise CaffeError('holds `layers` of an older Caffe and `layer` as well; '
                         'write all of them as `layer`')
    if any(layer.HasField('layer') for layer in net.layers):
        upgrade_v0(net)
    move_transformations(net)
    upgrade_v1(net)
    upgrade_input(net)
    upgrade_batch_norm(net)


def upgrade_input(net):
    """Turn the fields `input`, `input_shape` and `input_dim` into one Input layer in front.

    Without shape and dim the file holds but weights, and `input` goes.
    """
    if net.input and (net.input_shape or net.input_dim):
        shapes = list(net.input_shape) or [
            caffe_pb2.BlobShape(dim=net.input_dim[i:i + 4])
            for i in range(0, len(net.input_dim) // 4 * 4, 4)]
        if len(shapes) < len(net.input):
            raise CaffeError(f'has {len(net.input)} `input` and shapes for {len(shapes)}; '
                             'give each one `input_shape` or four `input_dim`')
        layer = caffe_pb2.LayerParameter(name='input', type='Input', top=net.input)
        layer.input_param.shape.extend(shapes[:len(net.input)])
        others = list(net.layer)
        del net.layer[:]
        net.layer.extend([layer, *others])
    if net.input:
        for field in ('input', 'input_shape', 'input_dim'):
            net.ClearField(field)


def upgrade_batch_norm(net):
    """Keep the solver from the three parameters of BatchNorm, which are statistics."""
    for layer in net.layer:
        if layer.type == 'BatchNorm' and len(layer.param) == 3:
            for spec in layer.param:
                spec.lr_mult = spec.decay_mult = 0


def upgrade_solver(solver):
    """Turn a SolverParameter's `solver_type`, a number, into `type`, in place."""
    if not solver.HasField('solver_type'):
        return
    if solver.HasField('type'):
        raise CaffeError('has both `type` and the older `solver_type`; keep `type`')
    solver.type = ('SGD', 'Nesterov', 'AdaGrad', 'RMSProp', 'AdaDelta', 'Adam')[solver.solver_type]
    solver.ClearField('solver_type')


def _upgraded(path, net):
    with naming(path):
        upgrade_net(net)
    return net
