"""Layers that select parts of their bottoms by position, by index or by value."""

import math
from itertools import pairwise

import torch

from ..errors import CaffeError
from ..layer import ALL, TensorLayer, register


def as_indices(x, count):
    """Return the tensor `x` as integers; CaffeError unless all are 0 .. count - 1."""
    indices = x.long()
    wrong = (indices < 0) | (indices >= count)
    if wrong.any():
        raise CaffeError(f'index {x[wrong][0].item():g} is not in 0 .. {count - 1}')
    return indices


@register
class Slice(TensorLayer):
    """Cut the bottom along `axis` before each `slice_point`, by default into equal parts."""
    repeatable = True
    top_count = (1, None)

    def shape(self, bottom):
        param = self.layer_param.slice_param
        if param.HasField('axis') and param.HasField('slice_dim'):
            raise CaffeError('slice_dim is the old name of axis; give one of them')
        index = param.slice_dim if param.HasField('slice_dim') else param.axis
        self.dim = self.axis(index, len(bottom))
        size = bottom[self.dim]
        if param.slice_point:
            if len(param.slice_point) != self.num_top - 1:
                raise CaffeError(f'{self.num_top} tops need {self.num_top - 1} slice_points, '
                                 f'not {len(param.slice_point)}')
            bounds = [0, *param.slice_point, size]
        else:
            if size == 0 or size % self.num_top:
                raise CaffeError(f'axis {self.dim} of {bottom} cannot be divided into '
                                 f'{self.num_top} equal parts')
            bounds = range(0, size + 1, size // self.num_top)
        self.sizes = [stop - start for start, stop in pairwise(bounds)]
        if min(self.sizes) < 1:
            raise CaffeError(f'slice_points {list(param.slice_point)} must increase within '
                             f'axis {self.dim} of {bottom}')
        return [(*bottom[:self.dim], part, *bottom[self.dim + 1:]) for part in self.sizes]

    def compute(self, x):
        return tuple(part.clone() for part in x.split(self.sizes, self.dim))


@register
class ArgMax(TensorLayer):
    """Indices of the `top_k` largest values along `axis`, or of each whole item: N x 1 x top_k.

    Among equal values the last comes first. With `out_max_val`, the values replace the indices if
    `axis` is set; otherwise they follow the indices: N x 2 x top_k.
    """
    repeatable = True
    no_gradient = ALL

    def shape(self, bottom):
        param = self.layer_param.argmax_param
        if param.HasField('axis'):
            self.dim = self.axis(param.axis, len(bottom))
            self.size = bottom[self.dim]
            top = (*bottom[:self.dim], param.top_k, *bottom[self.dim + 1:])
        else:
            self.size = math.prod(bottom[1:])
            top = (bottom[0], 1 + param.out_max_val, param.top_k, *[1] * (len(bottom) - 3))
        if not 1 <= param.top_k <= self.size:
            raise CaffeError(f'top_k is {param.top_k}; it must be 1 .. {self.size}, '
                             f'as {bottom} has {self.size} values to choose from')
        self.target = top
        return [top]

    def compute(self, x):
        param = self.layer_param.argmax_param
        by_axis = param.HasField('axis')
        dim = self.dim if by_axis else 1
        if not by_axis:
            x = x.reshape(len(x), self.size)
        # flipped, because a stable sort keeps the first of equal values first
        values, indices = x.flip(dim).sort(dim=dim, descending=True, stable=True)
        values = values.narrow(dim, 0, param.top_k)
        indices = (self.size - 1 - indices.narrow(dim, 0, param.top_k)).to(x.dtype)
        if by_axis:
            return values if param.out_max_val else indices
        if param.out_max_val:
            indices = torch.cat([indices, values], 1)
        return indices.reshape(self.target)


@register
class BatchReindex(TensorLayer):
    """The items of the first bottom at the indices in the second bottom."""
    repeatable = True
    bottom_count = (2, 2)
    no_gradient = (1,)

    def shape(self, bottom, order):
        if len(order) != 1:
            raise CaffeError(f'the second bottom must have one axis, not the shape {order}')
        return [(*order, *bottom[1:])]

    def compute(self, x, order):
        return x.index_select(0, as_indices(order, len(x)))


@register
class Filter(TensorLayer):
    """Keep the items for which the last bottom, the selector, is not 0.

    The selector has one value per item; each other bottom has a top. The first dimension of the
    tops depends on the data; before the first forward it is that of the bottoms.
    """
    repeatable = True
    bottom_count = (2, None)
    top_count = (1, None)
    kept = None     # how many items the last reshape found

    def setup(self, bottom, top):
        if len(top) != len(bottom) - 1:
            raise CaffeError(f'has {len(bottom)} bottoms and {len(top)} tops; every bottom except '
                             'the last, the selector, needs a top')
        self.no_gradient = (len(bottom) - 1,)

    def reshape(self, bottom, top):
        selector = bottom[-1]
        self.kept = selector.shape[0] if self.kept is None else int(selector.tensor.count_nonzero())
        super().reshape(bottom, top)

    def shape(self, *bottom):
        *shapes, selector = bottom
        if math.prod(selector[1:]) != 1:
            raise CaffeError(f'the selector must have one number per item, not shape {selector}')
        for shape in shapes:
            if shape[0] != selector[0]:
                raise CaffeError(f'the selector has {selector[0]} items, but a bottom is {shape}')
        return [(self.kept, *shape[1:]) for shape in shapes]

    def compute(self, *bottom):
        *bottoms, selector = bottom
        rows = selector.reshape(-1).nonzero().reshape(-1)
        return tuple(x.index_select(0, rows) for x in bottoms)
