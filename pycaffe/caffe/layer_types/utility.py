"""Blobs copied, joined, combined and reshaped."""

import math

import torch

from ..errors import CaffeError
from ..layer import TensorLayer, register


@register
class Split(TensorLayer):
    """The bottom, once for each top; nets insert it where several layers read one blob."""
    top_count = (1, None)

    def compute(self, x):
        return (x,) * self.num_top


@register
class Concat(TensorLayer):
    """Join the bottoms along `axis`."""
    bottom_count = (1, None)

    def shape(self, *bottom):
        param = self.layer_param.concat_param
        index = param.concat_dim if param.HasField('concat_dim') else param.axis
        self.dim = self.axis(index, len(bottom[0]))
        joined = list(bottom[0])
        joined[self.dim] = sum(shape[self.dim] for shape in bottom)
        for shape in bottom:
            if len(shape) != len(joined) or any(
                    a != b for i, (a, b) in enumerate(zip(shape, joined)) if i != self.dim):
                raise CaffeError(f'bottoms of shapes {bottom} differ outside axis {self.dim}')
        return [joined]

    def compute(self, *bottom):
        return torch.cat(bottom, self.dim)


@register
class Eltwise(TensorLayer):
    """The bottoms' product, sum (each times its `coeff`) or maximum, element by element."""
    bottom_count = (2, None)

    def setup(self, bottom, top):
        param = self.layer_param.eltwise_param
        if param.coeff and len(param.coeff) != len(bottom):
            raise CaffeError(f'{len(bottom)} bottoms need as many coeffs, not {len(param.coeff)}')
        if param.coeff and param.operation != param.SUM:
            raise CaffeError('coeff belongs to operation SUM only')

    def shape(self, *bottom):
        if any(shape != bottom[0] for shape in bottom):
            raise CaffeError(f'bottoms of shapes {bottom} differ')
        return [bottom[0]]

    def compute(self, first, *others):
        param = self.layer_param.eltwise_param
        if param.operation == param.PROD:
            return math.prod(others, start=first)
        if param.operation == param.MAX:
            for other in others:
                first = torch.maximum(first, other)
            return first
        coeffs = param.coeff or [1] * (1 + len(others))
        total = first * coeffs[0] if coeffs[0] != 1 else first
        for other, coeff in zip(others, coeffs[1:]):
            total = torch.add(total, other, alpha=coeff)
        return total


@register
class Reshape(TensorLayer):
    """The same values under the shape `shape`: 0 copies the bottom's dim, one -1 is inferred.

    `axis` and `num_axes` limit it to a span of the bottom's axes.
    """

    def shape(self, bottom):
        param = self.layer_param.reshape_param
        ndim = len(bottom)
        start = self.axis(param.axis, ndim + 1)
        stop = ndim if param.num_axes == -1 else start + param.num_axes
        if stop > ndim:
            raise CaffeError(f'axis {param.axis} and num_axes {param.num_axes} pass the end of {bottom}')
        dims = list(param.shape.dim)
        for i, dim in enumerate(dims):
            if dim == 0:
                if start + i >= ndim:
                    raise CaffeError(f'dim 0 at {i} copies an axis that {bottom} lacks')
                dims[i] = bottom[start + i]
        shape = [*bottom[:start], *dims, *bottom[stop:]]
        if dims.count(-1) > 1:
            raise CaffeError('more than one dim is -1')
        if -1 in dims:
            known = -math.prod(shape)
            if known == 0 or math.prod(bottom) % known:
                raise CaffeError(f'{bottom} cannot be divided into {shape}')
            shape[start + dims.index(-1)] = math.prod(bottom) // known
        if math.prod(shape) != math.prod(bottom):
            raise CaffeError(f'{bottom} does not have the count of {tuple(shape)}')
        self.target = tuple(shape)
        return [shape]

    def compute(self, x):
        return x.reshape(self.target)
