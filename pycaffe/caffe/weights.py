"""A net's parameters in a .caffemodel (a binary NetParameter)."""

import math
import os
import tempfile

import numpy as np
import torch
from google.protobuf.message import DecodeError

from .errors import CaffeError
from .proto import caffe_pb2, weights_pb2


def read_weights(path):
    """Yield (layer name, [array, ...]) of a .caffemodel, float32, each with its stored shape.

    Arrays are read-only. Raises CaffeError that names the file and, where it can, the layer.
    """
    try:
        with open(path, 'rb') as file:
            net = weights_pb2.RawNetParameter.FromString(file.read())
    except OSError as error:
        raise CaffeError(f'{path}: {error.strerror}') from None
    except DecodeError:
        raise CaffeError(f'{path}: is no caffemodel, or a truncated one') from None
    for layer in [*net.layers, *net.layer]:
        try:
            yield layer.name, [_array(blob) for blob in layer.blobs]
        except ValueError as error:
            raise CaffeError(f'{path}: layer {layer.name!r}: {error}') from None


def _array(blob):
    legacy = not blob.HasField('shape')
    shape = ((blob.num, blob.channels, blob.height, blob.width) if legacy
             else tuple(blob.shape.dim))
    values = (np.frombuffer(blob.double_data, '<f8').astype(np.float32) if blob.double_data
              else np.frombuffer(blob.data, '<f4'))
    if values.size != math.prod(shape):
        raise ValueError(f'{values.size} values for a blob of shape {shape}')
    return values.reshape(shape)


def copy_weights(path, params):
    """Fill `params` (layer name -> blobs) from the .caffemodel by layer name, as Caffe does.

    Layers of the file that `params` lacks are passed over, and the other way round. Raises
    CaffeError that names file, layer and both shapes where a parameter does not fit; then no
    parameter has changed.
    """
    found = []
    for name, arrays in read_weights(path):
        if name not in params or not arrays:
            continue
        blobs = params[name]
        if len(arrays) != len(blobs):
            raise CaffeError(f'{path}: layer {name!r} has {len(arrays)} parameters, '
                             f'the net takes {len(blobs)}')
        for index, (array, blob) in enumerate(zip(arrays, blobs)):
            if not _same_shape(array.shape, blob.shape):
                raise CaffeError(f'{path}: layer {name!r}: parameter {index} has the shape '
                                 f'{array.shape}, the net takes {blob.shape}')
            found.append((array, blob))
    for array, blob in found:
        blob.tensor = torch.from_numpy(array.reshape(blob.shape).copy())


def _same_shape(stored, wanted):
    # files of an older Caffe pad shapes to four axes with leading ones
    if len(stored) == 4 and len(wanted) < 4:
        wanted = (1,) * (4 - len(wanted)) + tuple(wanted)
    return tuple(stored) == tuple(wanted)


def write_weights(path, name, layers):
    """Write (LayerParameter, blobs) pairs as the .caffemodel of the net `name`.

    Written aside and renamed: an older file stays whole until the new one is.
    """
    # one layer at a time, so that no second copy of all the weights is made
    write_aside(path, _serialize(name, layers))


def _serialize(name, layers):
    yield caffe_pb2.NetParameter(name=name).SerializeToString()
    for param, blobs in layers:
        head = caffe_pb2.NetParameter(layer=[param])
        del head.layer[0].blobs[:]
        raw = weights_pb2.RawNetParameter.FromString(head.SerializeToString())
        for blob in blobs:
            values = blob.tensor.detach().cpu().contiguous().numpy().astype('<f4', copy=False)
            raw.layer[0].blobs.add(data=values.tobytes(), shape={'dim': blob.shape})
        yield raw.SerializeToString()


def write_aside(path, chunks):
    """Write the byte strings `chunks` to a temporary file beside `path`, then rename it."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=os.path.basename(path) + '.')
    except OSError as error:
        raise CaffeError(f'{path}: {error.strerror}') from None
    try:
        with os.fdopen(handle, 'wb') as file:
            for chunk in chunks:
                file.write(chunk)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)     # mkstemp's own mode would hide it from others
        os.replace(temporary, path)
    except OSError as error:
        raise CaffeError(f'{path}: {error.strerror}') from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
