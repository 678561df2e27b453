"""Train a net with a solver prototxt.

    done = train('proto/triplet/train_resnet101_triplet_solver.prototxt',
                 weights=['caffemodel/model.caffemodel'], settings=['solver.max_iter=100'])
    done.finished, done.iteration
"""

import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import caffe
from caffe.errors import CaffeError
from caffe.proto import caffe_pb2
from caffe.solver import Solver
from caffe.solver_state import read_state
from google.protobuf import text_format

from deep_retrieval import paths, store
from deep_retrieval.model import stored_layers
from deep_retrieval.training.settings import (
    parse_setting,
    read_prototxt,
    set_field,
    set_in_layer,
)
from deep_retrieval.training.training_log import check_picture, plot
from deep_retrieval.training.trunk_cache import TrunkCache


class Training(NamedTuple):
    """The outcome of a training.

    finished : whether max_iter was reached
    iteration : number of iterations made
    snapshot : path of the last solverstate
    """

    finished: bool
    iteration: int
    snapshot: str


def train(solver_file: str, *, weights: Sequence[str] = (), snapshot: str | None = None,
          settings: Sequence[str] = (), cache_trunk: str | None = None,
          plot_file: str | None = None) -> Training:
    """Train a net with a solver prototxt.

    Solver and net, with `settings` applied, and the log are written beside the snapshots. If
    training fails before the first snapshot, all files are restored.

    Parameters
    ----------
    solver_file : path
    weights : caffemodels to start from; a later one overrides an earlier one
    snapshot : solverstate to resume from; the result is the same as that of an uninterrupted run
    settings : list of 'LAYER.FIELD=VALUE' or 'solver.FIELD=VALUE'
    cache_trunk : folder to cache the results of the frozen part of the net in, for each image
    plot_file : picture file to plot loss and learning rate to

    Returns
    -------
    Training
        After Ctrl-C, `finished` is False, and there is a snapshot.

    Raises
    ------
    ValueError, OSError, RuntimeError
        A file or setting is invalid. The one-line message names it.
    """
    if plot_file:
        check_picture(plot_file)    # before hours of training
    job = prepare(solver_file, settings)
    with undone_on_error(job.stem, [*job.messages, job.log, *([plot_file] if plot_file else ())]):
        for path, message in job.messages.items():
            store.write(path, text_format.MessageToString(message))
        with logging_to(job.log):
            with naming(job.originals):
                solver = make_solver(job.solver, weights, snapshot, cache_trunk)
            try:
                solver.solve()
            finally:
                if plot_file:
                    plot(job.log, plot_file)
    state = f'{solver.param.snapshot_prefix}_iter_{solver.iter}.solverstate'
    return Training(solver.iter >= solver.param.max_iter, solver.iter, state)


def base_folder(solver_file: str) -> str:
    """Return the folder that a solver's paths are relative to.

    This is the current folder, or the repository if the solver's net exists only there.
    """
    solver = read_prototxt(solver_file, caffe_pb2.SolverParameter())
    if not os.path.isfile(solver.net) and (paths.ROOT / solver.net).is_file():
        return str(paths.ROOT)
    return os.getcwd()


class Job(NamedTuple):
    """The files of a training.

    stem : snapshot_prefix, the prefix of their names
    solver, log : paths
    messages : path -> SolverParameter or NetParameter to write there
    originals : path -> the file that it was made from
    """

    stem: str
    solver: str
    log: str
    messages: dict
    originals: dict


def prepare(solver_file: str, settings: Sequence[str] = ()) -> Job:
    """Read solver and net, apply `settings`, and check that files can be written.

    Nothing is written.

    Raises
    ------
    ValueError, RuntimeError
        A file or setting is invalid. The one-line message names it.
    """
    solver = read_prototxt(solver_file, caffe_pb2.SolverParameter())
    changes = [parse_setting(setting) for setting in settings]
    for name, field, value in changes:
        if name == 'solver':
            set_field(solver, field, value, f'{solver_file} has')
    check_solver(solver_file, solver)
    net_file = solver.net
    net = read_prototxt(net_file, caffe_pb2.NetParameter())
    for name, field, value in changes:
        if name != 'solver':
            set_in_layer(net, name, field, value, net_file)
    stem = solver.snapshot_prefix
    files = f'{stem}_solver.prototxt', f'{stem}_net.prototxt'
    solver.net = files[1]
    return Job(stem, files[0], f'{stem}.log', dict(zip(files, (solver, net), strict=True)),
               dict(zip(files, (str(solver_file), net_file), strict=True)))


