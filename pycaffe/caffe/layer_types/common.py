"""Layers of any use."""

import math

import torch.nn.functional as F

from ..errors import CaffeError
from ..layer import TensorLayer, register


@register
class InnerProduct(TensorLayer):
    """y = W x + b over all axes from `axis` on; W is num_output x K, or its transpose."""

    def setup(self, bottom, top):
        param = self.layer_param.inner_product_param
        start = self.axis(param.axis, len(bottom[0].shape))
        self.inputs = math.prod(bottom[0].shape[start:])
        shape = (param.num_output, self.inputs)
        self.add_blob(shape[::-1] if param.transpose else shape, param.weight_filler)
        if param.bias_term:
            self.add_blob((param.num_output,), param.bias_filler)

    def shape(self, bottom):
        param = self.layer_param.inner_product_param
        start = self.axis(param.axis, len(bottom))
        inputs = math.prod(bottom[start:])
        if inputs != self.inputs:
            raise CaffeError(f'the bottom {bottom} gives {inputs} inputs a row, '
                             f'the weights take {self.inputs}')
        self.outer = bottom[:start]
        return [(*self.outer, param.num_output)]

    def compute(self, x):
        param = self.layer_param.inner_product_param
        weight = self.weight(0).t() if param.transpose else self.weight(0)
        bias = self.weight(1) if param.bias_term else None
        y = F.linear(x.reshape(math.prod(self.outer), self.inputs), weight, bias)
        return y.reshape(*self.outer, param.num_output)
