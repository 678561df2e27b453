"""Fillers: the initial values of parameters (filler.hpp)."""

import math

import torch

from .common import generator
from .errors import CaffeError


def fill(blob, param):
    """Fill `blob` according to the FillerParameter `param`; an empty one means constant 0."""
    if param.type not in FILLERS:
        raise CaffeError(f'unknown filler {param.type!r}; known: {", ".join(sorted(FILLERS))}')
    if 0 in blob.shape:
        raise CaffeError(f'a parameter of the shape {blob.shape} has no values to fill')
    if param.type == 'constant' and param.value == 0:
        return      # a new blob is zero already; do not allocate its memory yet
    blob.tensor = FILLERS[param.type](blob.shape, param)


def constant(shape, param):
    return torch.full(shape, param.value)


def uniform(shape, param):
    return torch.empty(shape).uniform_(param.min, param.max, generator=generator())


def gaussian(shape, param):
    """N(mean, std); with `sparse` each weight is kept with probability sparse / num_output."""
    values = torch.empty(shape).normal_(param.mean, param.std, generator=generator())
    if param.sparse >= 0:
        keep = torch.full(shape, param.sparse / shape[0])
        values *= torch.bernoulli(keep, generator=generator())
    return values


def positive_unitball(shape, param):
    """Positive numbers; each row sums to 1."""
    values = torch.empty(shape).uniform_(0, 1, generator=generator())
    rows = values.view(shape[0], -1)
    return (rows / rows.sum(1, keepdim=True)).view(shape)


def xavier(shape, param):
    """Uniform with variance 1/n (Glorot and Bengio, 2010)."""
    bound = math.sqrt(3 / _fan(shape, param))
    return torch.empty(shape).uniform_(-bound, bound, generator=generator())


def msra(shape, param):
    """Normal with variance 2/n (He et al., 2015)."""
    std = math.sqrt(2 / _fan(shape, param))
    return torch.empty(shape).normal_(0, std, generator=generator())


def bilinear(shape, param):
    """Bilinear interpolation, for a Deconvolution that upsamples."""
    if len(shape) != 4 or shape[2] != shape[3]:
        raise CaffeError(f'the bilinear filler needs a square 4-d blob, not {shape}')
    factor = math.ceil(shape[3] / 2)
    center = (2 * factor - 1 - factor % 2) / (2 * factor)
    ramp = 1 - (torch.arange(shape[3]) / factor - center).abs()
    return (ramp[:, None] * ramp).expand(shape).clone()


def _fan(shape, param):
    count = math.prod(shape)
    fan_in = count / shape[0]
    fan_out = count / shape[1] if len(shape) > 1 else count
    if param.variance_norm == param.FAN_OUT:
        return fan_out
    if param.variance_norm == param.AVERAGE:
        return (fan_in + fan_out) / 2
    return fan_in


FILLERS = {function.__name__: function for function in
           (constant, uniform, gaussian, positive_unitball, xavier, msra, bilinear)}