def check_solver(path: str, solver: caffe_pb2.SolverParameter) -> None:
    """Raise ValueError if a solver's net or the folder of its snapshots does not exist."""
    if not os.path.isfile(solver.net):
        raise ValueError(f'{path}: its net {solver.net!r} does not exist; its paths are relative '
                         'to the current folder')
    prefix = solver.snapshot_prefix
    folder = os.path.dirname(prefix) or '.'
    if not prefix or '\0' in prefix or not os.access(folder, os.W_OK):
        raise ValueError(f'{path}: cannot write snapshots to snapshot_prefix {prefix!r}; make the '
                         f'folder {folder!r}')


def make_solver(solver_file: str, weights: Sequence[str] = (), snapshot: str | None = None,
                cache: str | None = None) -> Solver:
    """Return a solver that starts from `weights`, or resumes from `snapshot`.

    Parameters
    ----------
    solver_file : path
    weights : caffemodels; a later one overrides an earlier one
    snapshot : path of a solverstate
    cache : folder to cache the results of the frozen trunk in, for each image

    Raises
    ------
    ValueError, RuntimeError, OSError
        A file is damaged or does not match, or two snapshots do not fit on the disk.
    """
    stored = {path: stored_layers(path) for path in weights}
    solver = open_solver(solver_file)
    check_disk(solver)
    for path, names in stored.items():
        caffe.log(f'Finetuning from {path}')
        if not names & set(solver.net.params):
            raise ValueError(f'{path}: has no layers of {solver.net.name}; does it belong to '
                             'another net?')
        with store.reading(path, 'a caffemodel'):
            solver.net.copy_from(path)
    fresh = set(solver.net.params).difference(*stored.values()) if stored else ()
    if fresh:
        names = ', '.join(name for name in solver.net.params if name in fresh)
        caffe.log(f'Not in the weights, so they start from their fillers: {names}')
    if snapshot:
        caffe.log(f'Resuming from {snapshot}')
        with store.reading(snapshot, 'a solver state'):
            read_state(snapshot)
        solver.resume(snapshot)
    if cache:
        solver.net.cache_trunk(TrunkCache(cache))
    return solver


def open_solver(solver_file: str) -> Solver:
    """Return the solver of a prototxt; a ValueError in a Python layer's `setup` names the net."""
    try:
        return caffe.get_solver(solver_file)
    except ValueError as error:
        net = read_prototxt(solver_file, caffe_pb2.SolverParameter()).net
        raise CaffeError(f'{net}: {error}') from error


def check_disk(solver: Solver) -> None:
    """Raise ValueError unless two snapshots fit on the disk."""
    parameters = 4 * sum(blob.count for blobs in solver.net.params.values() for blob in blobs)
    folder = os.path.dirname(solver.param.snapshot_prefix) or '.'
    free, needed = shutil.disk_usage(folder).free, 2 * 2 * parameters
    if free < needed:
        raise ValueError(f'{folder}: {free / 1e6:.0f} MB are free, but two snapshots need '
                         f'{needed / 1e6:.0f} MB')


@contextmanager
def undone_on_error(stem: str, files: Sequence[str]) -> Iterator[None]:
    """Restore (or remove) `files` if the block fails before it has written a snapshot.

    stem : snapshot_prefix
    """
    before, snapshots = {}, _snapshots(stem)
    for path in files:
        before[path] = None
        with suppress(FileNotFoundError), open(path, 'rb') as file:
            before[path] = file.read()
    try:
        yield
    except BaseException:
        if _snapshots(stem) == snapshots:
            for path, data in before.items():
                if data is not None:
                    store.write(path, data)
                elif os.path.exists(path):
                    os.unlink(path)
        raise


def _snapshots(stem):
    """Return the solver states with this prefix, and the time when each was written."""
    return {path: os.stat(path).st_mtime_ns
            for path in glob.glob(f'{glob.escape(stem)}_iter_*.solverstate*')}


@contextmanager
def naming(originals: dict[str, str]) -> Iterator[None]:
    """Make errors of the engine name the user's files instead of those written here.

    originals : path of a file written here -> path of the user's file
    """
    try:
        yield
    except CaffeError as error:
        text = str(error)
        for path, original in originals.items():
            text = text.replace(f'{path}:', f'{original}:')
        raise CaffeError(text) from error


@contextmanager
def logging_to(path: str) -> Iterator[None]:
    """Copy the engine's log to a file while the block runs."""
    caffe.copy_log(path)
    try:
        yield
    finally:
        caffe.copy_log(None)
