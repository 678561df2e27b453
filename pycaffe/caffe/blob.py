"""Blob: an N-d array of float32 with its gradient, a tensor for layers and NumPy for users."""

import math
import sys

import numpy as np
import torch

from . import common
from .errors import CaffeError


class SyncedMemory:
    """One array that layers see as a tensor and users as a NumPy view, kept equal.

    Until the array is requested, the tensor may have any memory layout and be on a GPU. From then
    on it is in C order on the host, and the caller may read and write the array at any time, as in
    Caffe. Memory is allocated on first use; the initial values are zeros.
    """

    def __init__(self, shape, shared=False):
        self.shape = tuple(shape)
        self._shared = shared   # the tensor may belong to other memory too; hidden from users
        self._tensor = None     # what layers computed last, or what mirrors _array
        self._array = None      # the user's view; on the CPU it shares its memory with _tensor
        self._exposed = False   # a user may have written to _array since _tensor was made
        self._stale = False     # _tensor is newer than _array, which a user still holds
        self._version = 0
        self._restore = None    # recomputes the tensor after it was dropped

    @property
    def array(self):
        """C-contiguous float32 array on the host, which may be read and written in place."""
        if self._array is None:
            host = self.tensor.cpu().contiguous()
            if self._shared and host.data_ptr() == self._tensor.data_ptr():
                host = host.clone()
            self._array = host.detach().numpy()
            if self._tensor.device.type == 'cpu':
                self._tensor = host
        elif self._stale:
            self._array[...] = self._tensor.detach().cpu().numpy()
        self._stale = False
        self._exposed = True
        return self._array

    @property
    def tensor(self):
        """The tensor on the current device, including what a user wrote to the array."""
        device = common.device()
        if self._tensor is None and self._restore is not None:
            restore, self._restore = self._restore, None
            restore()
        if self._tensor is None:
            self._tensor = torch.from_numpy(np.zeros(self.shape, np.float32)).to(device)
        if self._array is not None and self._exposed and self._tensor.device.type != 'cpu':
            self._tensor = torch.from_numpy(self._array).to(device)
            self._settle()
        if self._tensor.device != device:   # the mode has changed; a user's array stays the mirror
            source = self._tensor if self._array is None else torch.from_numpy(self.array)
            self._tensor = source.to(device)
        return self._tensor

    @tensor.setter
    def tensor(self, value):
        self._version += 1
        self._restore = None
        if self._array is not None and not self._held():
            self._forget_array()
        if self._array is None or self._tensor.device.type != 'cpu' or value.device.type != 'cpu':
            self._tensor = value
            self._stale = self._array is not None
            self._exposed = False
        elif value.data_ptr() != self._tensor.data_ptr():
            self._array[...] = value.detach().numpy()

    @property
    def version(self):
        """A counter that changes whenever the content may have changed."""
        if self._exposed:
            self._version += 1
            self._settle()
        return self._version

    def release(self):
        """Drop a result that is about to be recomputed, so that its memory can be reused."""
        if self._array is None or not self._held():
            self._tensor = None
            self._forget_array()

    def defer(self, restore):
        """Drop the tensor, unless a user holds it; `restore()` sets it again when it is needed."""
        self.release()
        if self._tensor is None:
            self._restore = restore

    def clear(self):
        """Set all values to zero; free the memory unless a user holds the array."""
        self._version += 1
        self.release()
        if self._array is not None:
            self._array[...] = 0
            self._tensor = torch.from_numpy(self._array).to(common.device())
            self._stale, self._exposed = False, True

    def reshape(self, shape):
        """Change the shape without changing the count; the values stay."""
        self.shape = tuple(shape)
        self._restore = None
        if self._tensor is not None:
            self._tensor = self.tensor.reshape(shape)
            self._forget_array()
            self._version += 1

    def subtract(self, update):
        """Subtract a tensor in place."""
        # .data: nothing that autograd recorded with these values is used again
        self.tensor.data.sub_(update)
        self._version += 1
        if self._array is not None and self._tensor.device.type != 'cpu':
            self._stale = True

    @property
    def is_dropped(self):
        """Whether the values were dropped and must be recomputed."""
        return self._tensor is None

    @property
    def is_zero(self):
        """Whether nothing was ever written, so that no memory is allocated yet."""
        return self._tensor is None and self._restore is None

    @property
    def is_held(self):
        """Whether a user holds the array, and so sees what is written to it."""
        return self._array is not None and self._held()

    def _held(self):
        # The array, or any view of it, keeps _array alive: there are then more references than our
        # attribute and the call's own argument.
        return sys.getrefcount(self._array) > 2

    def _settle(self):
        self._exposed = self._held()

    def _forget_array(self):
        self._array = None
        self._exposed = self._stale = False


