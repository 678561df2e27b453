"""A reader of PyTorch checkpoints that hold more than tensors, and runs nothing that is in them.

    checkpoint = read_checkpoint('Resnet101-AP-GeM.pt')     # tensors become arrays

A pickle is a program that may call any function. This reader knows a few names only, and each
stands for a function of its own: tensors, the containers of Python, NumPy arrays, and the PCA of
scikit-learn, which becomes a `PCA` with the same arrays. Any other name ends the reading. It reads
the zip archives of PyTorch since 1.6, and the older files: five pickles and the tensors' bytes.
"""

import collections
import io
import math
import os
import pickle
import struct
import zipfile
from typing import Any, BinaryIO

import numpy as np

from deep_retrieval import store

MAGIC = 0x1950a86a20f9469cfc6c      # of PyTorch's older files
PROTOCOL = 1001
DTYPES = {'FloatStorage': 'f4', 'DoubleStorage': 'f8', 'HalfStorage': 'f2', 'LongStorage': 'i8',
          'IntStorage': 'i4', 'ShortStorage': 'i2', 'CharStorage': 'i1', 'ByteStorage': 'u1',
          'BoolStorage': '?', 'BFloat16Storage': 'bf16'}
PCA_ARRAYS = ('mean_', 'components_', 'explained_variance_')


class Refused(pickle.UnpicklingError):
    """A checkpoint names something that is not on the list."""


class PCA:
    """The arrays of a scikit-learn PCA: mean_, components_, explained_variance_; and `whiten`."""

    def __setstate__(self, state):
        for name in PCA_ARRAYS:
            if not isinstance(state.get(name), _Array):
                raise Refused(f'a PCA without the array {name}')
            setattr(self, name, state[name].array().astype(np.float64))
        self.whiten = bool(state.get('whiten', False))


def read_checkpoint(file: str | os.PathLike) -> dict:
    """Read a checkpoint of tensors, containers, NumPy arrays and scikit-learn's PCA.

    Parameters
    ----------
    file : path

    Returns
    -------
    dict
        Tensors are ndarrays, and PCA objects are `PCA`.

    Raises
    ------
    FileNotFoundError, ValueError
        The file is missing or damaged, or names anything else; the message has that name.
    """
    with open(file, 'rb') as stream, store.reading(file, 'a checkpoint of PyTorch'):
        try:
            found = (_read_zip if zipfile.is_zipfile(stream) else _read_old)(stream)
        except Refused as error:
            raise ValueError(f'{file}: holds {error}, which is not a tensor, a container, a NumPy '
                             'array or a PCA; it is refused') from error
    if not isinstance(found, dict):
        raise ValueError(f'{file}: is a {type(found).__name__}, not a checkpoint')
    return found


# What the names in a pickle stand for. The classes have no attributes that a pickle could set.

class _Dtype:
    """A dtype of numbers; of its state only the byte order counts."""

    __slots__ = ('dtype',)

    def __init__(self, name='f4', *flags):
        dtype = np.dtype(name)
        if dtype.kind not in 'biuf':
            raise Refused(f'an array of the dtype {name!r}')
        self.dtype = dtype

    def __setstate__(self, state):
        if state[1] in ('<', '>'):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Reconstruct:
    __slots__ = ()

    def __call__(self, kind, shape, code):
        return _Array()


class _Array:
    """An array, empty until its state comes."""

    __slots__ = ('values',)

    def __setstate__(self, state):
        _, shape, dtype, in_columns, data = state
        if not isinstance(dtype, _Dtype):
            raise Refused('an array without a dtype')
        data = data.encode('latin1') if isinstance(data, str) else data
        self.values = np.frombuffer(data, dtype.dtype).reshape(
            shape, order='F' if in_columns else 'C').astype(dtype.dtype.newbyteorder('='))

    def array(self):
        return self.values


class _Scalar:
    __slots__ = ()

    def __call__(self, dtype, data):
        if not isinstance(dtype, _Dtype):
            raise Refused('a scalar without a dtype')
        data = data.encode('latin1') if isinstance(data, str) else data
        return np.frombuffer(data, dtype.dtype)[0].item()


class _Encode:
    __slots__ = ()

    def __call__(self, text, encoding='latin1'):
        return str(text).encode('latin1')


class _Tensor:
    __slots__ = ()

    def __call__(self, storage, offset, shape, strides, *rest):
        return _Strided(storage, offset, tuple(shape), tuple(strides))


class _Parameter:
    __slots__ = ()

    def __call__(self, tensor, *rest):
        return tensor


class _Type:
    """The type of a storage, which only names a dtype."""

    __slots__ = ('dtype',)

    def __init__(self, dtype):
        object.__setattr__(self, 'dtype', dtype)

    def __setattr__(self, name, value):
        raise Refused(f'the attribute {name} of a type')


