"""Common layers: InnerProduct, Dropout, Embed."""

import math

import torch
import torch.nn.functional as F

from ..common import TEST, generator
from ..errors import CaffeError
from ..layer import TensorLayer, register
from .selection import as_indices


@register
class InnerProduct(TensorLayer):
    """y = W x + b over all axes from `axis` on; W is num_output x K, or its transpose."""
    repeatable = True

    @staticmethod
    def parameters(layer_param):
        return ['weight', 'bias'][:1 + layer_param.inner_product_param.bias_term]

    def setup(self, bottom, top):
        param = self.layer_param.inner_product_param
        start = self.axis(param.axis, len(bottom[0].shape))
        self.inputs = math.prod(bottom[0].shape[start:])
        shape = (param.num_output, self.inputs)
        self.add_blobs(
            weight=(shape[::-1] if param.transpose else shape, param.weight_filler),
            bias=((param.num_output,), param.bias_filler))

    def shape(self, bottom):
        param = self.layer_param.inner_product_param
        start = self.axis(param.axis, len(bottom))
        inputs = math.prod(bottom[start:])
        if inputs != self.inputs:
            raise CaffeError(f'the bottom {bottom} has {inputs} inputs per row, '
                             f'but the weights take {self.inputs}')
        self.outer = bottom[:start]
        return [(*self.outer, param.num_output)]

    def compute(self, x):
        param = self.layer_param.inner_product_param
        weight = self.weight(0).t() if param.transpose else self.weight(0)
        bias = self.weight(1) if param.bias_term else None
        y = F.linear(x.reshape(math.prod(self.outer), self.inputs), weight, bias)
        return y.reshape(*self.outer, param.num_output)


@register
class Dropout(TensorLayer):
    """TRAIN: 0 with probability dropout_ratio, else x / (1 - dropout_ratio). TEST: x."""

    def setup(self, bottom, top):
        ratio = self.layer_param.dropout_param.dropout_ratio
        if not 0 <= ratio < 1:
            raise CaffeError(f'dropout_ratio is {ratio:g}; it must be 0 or more and below 1')

    def compute(self, x):
        if self.phase == TEST:
            return x.clone()
        keep = 1 - self.layer_param.dropout_param.dropout_ratio
        mask = torch.empty(x.shape).bernoulli_(keep, generator=generator())
        return x * (mask / keep).to(x)


@register
class Embed(TensorLayer):
    """Row x of the weights, input_dim x num_output, for each index x of the bottom; plus a bias."""
    repeatable = True
    no_gradient = (0,)

    @staticmethod
    def parameters(layer_param):
        return ['weight', 'bias'][:1 + layer_param.embed_param.bias_term]

    def setup(self, bottom, top):
        param = self.layer_param.embed_param
        if not (param.input_dim and param.num_output):
            raise CaffeError('input_dim and num_output must be above 0')
        self.add_blobs(weight=((param.input_dim, param.num_output), param.weight_filler),
                       bias=((param.num_output,), param.bias_filler))

    def shape(self, bottom):
        return [(*bottom, self.layer_param.embed_param.num_output)]

    def compute(self, x):
        param = self.layer_param.embed_param
        y = F.embedding(as_indices(x, param.input_dim), self.weight(0))
        return y + self.weight(1) if param.bias_term else y
