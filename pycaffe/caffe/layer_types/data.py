"""Data from the user, from fillers and from arrays: Input, DummyData, MemoryData."""

import numpy as np
import torch

from .. import common
from ..errors import CaffeError
from ..filler import fill
from ..layer import Layer, TensorLayer, register
from ..proto import caffe_pb2


@register
class Input(TensorLayer):
    """Tops of given shapes that the user fills; one shape for all, or one per top."""
    bottom_count = (0, 0)
    top_count = (1, None)

    def setup(self, bottom, top):
        shapes = [tuple(shape.dim) for shape in self.layer_param.input_param.shape]
        if shapes and len(shapes) not in (1, len(top)):
            raise CaffeError(f'{len(top)} tops need 1 or {len(top)} shapes, not {len(shapes)}')
        # without shapes, the user reshapes the blobs
        for blob, shape in zip(top, shapes * len(top) if len(shapes) == 1 else shapes,
                               strict=False):
            blob.reshape(*shape)

    def reshape(self, bottom, top):
        pass        # keep the shape that the user gave the blob

    def forward(self, bottom, top):
        pass


@register
class DummyData(Layer):
    """Tops of given shapes from fillers: constants once, random values on each forward."""
    bottom_count = (0, 0)
    top_count = (1, None)

    def setup(self, bottom, top):
        param = self.layer_param.dummy_data_param
        self.fillers = _one_each('data_filler', param.data_filler or [caffe_pb2.FillerParameter()],
                                 len(top))
        shapes = _dummy_shapes(param, len(top))
        for blob, shape, filler in zip(top, shapes, self.fillers, strict=True):
            blob.reshape(*shape)
            if filler.type == 'constant':
                fill(blob, filler)

    def forward(self, bottom, top):
        for blob, filler in zip(top, self.fillers, strict=True):
            if filler.type != 'constant':
                fill(blob, filler)


def _dummy_shapes(param, count):
    legacy = {name: list(getattr(param, name)) for name in ('num', 'channels', 'height', 'width')}
    if not any(legacy.values()):
        return [tuple(shape.dim) for shape in _one_each('shape', param.shape, count)]
    if param.shape:
        raise CaffeError('shape and num, channels, height, width cannot both be given')
    return zip(*(_one_each(name, dims, count) for name, dims in legacy.items()), strict=True)


def _one_each(name, values, count):
    """Return `values`, with a single value repeated for each of `count` tops."""
    if len(values) not in (1, count):
        raise CaffeError(f'{count} tops need 1 or {count} values of `{name}`, not {len(values)}')
    return list(values) * count if len(values) == 1 else list(values)


@register
class MemoryData(Layer):
    """Batches of the arrays passed to `reset`, in an endless loop: N x C x H x W data, N labels."""
    bottom_count = (0, 0)
    top_count = (2, 2)

    def setup(self, bottom, top):
        param = self.layer_param.memory_data_param
        self.batch_size = param.batch_size
        self.shape = (param.channels, param.height, param.width)
        if min(self.batch_size, *self.shape) < 1:
            raise CaffeError('batch_size, channels, height and width must be given and at least 1')
        self._arrays = None
        top[0].reshape(self.batch_size, *self.shape)
        top[1].reshape(self.batch_size)

    def reset(self, data, labels):
        """Take batches from these float32 arrays, beginning with row 0. They are not copied here.

        data : M x C x H x W, M a multiple of batch_size
        labels : M, or M x 1 x 1 x 1
        """
        data, labels = np.asarray(data), np.asarray(labels)
        if labels.ndim == 1:
            labels = np.ascontiguousarray(labels[:, None, None, None])
        _check_array('data', data, self.shape)
        _check_array('labels', labels, (1, 1, 1))
        if len(data) != len(labels):
            raise CaffeError(f'data and labels must have the same length, not {len(data)} and '
                             f'{len(labels)}')
        if not len(data) or len(data) % self.batch_size:
            raise CaffeError(f'the length of data and labels, {len(data)}, must be a multiple of '
                             f'batch_size {self.batch_size}')
        self._arrays = data, labels
        self._next = 0

    def skip(self, batches):
        """Continue as if that many batches of the arrays had been delivered."""
        if self._arrays is not None:
            self._next = (self._next + batches * self.batch_size) % len(self._arrays[0])

    def forward(self, bottom, top):
        if self._arrays is None:
            raise CaffeError('has no data yet; call net.set_input_arrays(data, labels) first')
        for blob, array in zip(top, self._arrays, strict=True):
            # a copy, so that writing to the blob does not change the user's array
            batch = array[self._next:self._next + self.batch_size].copy()
            blob.reshape(*batch.shape)
            blob.tensor = torch.from_numpy(batch).to(common.device())
        self._next = (self._next + self.batch_size) % len(self._arrays[0])


def _check_array(name, array, shape):
    if array.dtype != np.float32 or not array.flags.c_contiguous:
        raise CaffeError(f'{name} must be a C-contiguous float32 array, not of {array.dtype}')
    if array.ndim != 4 or array.shape[1:] != shape:
        raise CaffeError(f'{name} must be of shape (M, {", ".join(map(str, shape))}), '
                         f'not {array.shape}')