class _Strided:
    """A tensor whose bytes may be read later."""

    __slots__ = ('storage', 'offset', 'shape', 'strides')

    def __init__(self, storage, offset, shape, strides):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self):
        values = self.storage.values
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides,
                                                                   strict=True))
        if min((self.offset, *self.shape, *self.strides)) < 0:
            raise ValueError('a tensor has a negative size')
        if math.prod(self.shape) == 0:
            return np.zeros(self.shape, values.dtype)
        if last >= len(values) or math.prod(self.shape) > len(values):
            raise ValueError('a tensor is larger than its data')
        size = values.itemsize
        return np.lib.stride_tricks.as_strided(
            values[self.offset:], self.shape, [step * size for step in self.strides]).copy()


class _Storage:
    __slots__ = ('dtype', 'count', 'values')

    def __init__(self, dtype, count):
        self.dtype, self.count, self.values = dtype, count, None

    def fill(self, data):
        if self.dtype == 'bf16':        # the upper half of a float32
            wide = np.frombuffer(data, '<u2').astype(np.uint32) << 16
            self.values = wide.view(np.float32)
        else:
            self.values = np.frombuffer(data, np.dtype(self.dtype))


MULTIARRAY = ('numpy.core.multiarray', 'numpy._core.multiarray')
KNOWN = {
    ('collections', 'OrderedDict'): collections.OrderedDict,
    ('numpy', 'dtype'): _Dtype, ('numpy', 'ndarray'): None,
    ('_codecs', 'encode'): _Encode(),
    ('torch._utils', '_rebuild_tensor'): _Tensor(),
    ('torch._utils', '_rebuild_tensor_v2'): _Tensor(),
    ('torch._utils', '_rebuild_parameter'): _Parameter(),
    ('torch', 'Size'): tuple,
    **{(module, 'set'): set for module in ('builtins', '__builtin__')},
    **{(module, '_reconstruct'): _Reconstruct() for module in MULTIARRAY},
    **{(module, 'scalar'): _Scalar() for module in MULTIARRAY},
    **{('torch', name): _Type(dtype) for name, dtype in DTYPES.items()},
    **{(f'sklearn.decomposition.{module}', 'PCA'): PCA for module in ('pca', '_pca')},
}


class _Reader(pickle.Unpickler):
    """An Unpickler of the names in KNOWN."""

    def __init__(self, stream, storages):
        super().__init__(stream, encoding='latin1')
        self.storages = storages

    def find_class(self, module, name):
        if (module, name) not in KNOWN:
            raise Refused(f'{module}.{name}')
        return KNOWN[module, name]

    def persistent_load(self, key):
        if not isinstance(key, tuple):
            raise ValueError('a tensor has no data')
        kind, dtype, name, _, count, *_ = key
        if kind != 'storage' or not isinstance(dtype, _Type):
            raise Refused(f'a persistent {kind}')
        return self.storages.setdefault(str(name), _Storage(dtype.dtype, int(count)))


def _read_zip(stream: BinaryIO) -> Any:
    storages = {}
    with zipfile.ZipFile(stream) as archive:
        names = archive.namelist()
        if any(name.endswith('/constants.pkl') for name in names):
            raise Refused('TorchScript, which is code')
        pickles = [name for name in names if name.endswith('/data.pkl')]
        if len(pickles) != 1:
            raise ValueError('the archive has no data.pkl')
        folder = pickles[0].removesuffix('data.pkl')
        order = f'{folder}byteorder'
        if order in names and archive.read(order) != b'little':
            raise ValueError('the bytes are in big-endian order')
        found = _Reader(io.BytesIO(archive.read(pickles[0])), storages).load()
        for name, storage in storages.items():
            storage.fill(archive.read(f'{folder}data/{name}'))
    return _arrays(found)


def _read_old(stream: BinaryIO) -> Any:
    storages = {}
    stream.seek(0)
    if stream.read(2) == b'PK':
        raise ValueError('the archive ends early')
    stream.seek(0)
    # more than protocol and platform is not said before the pickle itself
    if _Reader(stream, {}).load() != MAGIC or _Reader(stream, {}).load() != PROTOCOL:
        raise ValueError('it does not begin as one')
    _Reader(stream, {}).load()
    found = _Reader(stream, storages).load()
    for name in _Reader(stream, {}).load():
        storage = storages[str(name)]
        count, = struct.unpack('<q', stream.read(8))
        size = 2 if storage.dtype == 'bf16' else np.dtype(storage.dtype).itemsize
        data = stream.read(count * size)
        if count < 0 or len(data) < count * size:
            raise ValueError('the file ends early')
        storage.fill(data)
    return _arrays(found)


def _arrays(found):
    """The same with every tensor as an array."""
    if isinstance(found, (_Strided, _Array)):
        return found.array()
    if isinstance(found, dict):
        return {key: _arrays(value) for key, value in found.items()}
    if isinstance(found, (list, tuple)):
        return type(found)(_arrays(value) for value in found)
    return found
