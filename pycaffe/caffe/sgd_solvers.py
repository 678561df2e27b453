"""The solver types: learning rates and update rules (sgd_solver.cpp and the others).

In the update rules, w is a parameter, g its gradient (mean over iter_size, weight decay included),
a its learning rate, and h its history.
"""

import math

import numpy as np
import torch

from .blob import Blob
from .errors import CaffeError
from .log import log
from .proto.upgrade import read_solver
from .solver import Solver

POLICIES = {
    'fixed': lambda p, i: 1,
    'step': lambda p, i: p.gamma ** (i // p.stepsize),
    'exp': lambda p, i: p.gamma ** i,
    'inv': lambda p, i: (1 + p.gamma * i) ** -p.power,
    'multistep': lambda p, i: p.gamma ** sum(i >= value for value in p.stepvalue),
    'poly': lambda p, i: (1 - i / p.max_iter) ** p.power,
    'sigmoid': lambda p, i: 1 / (1 + math.exp(-p.gamma * (i - p.stepsize))),
}


class SGDSolver(Solver):
    """h = momentum h + a g;  w -= h   (momentum; Polyak, 1964)"""

    histories = 1               # arrays per parameter
    momentum_allowed = True
    skips_rate_zero = True      # a rate of 0 leaves a history of zeros unchanged

    def _check(self):
        super()._check()
        param = self.param
        if param.lr_policy not in POLICIES:
            raise CaffeError(f'unknown lr_policy {param.lr_policy!r}; known: {", ".join(POLICIES)}')
        if param.lr_policy == 'step' and param.stepsize < 1:
            raise CaffeError('lr_policy "step" needs a stepsize')
        if param.regularization_type not in ('L1', 'L2'):
            raise CaffeError(f'unknown regularization_type {param.regularization_type!r}; '
                             'known: L1, L2')
        if param.momentum and not self.momentum_allowed:
            raise CaffeError(f'momentum cannot be used with {param.type}')

    def _make_nets(self):
        super()._make_nets()
        blobs = [param.blob for param in self.net.learnable_params]
        # all first histories, then all second ones: the order in a solverstate
        self._history = [Blob(blob.shape) for _ in range(self.histories) for blob in blobs]

    @property
    def lr(self):
        """The learning rate of this iteration, before lr_mult."""
        return self.param.base_lr * POLICIES[self.param.lr_policy](self.param, self.iter)

    def apply_update(self):
        rate = self.lr
        self._follow_steps()
        if self.param.display and self.iter % self.param.display == 0:
            log(f'Iteration {self.iter}, lr = {rate:g}')
        params = self.net.learnable_params
        scale = self._clip_scale([param.blob for param in params]) / self.param.iter_size
        with torch.no_grad():
            for index, param in enumerate(params):
                history = self._history[index::len(params)]
                if (self.skips_rate_zero and param.lr_mult == 0
                        and not any(blob.has_data for blob in history)):
                    continue
                gradient = self._regularize(param.blob.diff_tensor * scale, param)
                update = self.update(gradient, rate * param.lr_mult, history)
                param.blob.diff_tensor = update
                param.blob.subtract(update)
        self.iter += 1

    def _follow_steps(self):
        """Count the steps passed; the solverstate stores this number."""
        if self.param.lr_policy == 'step':
            self._current_step = self.iter // self.param.stepsize
        if self.param.lr_policy == 'multistep':
            passed = sum(self.iter >= value for value in self.param.stepvalue)
            if passed > self._current_step:
                log(f'MultiStep Status: Iteration {self.iter}, step = {passed}')
            self._current_step = passed

    def _clip_scale(self, blobs):
        """Return the factor that reduces the norm of all gradients to clip_gradients."""
        limit = self.param.clip_gradients
        if limit < 0:
            return 1.0
        norm = math.sqrt(sum(float(blob.diff_tensor.square().sum())
                             for blob in blobs if blob.has_diff))
        if norm <= limit:
            return 1.0
        log(f'Gradient clipping: scaling down gradients (L2 norm {norm:g} > {limit:g}) '
            f'by scale factor {limit / norm:g}')
        return limit / norm

    def _regularize(self, gradient, param):
        decay = self.param.weight_decay * param.decay_mult
        if not decay:
            return gradient
        weights = param.blob.tensor
        return gradient.add_(weights.sign() if self.param.regularization_type == 'L1' else weights,
                             alpha=decay)

    def update(self, g, a, history):
        """Return the tensor to subtract from a parameter; the caller may keep it.

        g : gradient of the parameter, may be overwritten
        a : learning rate
        history : Blobs of the parameter, changed in place
        """
        h, = history
        h.tensor = h.tensor * self.param.momentum + g.mul_(a)
        return h.tensor.clone()

    def _history_arrays(self):
        # np.zeros allocates memory only when it is written to
        return [blob.data if blob.has_data else np.zeros(blob.shape, np.float32)
                for blob in self._history]

    def _check_history(self, path, arrays):
        expected = [blob.shape for blob in self._history]
        if len(arrays) != len(expected):
            raise CaffeError(f'{path}: has {len(arrays)} history blobs, but the solver '
                             f'{self._file} {len(expected)}')
        for index, (array, shape) in enumerate(zip(arrays, expected, strict=True)):
            if array.size != math.prod(shape):
                raise CaffeError(f'{path}: history blob {index} has the shape {array.shape}, '
                                 f'but the solver needs {shape}')

    def _set_history(self, arrays):
        for blob, array in zip(self._history, arrays, strict=True):
            blob.tensor = torch.from_numpy(array.reshape(blob.shape).copy())


class NesterovSolver(SGDSolver):
    """h' = momentum h + a g;  w -= (1 + momentum) h' - momentum h   (Nesterov, 1983)"""

    def update(self, g, a, history):
        h, = history
        old, momentum = h.tensor, self.param.momentum
        h.tensor = old * momentum + g.mul_(a)
        return h.tensor * (1 + momentum) - old * momentum


class AdaGradSolver(SGDSolver):
    """h += g^2;  w -= a g / (sqrt(h) + delta)   (Duchi et al., 2011)"""
    momentum_allowed = False
    skips_rate_zero = False

    def update(self, g, a, history):
        h, = history
        h.tensor = h.tensor + g.square()
        return g.mul_(a).div_(h.tensor.sqrt() + self.param.delta)


class RMSPropSolver(SGDSolver):
    """h = rms_decay h + (1 - rms_decay) g^2;  w -= a g / (sqrt(h) + delta)   (Tieleman, 2012)"""
    momentum_allowed = False
    skips_rate_zero = False

    def _check(self):
        super()._check()
        if not 0 <= self.param.rms_decay < 1:
            raise CaffeError(f'rms_decay must lie in [0, 1), not {self.param.rms_decay:g}')

    def update(self, g, a, history):
        h, = history
        decay = self.param.rms_decay
        h.tensor = h.tensor * decay + g.square() * (1 - decay)
        return g.mul_(a).div_(h.tensor.sqrt() + self.param.delta)


class AdaDeltaSolver(SGDSolver):
    """h = m h + (1 - m) g^2;  u = g sqrt((k + delta) / (h + delta));  k = m k + (1 - m) u^2;
    w -= a u

    m is the momentum (Zeiler, 2012).
    """
    histories = 2
    skips_rate_zero = False

    def update(self, g, a, history):
        h, k = history
        momentum, delta = self.param.momentum, self.param.delta
        h.tensor = h.tensor * momentum + g.square() * (1 - momentum)
        step = g.mul_(((k.tensor + delta) / (h.tensor + delta)).sqrt_())
        k.tensor = k.tensor * momentum + step.square() * (1 - momentum)
        return step.mul_(a)


class AdamSolver(SGDSolver):
    """m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= a c m / (sqrt(v) + delta)

    c = sqrt(1 - b2^t) / (1 - b1^t) in iteration t = 1, 2...; b1 is momentum, b2 momentum2
    (Kingma and Ba, 2015).
    """
    histories = 2
    skips_rate_zero = False

    def update(self, g, a, history):
        m, v = history
        b1, b2, t = self.param.momentum, self.param.momentum2, self.iter + 1
        m.tensor = m.tensor * b1 + g * (1 - b1)
        v.tensor = v.tensor * b2 + g.square() * (1 - b2)
        correction = math.sqrt(1 - b2 ** t) / (1 - b1 ** t)
        return m.tensor * (a * correction) / (v.tensor.sqrt() + self.param.delta)


SOLVERS = {cls.__name__[:-len('Solver')]: cls for cls in
           (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)}


def get_solver(solver_file, **options):
    """Return the solver of the prototxt `solver_file`, of the class that its `type` names."""
    kind = read_solver(solver_file).type
    if kind not in SOLVERS:
        raise CaffeError(
            f'{solver_file}: unknown solver type {kind!r}; known: {", ".join(SOLVERS)}')
    return SOLVERS[kind](solver_file, **options)
