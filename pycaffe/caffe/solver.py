"""Solver: trains, tests and snapshots a net according to a solver prototxt (solver.cpp)."""

import math
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
from tqdm import tqdm

from . import common
from .errors import CaffeError
from .files import naming
from .log import WARNING, log
from .net import Net
from .proto import caffe_pb2
from .proto.upgrade import read_net, read_solver, upgrade_net
from .solver_state import find_model, read_state, write_state

# effect of a signal during `solve` -> name of a method
SIGNAL_EFFECTS = {'stop': 'ask_to_stop', 'snapshot': 'ask_for_snapshot', 'none': None}


class Solver:
    """The base of all solvers; `apply_update` of a subclass changes the parameters.

    `Solver(solver_file)` reads a solver prototxt; `level` and `stages` are added to its
    train_state. `net` is the training net, `test_nets` the list of test nets, `iter` the number of
    updates made, `param` the SolverParameter.
    """

    def __init__(self, solver_file, level=0, stages=()):
        self._file = os.fspath(solver_file)
        self.param = read_solver(self._file)
        if level:
            self.param.train_state.level = level
        self.param.train_state.stage.extend(stages)
        self.iter = 0
        self._current_step = 0
        self._callbacks = []
        self._stop = self._snapshot_asked = False       # requested by a signal
        self._said_nan = False
        self._bar = None
        self._losses, self._smoothed_loss = [], 0.0
        self._timer, self._displayed = time.monotonic(), 0
        with naming(self._file):
            self._check()
            if self.param.random_seed >= 0:
                common.set_random_seed(self.param.random_seed + common.solver_rank(),
                                       self.param.random_seed)
            self._make_nets()

    def _check(self):
        param = self.param
        if param.iter_size < 1 or param.average_loss < 1:
            raise CaffeError('iter_size and average_loss must be positive')
        if len(param.test_iter) and not param.test_interval:
            raise CaffeError('test_iter needs a test_interval')
        if param.snapshot and common.solver_rank() == 0:
            _check_folder(param.snapshot_prefix)

    def _make_nets(self):
        param = self.param
        sources = [field for field in ('net', 'net_param', 'train_net', 'train_net_param')
                   if param.HasField(field)]
        if len(sources) != 1:
            raise CaffeError('needs exactly one of net, net_param, train_net and train_net_param, '
                             f'not {len(sources)}')
        self.net = self._make_net(getattr(param, sources[0]), caffe_pb2.TRAIN, param.train_state)
        tests = [*param.test_net_param, *param.test_net]
        generic = [getattr(param, field) for field in ('net_param', 'net') if param.HasField(field)]
        instances = len(param.test_iter)
        if instances < len(tests) or (tests and instances > len(tests) and not generic):
            raise CaffeError(f'test_iter is given {instances} times for {len(tests)} test nets')
        tests += generic * (instances - len(tests))
        if param.test_state and len(param.test_state) != len(tests):
            raise CaffeError(f'test_state is given {len(param.test_state)} times for '
                             f'{len(tests)} test nets')
        states = param.test_state or [caffe_pb2.NetState()] * len(tests)
        self.test_nets = [self._make_net(source, caffe_pb2.TEST, state)
                          for source, state in zip(tests, states, strict=True)]
        for net in self.test_nets:
            net.share_with(self.net)

    def _make_net(self, source, phase, state):
        file, net_param = self._file, caffe_pb2.NetParameter()
        if isinstance(source, str):
            file, net_param = source, read_net(source)
        else:
            net_param.CopyFrom(source)
            upgrade_net(net_param)
        net_param.state.MergeFrom(state)
        return Net.from_param(net_param, phase, file=file)

    def add_callback(self, on_start, on_gradients_ready=None):
        """Call `on_start()` before each forward and `on_gradients_ready()` before each update.

        The first argument may also be an object with both methods.
        """
        if on_gradients_ready is None:
            on_start, on_gradients_ready = on_start.on_start, on_start.on_gradients_ready
        self._callbacks.append((on_start, on_gradients_ready))

    def share_weights(self, net):
        """Make the training net share the parameters of `net`."""
        self.net.share_with(net)

    def solve(self, resume_file=None, signals=None):
        """Train until max_iter, starting from the solverstate `resume_file` if it is given.

        signals : dict, signal number -> 'stop' (stop after the current iteration, with a snapshot
            as after the last one), 'snapshot' or 'none'; by default SIGINT stops, and a second
            SIGINT interrupts
        """
        log(f'Solving {self.net.name}')
        log(f'Learning Rate Policy: {self.param.lr_policy}')
        if resume_file is not None:
            self.resume(resume_file)
        start = self.iter
        with self._handling(signals or {signal.SIGINT: 'stop'}), self._progress():
            self.step(self.param.max_iter - self.iter)
        param = self.param
        if param.snapshot_after_train and not (param.snapshot and self.iter % param.snapshot == 0):
            self.snapshot()
        if self._stop:
            log('Optimization stopped early.')
            return
        if param.display and self.iter % param.display == 0:
            self._smooth(self.net._forward(0, len(self.net.layers) - 1), start)
            log(f'Iteration {self.iter}, loss = {self._smoothed_loss:g}')
        if param.test_interval and self.iter % param.test_interval == 0:
            self.test_all()
        log('Optimization Done.')

    def step(self, iterations):
        """Train for this number of iterations."""
        param, start = self.param, self.iter
        self._stop = False
        self._losses, self._smoothed_loss = [], 0.0
        self._timer, self._displayed = time.monotonic(), self.iter
        while self.iter < start + iterations and not self._stop:
            self.net.clear_param_diffs()
            if (param.test_interval and self.iter % param.test_interval == 0
                    and (self.iter > 0 or param.test_initialization)):
                self.test_all()
            for on_start, _ in self._callbacks:
                on_start()
            loss = sum(self._forward_backward() for _ in range(param.iter_size)) / param.iter_size
            self._smooth(loss, start)
            if not math.isfinite(loss):
                self._say_nan(loss)
            if param.display and self.iter % param.display == 0:
                self._display()
            for _, on_gradients_ready in self._callbacks:
                on_gradients_ready()
            self.apply_update()
            if self._snapshot_asked or param.snapshot and self.iter % param.snapshot == 0:
                self._snapshot_asked = False
                self.snapshot()
            self._advance(loss)

    def _forward_backward(self):
        last = len(self.net.layers) - 1
        loss = self.net._forward(0, last)
        self.net._backward(last, 0)
        return loss

    def apply_update(self):
        """Update the parameters from their diffs, and count the iteration."""
        raise NotImplementedError

    def _smooth(self, loss, start):
        """Update the mean of the last `average_loss` losses."""
        window = self.param.average_loss
        if len(self._losses) < window:
            self._losses.append(loss)
        else:
            self._losses[(self.iter - start) % window] = loss
        self._smoothed_loss = sum(self._losses) / len(self._losses)

    def _say_nan(self, loss):
        if self._said_nan:
            return
        self._said_nan = True
        net = self.net
        guilty = [name for name, layer, tops
                  in zip(net._layer_names, net.layers, net._tops, strict=True)
                  if any(weight and not np.isfinite(top.data).all()
                         for weight, top in zip(layer.loss_weights, tops, strict=True))]
        where = f' in layer {guilty[0]!r}' if guilty else ''
        log(f'Iteration {self.iter}: the loss is {loss:g}{where}', WARNING)

    def _display(self):
        now = time.monotonic()
        lapse = now - self._timer
        rate = (self.iter - self._displayed) / (lapse or 1)
        log(f'Iteration {self.iter} ({rate:g} iter/s, {lapse:g}s/{self.param.display} iters), '
            f'loss = {self._smoothed_loss:g}')
        self._timer, self._displayed = now, self.iter
        _log_outputs('Train', self.net, {name: self.net.blobs[name].data
                                         for name in self.net.outputs})

    def test_all(self):
        """Run every test net for its test_iter batches and log the mean of each output.

        In parallel training only the first process tests; the others wait at their next update.
        """
        if common.solver_rank():
            return
        for index in range(len(self.test_nets)):
            if not self._stop:
                self.test(index)

    def test(self, index=0):
        """Run test net `index`; log and return the mean of each output over the batches.

        Returns a dict, blob name -> array.
        """
        log(f'Iteration {self.iter}, Testing net (#{index})')
        net, count = self.test_nets[index], self.param.test_iter[index]
        net.share_with(self.net)
        loss, sums = 0.0, {}
        for _ in range(count):
            if self._stop:
                log('Test interrupted.')
                return {}
            loss += net._forward(0, len(net.layers) - 1, record=False)
            for name in net.outputs:
                sums[name] = sums.get(name, 0) + net.blobs[name].data.astype(float)
        if self.param.test_compute_loss:
            log(f'Test loss: {loss / count:g}')
        means = {name: total / count for name, total in sums.items()}
        _log_outputs('Test', net, means)
        return means

    @property
    def stop_asked(self):
        """Whether an early stop was requested."""
        return self._stop

    def ask_to_stop(self):
        """Stop `solve` or `step` after the current iteration; signal handlers may call this."""
        self._stop = True

    def ask_for_snapshot(self):
        """Write a snapshot after the current iteration; signal handlers may call this."""
        self._snapshot_asked = True

    def snapshot(self):
        """Write the net's parameters and the solver's state; return the name of the state file."""
        if common.solver_rank():
            return None
        hdf5 = self.param.snapshot_format == caffe_pb2.SolverParameter.HDF5
        stem = f'{self.param.snapshot_prefix}_iter_{self.iter}'
        suffix, kind = ('.h5', 'HDF5') if hdf5 else ('', 'binary proto')
        model, state = f'{stem}.caffemodel{suffix}', f'{stem}.solverstate{suffix}'
        log(f'Snapshotting to {kind} file {model}')
        write = self.net.save_hdf5 if hdf5 else self.net.save
        write(model, self.param.snapshot_diff)
        log(f'Snapshotting solver state to {kind} file {state}')
        write_state(state, self.iter, model, self._current_step, self._history_arrays())
        return state

    def restore(self, state_file):
        """Load parameters, history and iteration from a .solverstate(.h5) and the model it names.

        The position of data layers does not change, as in Caffe; `resume` moves them too.
        """
        state_file = os.fspath(state_file)
        iteration, learned_net, current_step, arrays = read_state(state_file)
        self._check_history(state_file, arrays)
        if learned_net:
            self.net.copy_from(find_model(state_file, learned_net))
        self._set_history(arrays)
        self.iter, self._current_step = iteration, current_step

    def resume(self, state_file: str | os.PathLike) -> None:
        """Restore a state, and advance the training net's data layers to its iteration.

        Training then continues with the same batches as an uninterrupted run. Data layers advance
        by reading from this solver's iteration to the state's; if the state is earlier, they stay
        where they are. Test nets do not move.

        Parameters
        ----------
        state_file : path
            A .solverstate or .solverstate.h5.

        Raises
        ------
        CaffeError
            If the state, its model or a batch to skip cannot be read, or the state belongs to
            another solver.
        """
        start = self.iter
        self.restore(state_file)
        batches = max(0, self.iter - start) * self.param.iter_size
        for name, layer in self.net.layer_dict.items():
            # look it up in the class: a user's layer may have an attribute of this name
            skip = getattr(type(layer), 'skip', None)
            if batches and skip:
                with naming(f'{self._file}: layer {name!r} ({layer.type})'):
                    skip(layer, batches)

    @contextmanager
    def _handling(self, signals):
        """Handle signals according to `signals`; a second one of a kind has its usual effect."""
        if threading.current_thread() is not threading.main_thread():
            yield       # only the main thread may handle signals
            return
        before = {}

        def follow(number, frame):
            getattr(self, SIGNAL_EFFECTS[signals[number]])()
            if signals[number] == 'stop':
                signal.signal(number, before[number])

        for number, effect in signals.items():
            handler = follow if SIGNAL_EFFECTS[effect] else signal.SIG_IGN
            before[number] = signal.signal(number, handler)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _progress(self):
        with tqdm(total=self.param.max_iter, initial=self.iter, unit='iter', file=sys.stderr,
                  disable=not sys.stderr.isatty() or common.solver_rank() > 0,
                  dynamic_ncols=True) as self._bar:
            yield
        self._bar = None

    def _advance(self, loss):
        if self._bar is not None:
            self._bar.set_postfix(loss=f'{loss:g}', lr=f'{self.lr:g}', refresh=False)
            self._bar.update()


def _log_outputs(phase, net, outputs):
    """Log every value of a net's outputs (name -> array), numbered consecutively."""
    values = ((name, value) for name, array in outputs.items() for value in np.ravel(array))
    for index, (name, value) in enumerate(values):
        log(f'    {phase} net output #{index}: {show_output(net, name, value)}')


def show_output(net, name, value):
    """Format a value of output `name`, with its contribution to the loss if it has a weight."""
    weight = net.blob_loss_weights[name]
    note = f' (* {weight:g} = {weight * value:g} loss)' if weight else ''
    return f'{name} = {value:g}{note}'


def _check_folder(prefix):
    folder = os.path.dirname(prefix) or '.'
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise CaffeError(f'cannot write snapshots to snapshot_prefix {prefix!r}: '
                         f'create the folder {folder!r} and make it writable')
