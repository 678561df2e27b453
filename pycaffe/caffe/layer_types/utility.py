"""Layers that copy, join, combine and reshape blobs."""

import math

import torch

from ..errors import CaffeError
from ..layer import Layer, TensorLayer, register


@register
class Split(TensorLayer):
    """One copy of the bottom per top; nets insert it where several layers read one blob."""
    repeatable = True
    top_count = (1, None)

    def compute(self, x):
        return tuple(x.view_as(x) for _ in range(self.num_top))   # distinct for autograd


@register
class Concat(TensorLayer):
    """Join the bottoms along `axis`."""
    repeatable = True
    bottom_count = (1, None)

    def shape(self, *bottom):
        param = self.layer_param.concat_param
        if param.HasField('axis') and param.HasField('concat_dim'):
            raise CaffeError('concat_dim is the old name of axis; give one of them')
        index = param.concat_dim if param.HasField('concat_dim') else param.axis
        self.dim = self.axis(index, len(bottom[0]))
        others = {(len(shape), *shape[:self.dim], *shape[self.dim + 1:]) for shape in bottom}
        if len(others) > 1:
            raise CaffeError(f'bottoms of shapes {bottom} differ outside axis {self.dim}')
        joined = list(bottom[0])
        joined[self.dim] = sum(shape[self.dim] for shape in bottom)
        return [joined]

    def compute(self, *bottom):
        return torch.cat(bottom, self.dim)


@register
class Eltwise(TensorLayer):
    """The bottoms' product, sum (each times its `coeff`) or maximum, element by element."""
    repeatable = True
    bottom_count = (2, None)

    def setup(self, bottom, top):
        param = self.layer_param.eltwise_param
        if param.coeff and len(param.coeff) != len(bottom):
            raise CaffeError(f'{len(bottom)} bottoms need as many coeffs, not {len(param.coeff)}')
        if param.coeff and param.operation == param.PROD:
            raise CaffeError('coeff does not belong to operation PROD')

    def shape(self, *bottom):
        if any(shape != bottom[0] for shape in bottom):
            raise CaffeError(f'bottoms of shapes {bottom} differ')
        return [bottom[0]]

    def compute(self, first, *others):
        param = self.layer_param.eltwise_param
        if param.operation == param.PROD:
            return math.prod(others, start=first)
        if param.operation == param.MAX:
            # Among equal values the second bottom wins, otherwise the earlier one.
            second, *others = others
            largest = torch.where(first > second, first, second)
            for other in others:
                largest = torch.where(other > largest, other, largest)
            return largest
        coeffs = param.coeff or [1] * (1 + len(others))
        total = first * coeffs[0] if coeffs[0] != 1 else first
        for other, coeff in zip(others, coeffs[1:], strict=True):
            total = torch.add(total, other, alpha=coeff)
        return total


@register
class Reshape(TensorLayer):
    """The same values in the shape `shape`: 0 copies the bottom's dim, one -1 is inferred.

    `axis` and `num_axes` limit the reshape to some of the bottom's axes.
    """
    repeatable = True

    def setup(self, bottom, top):
        refuse_in_place(bottom, top)

    def shape(self, bottom):
        param = self.layer_param.reshape_param
        ndim = len(bottom)
        start = self.axis(param.axis, ndim + 1)
        stop = ndim if param.num_axes == -1 else start + param.num_axes
        if not start <= stop <= ndim:
            raise CaffeError(f'axis {param.axis}, num_axes {param.num_axes} are not in {bottom}')
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


@register
class Flatten(TensorLayer):
    """Join the axes `axis` .. `end_axis` into one."""
    repeatable = True

    def setup(self, bottom, top):
        refuse_in_place(bottom, top)

    def shape(self, bottom):
        param = self.layer_param.flatten_param
        start = self.axis(param.axis, len(bottom))
        stop = self.axis(param.end_axis, len(bottom)) + 1
        if stop < start:
            raise CaffeError(f'end_axis {param.end_axis} of {bottom} is before axis {param.axis}')
        self.target = (*bottom[:start], math.prod(bottom[start:stop]), *bottom[stop:])
        return [self.target]

    def compute(self, x):
        return x.reshape(self.target)


def refuse_in_place(bottom, top):
    """Raise CaffeError if top and bottom are the same: the next reshape would read the new shape.
    """
    if top[0] is bottom[0]:
        raise CaffeError('cannot work in place; give its top another name')


@register
class Reduction(TensorLayer):
    """coeff times the sum of x, |x| or x^2, or the mean of x, over all axes from `axis` on."""
    repeatable = True

    def shape(self, bottom):
        param = self.layer_param.reduction_param
        start = self.axis(param.axis, len(bottom))
        self.rows = (math.prod(bottom[:start]), math.prod(bottom[start:]))
        self.target = bottom[:start]
        return [self.target]

    def compute(self, x):
        param = self.layer_param.reduction_param
        x = x.reshape(self.rows)
        if param.operation == param.MEAN:
            y = x.mean(1)
        elif param.operation == param.ASUM:
            y = x.abs().sum(1)
        elif param.operation == param.SUMSQ:
            y = x.square().sum(1)
        else:
            y = x.sum(1)
        return (y * param.coeff).reshape(self.target)


@register
class Tile(TensorLayer):
    """Repeat the bottom `tiles` times along `axis`."""
    repeatable = True

    def setup(self, bottom, top):
        if self.layer_param.tile_param.tiles < 1:
            raise CaffeError('tiles must be set, and above 0')

    def shape(self, bottom):
        param = self.layer_param.tile_param
        self.dim = self.axis(param.axis, len(bottom))
        tiled = list(bottom)
        tiled[self.dim] *= param.tiles
        return [tiled]

    def compute(self, x):
        return torch.cat([x] * self.layer_param.tile_param.tiles, self.dim)


@register
class Silence(TensorLayer):
    """Reads blobs so that they are not outputs of the net; their gradient is 0."""
    repeatable = True
    bottom_count = (1, None)
    top_count = (0, 0)

    def compute(self, *bottom):
        return ()


@register
class Parameter(Layer):
    """A learnable blob of the shape `shape`: the top shares its data and diff."""
    bottom_count = (0, 0)
    top_count = (1, 1)

    @staticmethod
    def parameters(layer_param):
        return ['parameter']

    def setup(self, bottom, top):
        self.blobs.add_blob(*self.layer_param.parameter_param.shape.dim)

    def reshape(self, bottom, top):
        top[0].reshape(*self.blobs[0].shape)
        top[0].share_data(self.blobs[0])
        top[0].share_diff(self.blobs[0])
