"""Training: settings put into prototxts, a solver made ready and run, its log drawn.

    done = train('proto/triplet/train_resnet101_triplet_solver.prototxt',
                 weights=['caffemodel/model.caffemodel'], settings=['solver.max_iter=100'])
    done.finished, done.iteration
"""

import os
import re
import shutil
from contextlib import contextmanager, suppress
from typing import NamedTuple

import caffe
import yaml
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from deep_retrieval import paths, store
from deep_retrieval.model import check_weights_file, stored_layers
from deep_retrieval.optional import need
from deep_retrieval.training.trunk_cache import TrunkCache


class Training(NamedTuple):
    """How a training ended: whether at max_iter, at which iteration, and its last solverstate."""

    finished: bool
    iteration: int
    snapshot: str


def train(solver_file, *, weights=(), snapshot=None, settings=(), cache_trunk=None,
          plot_file=None) -> Training:
    """Train a net as a solver prototxt says.

    Solver and net, with `settings` put in, and the log are written beside the snapshots. If the
    training cannot begin, no file is left or changed.

    Parameters
    ----------
    solver_file : path
    weights : caffemodels to start from; a later one overrides an earlier one
    snapshot : solverstate to resume from, to the same bytes as an unbroken run
    settings : list of 'LAYER.FIELD=VALUE' or 'solver.FIELD=VALUE'
    cache_trunk : folder that keeps the results of the frozen part of the net for each image
    plot_file : picture of the log's loss and learning rate to draw

    Raises
    ------
    ValueError, OSError, RuntimeError
        In one line, which names the file or the setting.
    """
    for path in weights:
        check_weights_file(path)
    with undone_on_error() as keep:
        ready, log_file = prepare(solver_file, settings, keep)
        keep(log_file)
        with logging_to(log_file):
            solver = make_solver(ready, weights, snapshot, cache_trunk)
    with logging_to(log_file):
        try:
            solver.solve()
        finally:
            if plot_file:
                plot(log_file, plot_file)
    state = f'{solver.param.snapshot_prefix}_iter_{solver.iter}.solverstate'
    return Training(solver.iter >= solver.param.max_iter, solver.iter, state)


@contextmanager
def undone_on_error():
    """Yield a function that is told of files before they are written; an error restores them."""
    before = {}

    def keep(path):
        if path not in before:
            before[path] = None
            with suppress(FileNotFoundError), open(path, 'rb') as file:
                before[path] = file.read()

    try:
        yield keep
    except BaseException:
        for path, data in before.items():
            if data is not None:
                store.write(path, data)
            elif os.path.exists(path):
                os.unlink(path)
        raise


def base_folder(solver_file) -> str:
    """Return the folder that a solver's relative paths belong to.

    That is the current folder, or the repository if the solver's net is only found from there.
    """
    solver = read_text(solver_file, caffe_pb2.SolverParameter())
    if not os.path.isfile(solver.net) and (paths.ROOT / solver.net).is_file():
        return str(paths.ROOT)
    return os.getcwd()


def prepare(solver_file, settings, keep=lambda path: None):
    """Write solver and net, with `settings` put in, beside the snapshots.

    settings : list of 'LAYER.FIELD=VALUE' or 'solver.FIELD=VALUE'
    keep : called with the path of each file before it is written
    Returns the paths of the written solver and of the log. Raises ValueError or OSError in one
    line.
    """
    solver = read_text(solver_file, caffe_pb2.SolverParameter())
    changes = [parse_setting(setting) for setting in settings]
    for name, field, value in changes:
        if name == 'solver':
            set_field(solver, field, value, f'{solver_file} has')
    check_solver(solver_file, solver)
    net = read_text(solver.net, caffe_pb2.NetParameter())
    for name, field, value in changes:
        if name != 'solver':
            set_in_layer(net, name, field, value, solver.net)
    stem = solver.snapshot_prefix
    solver.net = f'{stem}_net.prototxt'
    for path, message in ((solver.net, net), (f'{stem}_solver.prototxt', solver)):
        keep(path)
        store.write(path, text_format.MessageToString(message))
    return f'{stem}_solver.prototxt', f'{stem}.log'


def check_solver(path, solver):
    """Raise where a solver lacks what would end the training only later."""
    if not os.path.isfile(solver.net):
        raise ValueError(f'{path}: its net {solver.net!r} does not exist; its paths are relative '
                         'to the current folder')
    folder = os.path.dirname(solver.snapshot_prefix) or '.'
    if not solver.snapshot_prefix or not os.access(folder, os.W_OK):
        raise ValueError(f'{path}: cannot write snapshots to snapshot_prefix '
                         f'{solver.snapshot_prefix!r}; make the folder {folder!r}')


def read_text(path, message):
    """Parse the text file `path` into `message`; ValueError that names file and line."""
    try:
        with open(path, encoding='utf-8') as file:
            return text_format.Parse(file.read(), message)
    except UnicodeDecodeError:
        raise ValueError(f'{path}: is not a text file') from None
    except text_format.ParseError as error:
        raise ValueError(f'{path}:{error}') from None


