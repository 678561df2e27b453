"""Read and write a net's parameters: a .caffemodel (binary NetParameter)."""

import math

import numpy as np
import torch

from .errors import CaffeError
from .files import is_hdf5, naming, read_message, write_aside
from .proto import caffe_pb2, weights_pb2
from .weights_hdf5 import copy_hdf5, read_hdf5

LEGACY = ('num', 'channels', 'height', 'width')     # in files older than the field `shape`


def read_weights(path):
    """Yield (layer name, [array, ...]) of a .caffemodel, float32 in the stored shapes.

    HDF5 files are recognized by their content. Arrays are read-only. Raises CaffeError naming the
    file and, if possible, the layer.
    """
    if is_hdf5(path):
        yield from read_hdf5(path)
        return
    for name, blobs in _read_layers(path):
        with naming(f'{path}: layer {name!r}'):
            arrays = [blob_arrays(blob)[0] for blob in blobs]
        yield name, arrays


def copy_weights(path, params):
    """Fill `params` (layer name -> blobs) from the file `path` by layer name, as Caffe does.

    HDF5 files are recognized by their content. Layers that only the file or only `params` has are
    skipped. If a .caffemodel has diffs, they are copied too. Raises CaffeError naming file, layer
    and both shapes if a parameter does not fit; no parameter is changed then.
    """
    if is_hdf5(path):
        copy_hdf5(path, params)
        return
    found = []
    for name, stored in _read_layers(path):
        if name not in params:
            continue
        blobs = params[name]
        with naming(f'{path}: layer {name!r}'):
            if len(stored) != len(blobs):
                raise CaffeError(f'has {len(stored)} parameters, but the net needs {len(blobs)}')
            for index, (source, blob) in enumerate(zip(stored, blobs, strict=True)):
                if not _fits(source, blob.shape):
                    raise CaffeError(f'parameter {index} has the shape {_shape(source)}, '
                                     f'but the net needs {blob.shape}')
                found.append((blob, *blob_arrays(source)))
    for blob, data, diff in found:
        blob.tensor = torch.from_numpy(data.reshape(blob.shape).copy())
        if diff is not None:
            blob.diff_tensor = torch.from_numpy(diff.reshape(blob.shape).copy())


def write_weights(path, name, layers, diffs=False):
    """Write (LayerParameter, blobs) pairs as the .caffemodel of the net `name`.

    With `diffs`, the blobs' diffs are written too. An existing file is replaced only when the new
    one is complete.
    """
    # one layer at a time, to avoid a second copy of all weights in memory
    write_aside(path, _serialize(name, layers, diffs))


def _serialize(name, layers, diffs):
    yield caffe_pb2.NetParameter(name=name).SerializeToString()
    for param, blobs in layers:
        head = caffe_pb2.NetParameter(layer=[param])
        del head.layer[0].blobs[:]
        raw = weights_pb2.RawNetParameter.FromString(head.SerializeToString())
        for blob in blobs:
            stored = raw.layer[0].blobs.add(data=_packed(blob.tensor), shape={'dim': blob.shape})
            if diffs:
                stored.diff = _packed(blob.diff_tensor)
        yield raw.SerializeToString()


def blob_arrays(blob):
    """Return data and diff of a RawBlob in the stored shape, float32 and read-only.

    The diff may be None. Raises CaffeError if the number of values does not fit the shape.
    """
    shape = _shape(blob)
    has_diff = blob.diff or blob.double_diff
    return (_values(blob.data, blob.double_data, shape),
            _values(blob.diff, blob.double_diff, shape) if has_diff else None)


def _read_layers(path):
    net = read_message(path, weights_pb2.RawNetParameter(), 'caffemodel')
    for layer in [*net.layers, *net.layer]:
        if isinstance(layer, weights_pb2.RawV1Layer) and layer.HasField('layer'):
            layer = layer.layer
        yield layer.name, layer.blobs


def _is_legacy(blob):
    return any(blob.HasField(field) for field in LEGACY)


def _shape(blob):
    return tuple(getattr(blob, field) for field in LEGACY) if _is_legacy(blob) else (
        tuple(blob.shape.dim))


def _fits(blob, wanted):
    # legacy shapes are padded to four axes with leading ones; a `shape` is exact
    if _is_legacy(blob):
        wanted = (1,) * (4 - len(wanted)) + wanted
    return _shape(blob) == wanted


def _values(floats, doubles, shape):
    try:
        values = (np.frombuffer(doubles, '<f8').astype(np.float32) if doubles
                  else np.frombuffer(floats, '<f4'))
        if values.size != math.prod(shape):
            raise ValueError(f'{values.size} values for a blob of shape {shape}')
        return values.reshape(shape)
    except ValueError as error:
        raise CaffeError(f'{error}') from None


def _packed(tensor):
    return tensor.detach().cpu().contiguous().numpy().astype('<f4', copy=False).tobytes()
