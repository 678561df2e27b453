"""Read and write a net's parameters in HDF5: dataset data/LAYER/J is parameter J of a layer."""

import io
from contextlib import contextmanager

import numpy as np
import torch

from .errors import CaffeError
from .files import is_hdf5, naming, write_aside
from .optional import need


def write_hdf5(path, layers, diffs=False):
    """Write (LayerParameter, blobs) pairs to the HDF5 file `path`, completely or not at all.

    Every layer has a group; a shared parameter is stored only in that of its first layer. With
    `diffs`, the blobs' diffs are written to diff/LAYER/J, shared or not.
    """
    owned = owners(blobs for _, blobs in layers)
    with create(path) as file:
        for param, blobs in layers:
            with naming(f'{path}: layer {param.name!r}'):
                _write_layer(file, 'data', param.name, {
                    index: blob.data for index, blob in enumerate(blobs) if id(blob) in owned})
                if diffs:
                    _write_layer(file, 'diff', param.name, {
                        index: blob.diff for index, blob in enumerate(blobs)})


def copy_hdf5(path, params):
    """Fill `params` (layer name -> blobs) from the HDF5 file `path`, as `copy_weights` does.

    In the file, a layer may lack parameters that it shares with an earlier layer of the net.
    """
    h5py = need('h5py', 'hdf5')
    owned = owners(params.values())
    found = []
    with reading(path) as file:
        data = file.get('data')
        if not isinstance(data, h5py.Group):
            raise CaffeError('has no group `data`: it holds no weights')
        for name, blobs in params.items():
            layer = data.get(name)
            if not isinstance(layer, h5py.Group):
                continue
            with naming(f'layer {name!r}'):
                # a nested group belongs to a layer with a slash in its name
                count = sum(isinstance(layer.get(key), h5py.Dataset) for key in layer)
                if count > len(blobs):
                    raise CaffeError(f'has {count} parameters, but the net needs {len(blobs)}')
                for index, blob in enumerate(blobs):
                    if str(index) in layer or id(blob) in owned:
                        found.append((blob, _read_param(layer, index, blob.shape)))
    for blob, array in found:
        blob.tensor = torch.from_numpy(array)


def read_hdf5(path):
    """Yield (layer name, [array, ...]) of an HDF5 file of weights.

    A layer lacks the parameters that it shares with an earlier one. Raises CaffeError naming the
    file.
    """
    h5py = need('h5py', 'hdf5')
    with reading(path) as file:
        if not isinstance(file.get('data'), h5py.Group):
            raise CaffeError('has no group `data`: it holds no weights')
        names = []
        file['data'].visititems(
            lambda name, item: names.append(name) if isinstance(item, h5py.Group) else None)
        for name in names:
            layer = file['data'][name]
            indices = sorted(int(key) for key in layer
                             if key.isdigit() and isinstance(layer.get(key), h5py.Dataset))
            yield name, [read_dataset(layer, str(index)) for index in indices]


def owners(params):
    """Return the ids of the blobs, given as lists in the net's order, that own their memory."""
    first = {}
    for blobs in params:
        for blob in blobs:
            first.setdefault(blob.data.ctypes.data, id(blob))
    return set(first.values())


@contextmanager
def create(path):
    """Yield an h5py.File for the block to fill; it is then written to `path` all at once."""
    h5py = need('h5py', 'hdf5')
    buffer = io.BytesIO()       # in memory, because HDF5 crashes on a full disk
    with h5py.File(buffer, 'w') as file:
        yield file
    write_aside(path, [buffer.getbuffer()])


@contextmanager
def reading(path):
    """Yield the open h5py.File; CaffeErrors, and errors caused by a damaged file, name it."""
    h5py = need('h5py', 'hdf5')
    if not is_hdf5(path):
        raise CaffeError(f'{path}: is not an HDF5 file')
    try:
        with h5py.File(path, 'r') as file, naming(path):
            yield file
    except CaffeError:
        raise
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, ArithmeticError,
            MemoryError) as error:      # h5py has no exceptions of its own
        message = ' '.join(str(error).split())
        raise CaffeError(f'{path}: is a damaged HDF5 file ({message})') from None


def read_dataset(group, name, dtype=np.float32):
    """Read a numeric dataset as an array of `dtype`; CaffeError if `group` has none of this name.
    """
    h5py = need('h5py', 'hdf5')
    dataset = group.get(name)
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in 'fiu':
        raise CaffeError(f'has no dataset {name} of numbers in {group.name}')
    return np.asarray(dataset[()], dtype)


def _write_layer(file, kind, name, arrays):
    try:
        group = file.require_group(kind).require_group(name)
        for index, array in arrays.items():
            group.create_dataset(str(index), data=array)
    except (ValueError, TypeError) as error:    # a duplicate name, or one that HDF5 does not allow
        raise CaffeError(f'{error}') from None


def _read_param(layer, index, shape):
    # check the shape first: a damaged one may be too large to read
    stored = getattr(layer.get(str(index)), 'shape', shape)
    if stored != shape:
        raise CaffeError(f'parameter {index} has the shape {stored}, but the net needs {shape}')
    return read_dataset(layer, str(index))