def parse_setting(setting):
    """'data.batch_size=4' -> ('data', 'batch_size', '4'); a layer's name may hold dots."""
    match = re.fullmatch(r'(.+)\.(\w+)=(.*)', setting)
    if not match:
        raise ValueError(f'--set {setting}: is not of the form NAME.FIELD=VALUE')
    return match.groups()


def set_in_layer(net, name, field, value, path):
    """Set `field` of the layers `name`: of their *_param messages, or of their param_str."""
    layers = [layer for layer in net.layer if layer.name == name]
    if not layers:
        raise ValueError(f'--set {name}.{field}: {path} has no layer {name!r}')
    for layer in layers:
        if layer.type == 'Python':
            values = yaml.safe_load(layer.python_param.param_str) or {}
            values[field] = yaml.safe_load(value)
            layer.python_param.param_str = str(values)
            continue
        owners = [part for descriptor, part in layer.ListFields()
                  if descriptor.name.endswith('_param') and field in part.DESCRIPTOR.fields_by_name]
        if not owners:
            raise ValueError(f'--set {name}.{field}: the layer has no {field!r}')
        set_field(owners[0], field, value, f'layer {name!r} has')


def set_field(message, field, value, owner):
    """Set a field from its text, with or without quotes."""
    if field not in message.DESCRIPTOR.fields_by_name:
        raise ValueError(f'--set {field}: {owner} no field {field!r}')
    message.ClearField(field)
    quoted = '"' + value.replace('\\', '\\\\').replace('"', '\\"') + '"'
    for text in (value, quoted):
        try:
            text_format.Merge(f'{field}: {text}', message)
            return
        except text_format.ParseError:
            continue
    raise ValueError(f'--set {field}={value}: is no value for it')


def make_solver(solver_file, weights=(), snapshot=None, cache=None):
    """Return a solver that starts from `weights`, or resumes from `snapshot`.

    cache : folder that keeps the results of the frozen trunk for each image
    """
    solver = caffe.get_solver(solver_file)
    check_disk(solver)
    found = set()
    for path in weights:
        caffe.log(f'Finetuning from {path}')
        names = stored_layers(path)
        if not names & set(solver.net.params):
            raise ValueError(f'{path}: has no layer of {solver.net.name}; is it of another net?')
        found |= names
        solver.net.copy_from(path)
    if weights:
        fresh = [name for name in solver.net.params if name not in found]
        if fresh:
            caffe.log(f'Not in the weights, so they start from their fillers: {", ".join(fresh)}')
    if cache:
        solver.net.cache_trunk(TrunkCache(cache))
    if snapshot:
        caffe.log(f'Resuming from {snapshot}')
        solver.resume(snapshot)
    return solver


def check_disk(solver):
    """Raise where not even two snapshots fit on the disk."""
    parameters = 4 * sum(blob.count for blobs in solver.net.params.values() for blob in blobs)
    folder = os.path.dirname(solver.param.snapshot_prefix) or '.'
    free, needed = shutil.disk_usage(folder).free, 2 * 2 * parameters
    if free < needed:
        raise ValueError(f'{folder}: {free / 1e6:.0f} MB are free, two snapshots take '
                         f'{needed / 1e6:.0f} MB')


@contextmanager
def logging_to(path):
    """Have the log copied to the file `path`."""
    caffe.copy_log(path)
    try:
        yield
    finally:
        caffe.copy_log(None)


def read_log(path):
    """The (iteration, loss) and (iteration, learning rate) pairs of a log of Caffe's."""
    with open(path, encoding='utf-8', errors='replace') as file:
        text = file.read()
    number = r'([-+.\deE]+|nan|inf)'
    loss = re.findall(rf'Iteration (\d+)(?: \([^)]*\))?, loss = {number}', text)
    rate = re.findall(rf'Iteration (\d+), lr = {number}', text)
    return tuple([(int(i), float(value)) for i, value in pairs] for pairs in (loss, rate))


def plot(log_file, picture):
    """Draw loss and learning rate of a log over the iterations."""
    Figure = need('matplotlib.figure', 'plots').Figure      # needs no screen, unlike pyplot
    loss, rate = read_log(log_file)
    if not loss:
        caffe.log(f'{log_file} holds no loss yet, so {picture} is not drawn')
        return
    figure = Figure((8, 4.5), layout='constrained')
    axes = figure.subplots()
    axes.plot(*zip(*loss), color='tab:blue', label='loss')
    axes.set(xlabel='iteration', ylabel='loss', ylim=(0, None))
    lines = axes.get_lines()
    if rate:
        right = axes.twinx()
        right.plot(*zip(*rate), color='tab:orange', drawstyle='steps-post', label='learning rate')
        right.set(ylabel='learning rate', ylim=(0, None))
        lines = [*lines, *right.get_lines()]
    axes.legend(handles=lines, loc='upper right')
    store.write(picture, lambda file: figure.savefig(
        file, format=os.path.splitext(picture)[1][1:] or 'png', dpi=120))
