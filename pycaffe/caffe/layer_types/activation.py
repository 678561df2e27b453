"""Activations: elementwise functions."""

import math

import torch
import torch.nn.functional as F

from ..errors import CaffeError
from ..layer import ALL, TensorLayer, register
from ..proto.caffe_pb2 import FillerParameter

PRELU_FILLER = FillerParameter(type='constant', value=0.25)


@register
class AbsVal(TensorLayer):
    """|x|"""
    repeatable = True

    def compute(self, x):
        return x.abs()


@register
class BNLL(TensorLayer):
    """log(1 + e^x)"""
    repeatable = True

    def compute(self, x):
        return F.softplus(x)


@register
class Clip(TensorLayer):
    """max(min, min(x, max))"""
    repeatable = True

    def compute(self, x):
        param = self.layer_param.clip_param
        return x.clamp(max=param.max).clamp(min=param.min)


@register
class ELU(TensorLayer):
    """x where x > 0, else alpha * (e^x - 1)"""
    repeatable = True

    def compute(self, x):
        return F.elu(x, self.layer_param.elu_param.alpha)


@register
class Exp(TensorLayer):
    """base ^ (shift + scale * x)"""
    repeatable = True

    def setup(self, bottom, top):
        self.log_base = log_base(self.layer_param.exp_param.base)

    def compute(self, x):
        param = self.layer_param.exp_param
        return torch.exp(affine(x, self.log_base * param.scale, self.log_base * param.shift))


@register
class Log(TensorLayer):
    """Logarithm of shift + scale * x to the base `base`."""
    repeatable = True

    def setup(self, bottom, top):
        self.log_base = log_base(self.layer_param.log_param.base)
        if self.log_base == 0:
            raise CaffeError('there is no logarithm to base 1')

    def compute(self, x):
        param = self.layer_param.log_param
        return torch.log(affine(x, param.scale, param.shift)) * (1 / self.log_base)


def affine(x, scale, shift):
    """Return scale * x + shift; a shift of 0 is not added, since it would turn -0 into 0."""
    return x * scale + shift if shift else x * scale


def log_base(base):
    """Return the natural logarithm of a prototxt's `base`, where -1 stands for e."""
    if base == -1:
        return 1.0
    if not 0 < base < math.inf:
        raise CaffeError(f'base is {base:g}; it must be a number above 0, or -1 for e')
    return math.log(base)


@register
class Power(TensorLayer):
    """(shift + scale * x) ^ power"""
    repeatable = True

    def compute(self, x):
        param = self.layer_param.power_param
        if param.power * param.scale == 0:      # constant: gradient 0, even where y is inf
            return torch.full_like(x, param.shift).pow(param.power)
        return affine(x, param.scale, param.shift).pow(param.power)


@register
class PReLU(TensorLayer):
    """max(0, x) + slope * min(0, x), with one slope per channel (axis 1) or a single one."""
    repeatable = True

    @staticmethod
    def parameters(layer_param):
        return ['slope']

    def setup(self, bottom, top):
        param = self.layer_param.prelu_param
        if len(bottom[0].shape) < 2:
            raise CaffeError(f'the bottom needs a channel axis, but its shape is {bottom[0].shape}')
        self.add_blobs(slope=(() if param.channel_shared else (bottom[0].shape[1],),
                              param.filler if param.HasField('filler') else PRELU_FILLER))

    def shape(self, bottom):
        slopes = self.blobs[0].shape
        if slopes and bottom[1:2] != slopes:
            raise CaffeError(f'there are slopes for {slopes[0]} channels, the bottom is {bottom}')
        return [bottom]

    def compute(self, x):
        return F.prelu(x, self.weight(0).reshape(-1))


@register
class ReLU(TensorLayer):
    """max(0, x) + negative_slope * min(0, x)"""
    repeatable = True

    def compute(self, x):
        slope = self.layer_param.relu_param.negative_slope
        return F.leaky_relu(x, slope) if slope else torch.relu(x)


@register
class Sigmoid(TensorLayer):
    """1 / (1 + e^-x)"""
    repeatable = True

    def compute(self, x):
        return torch.sigmoid(x)


@register
class Swish(TensorLayer):
    """x * sigmoid(beta * x)"""
    repeatable = True

    def compute(self, x):
        return x * torch.sigmoid(x * self.layer_param.swish_param.beta)


@register
class TanH(TensorLayer):
    """tanh(x)"""
    repeatable = True

    def compute(self, x):
        return torch.tanh(x)


@register
class Threshold(TensorLayer):
    """1 where x > threshold, else 0"""
    repeatable = True
    no_gradient = ALL

    def compute(self, x):
        return (x > self.layer_param.threshold_param.threshold).to(x.dtype)
