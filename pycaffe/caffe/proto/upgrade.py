"""Read nets and solvers, and upgrade those written for older versions of Caffe."""

import os

from google.protobuf import text_format

from ..errors import CaffeError
from ..files import naming, read_message
from . import caffe_pb2
from .upgrade_v0 import upgrade_v0
from .upgrade_v1 import move_transformations, upgrade_v1


def read_net(path):
    """Read the prototxt `path` as an upgraded NetParameter.

    Raises CaffeError naming file, line and column if the text is not a net, and naming file, layer
    and field if a net of an older Caffe cannot be upgraded.
    """
    return _upgraded(path, read_prototxt(path, caffe_pb2.NetParameter()))


def read_binary_net(path):
    """Read the binary file `path`, including weights, as an upgraded NetParameter."""
    return _upgraded(path, read_message(path, caffe_pb2.NetParameter(), 'binary net'))


def read_solver(path):
    """Read the prototxt `path` as an upgraded SolverParameter with a complete `snapshot_prefix`.

    Snapshots are named after the solver file, without its suffix, if the prefix is missing or a
    folder: beside the solver, or in that folder. Raises CaffeError as `read_net` does.
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
    """Parse the text file `path` into `message` and return it; CaffeError as in `read_net`."""
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
        # the error's own text begins with its place, 'line:column : '
        message = str(error).split(' : ', 1)[-1].replace('\n', ' ')
        raise CaffeError(f'{place}: {message}') from None


def upgrade_net(net):
    """Upgrade a NetParameter in place."""
    if net.layers and net.layer:
        raise CaffeError('has both `layer` and the older `layers`; write all of them as `layer`')
    if any(layer.HasField('layer') for layer in net.layers):
        upgrade_v0(net)
    move_transformations(net)
    upgrade_v1(net)
    upgrade_input(net)
    upgrade_batch_norm(net)


def upgrade_input(net):
    """Replace the fields `input`, `input_shape` and `input_dim` by an Input layer at the front.

    A file without `input_shape` and `input_dim` has only weights; then `input` is dropped.
    """
    if net.input and (net.input_shape or net.input_dim):
        shapes = list(net.input_shape) or [
            caffe_pb2.BlobShape(dim=net.input_dim[i:i + 4])
            for i in range(0, len(net.input_dim) // 4 * 4, 4)]
        if len(shapes) < len(net.input):
            raise CaffeError(f'has {len(net.input)} `input`, but shapes for {len(shapes)}; '
                             'give each one an `input_shape` or four `input_dim`')
        layer = caffe_pb2.LayerParameter(name='input', type='Input', top=net.input)
        layer.input_param.shape.extend(shapes[:len(net.input)])
        others = list(net.layer)
        del net.layer[:]
        net.layer.extend([layer, *others])
    if net.input:
        for field in ('input', 'input_shape', 'input_dim'):
            net.ClearField(field)


def upgrade_batch_norm(net):
    """Exclude the three parameters of BatchNorm, which are statistics, from learning."""
    for layer in net.layer:
        if layer.type == 'BatchNorm' and len(layer.param) == 3:
            for spec in layer.param:
                spec.lr_mult = spec.decay_mult = 0


def upgrade_solver(solver):
    """Replace the `solver_type` (a number) of a SolverParameter by `type`, in place."""
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