class Blob:
    """Caffe's blob: `data` and `diff` of one shape, float32.

    `data` and `diff` are NumPy arrays that may be read and written in place. `tensor` and
    `diff_tensor` are the same values as layers see them, on the current device.

    >>> blob = Blob((2, 3))
    >>> blob.data[...] = [[0, 1, 2], [3, 4, 5]]
    >>> blob.count, float(blob.data.sum())
    (6, 15.0)
    """

    def __init__(self, shape=()):
        self._shape = tuple(shape)
        self._data = SyncedMemory(shape)
        # autograd hands the same tensor on where a gradient passes unchanged
        self._diff = SyncedMemory(shape, shared=True)

    def __repr__(self):
        return f'Blob{self.shape}'

    @property
    def shape(self):
        """The dimensions, a tuple."""
        return self._shape

    @property
    def count(self):
        return math.prod(self._shape)

    # The memory may be shared with a blob of another shape and the same count.

    @property
    def data(self):
        return self._data.array.reshape(self._shape)

    @property
    def diff(self):
        return self._diff.array.reshape(self._shape)

    @property
    def tensor(self):
        return _shaped(self._data.tensor, self._shape)

    @tensor.setter
    def tensor(self, value):
        self._data.tensor = _shaped(value, self._data.shape)

    @property
    def diff_tensor(self):
        return _shaped(self._diff.tensor, self._shape)

    @diff_tensor.setter
    def diff_tensor(self, value):
        self._diff.tensor = _shaped(value, self._diff.shape)

    @property
    def has_diff(self):
        """False while `diff` is zero because nothing has been written to it."""
        return not self._diff.is_zero

    @property
    def has_data(self):
        """False while `data` is zero because nothing has been written to it."""
        return not self._data.is_zero

    @property
    def data_is_held(self):
        """Whether a user holds `data`; then its memory is overwritten, not replaced."""
        return self._data.is_held

    @property
    def version(self):
        """Changes whenever `data` may have changed."""
        return self._data.version

    def reshape(self, *shape):
        """Change the shape; the values stay if the count does, otherwise they become zeros."""
        shape = tuple(int(dim) for dim in shape)
        if any(dim < 0 for dim in shape):
            raise CaffeError(f'a blob cannot have the shape {shape}')
        if shape == self._shape:
            return
        for name in ('_data', '_diff'):
            memory = getattr(self, name)
            if math.prod(shape) == math.prod(memory.shape):
                memory.reshape(shape)
            else:
                setattr(self, name, SyncedMemory(shape, shared=name == '_diff'))
        self._shape = shape

    def release(self):
        """Drop `data` before a layer recomputes it."""
        self._data.release()

    def defer(self, restore):
        """Drop `data`; `restore()` is called to set it again when it is next read."""
        self._data.defer(restore)

    def swap(self, state=None):
        """Replace shape, data and diff by `state` (default: zeros) and return the previous ones.

        The returned state can be passed to this method again later.
        """
        had = self._shape, self._data, self._diff
        self._shape, self._data, self._diff = state or (
            self._shape, SyncedMemory(self._shape), SyncedMemory(self._shape, shared=True))
        return had

    def clear_diff(self):
        """Make `diff` zero."""
        self._diff.clear()

    def add_diff(self, gradient):
        """Add the tensor `gradient` to `diff`."""
        self.diff_tensor = self.diff_tensor + gradient if self.has_diff else gradient

    def subtract(self, update):
        """Subtract the tensor `update` from `data`, in its own memory."""
        self._data.subtract(_shaped(update, self._data.shape))

    def share_data(self, other):
        """Share the other blob's `data` from now on: a write to one is seen in both."""
        self._data = other._data

    def share_diff(self, other):
        """Share the other blob's `diff` from now on."""
        self._diff = other._diff

    @property
    def num(self):
        return self._legacy(0)

    @property
    def channels(self):
        return self._legacy(1)

    @property
    def height(self):
        return self._legacy(2)

    @property
    def width(self):
        return self._legacy(3)

    def _legacy(self, axis):
        if len(self.shape) > 4:
            raise CaffeError('num, channels, height and width need at most 4 axes, '
                             f'not {self.shape}')
        return self.shape[axis] if axis < len(self.shape) else 1


def _shaped(tensor, shape):
    # reshape may change the strides even if the shape stays the same
    return tensor if tensor.shape == shape else tensor.reshape(shape)
