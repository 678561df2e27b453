"""Reduce the outputs of a projection, to initialize a student with a shorter descriptor.

    net, weights = clip(net, weights, 'pooled_rois/pca', 512)
"""

from collections.abc import Sequence

import numpy as np
from caffe.layer import param_count
from caffe.proto import caffe_pb2

from deep_retrieval.surgery.nets import Weights, copy_net, find_layer


def clip(net: caffe_pb2.NetParameter, weights: Weights, name: str, dim: int,
         new_name: str | None = None, rows: Sequence[int] | None = None,
         mix: np.ndarray | None = None) -> tuple[caffe_pb2.NetParameter, Weights]:
    """Return net and weights in which the InnerProduct layer `name` has `dim` outputs.

    Parameters
    ----------
    net : NetParameter
    weights : dict of str to list of ndarray
    name : str
        The layer, with N outputs; its top has the same name.
    dim : int
        Number of outputs to keep.
    new_name : new name of the layer and its top, optional; by default NAME_DIM
    rows : indices of the outputs to keep, optional; by default the first `dim`
    mix : dim x N, optional
        Weights with which the new outputs are mixed from all N, instead of `rows`.

    Raises
    ------
    ValueError
        There is no such layer or output, the new name is taken, or the parameters of a layer that
        reads the output would no longer fit.
    """
    net = copy_net(net)
    index = find_layer(net, name)
    layer = net.layer[index]
    if layer.type != 'InnerProduct' or name not in weights:
        raise ValueError(f'layer {name!r} is not an InnerProduct with weights')
    new_name = new_name or f'{name}_{dim}'
    if any(other.name == new_name for other in net.layer if other is not layer):
        raise ValueError(f'the net already has a layer {new_name!r}')
    transpose = layer.inner_product_param.transpose
    arrays = (clip_rows(weights[name], dim, rows, transpose) if mix is None
              else mix_rows(weights[name], mix, transpose))
    _narrow_readers(net, index, dim)
    layer.inner_product_param.num_output = dim
    layer.name = new_name
    for reader in net.layer[index:]:
        for blobs in (reader.bottom, reader.top):
            blobs[:] = [new_name if blob == name else blob for blob in blobs]
    return net, {new_name if key == name else key: arrays if key == name else value
                 for key, value in weights.items()}


def clip_rows(arrays: list[np.ndarray], dim: int, rows: Sequence[int] | None = None,
              transpose: bool = False) -> list[np.ndarray]:
    """Return `dim` outputs of an InnerProduct's parameters.

    arrays : weights, N x K (K x N with `transpose`), and optionally the bias, N
    rows : indices of the outputs; by default the first `dim`
    """
    outputs = arrays[0].shape[1 if transpose else 0]
    rows = np.arange(dim) if rows is None else np.asarray(rows)
    if rows.ndim != 1 or rows.dtype.kind not in 'iu':
        raise ValueError('rows must be a list of integers')
    if len(rows) != dim or dim > outputs:
        raise ValueError(f'cannot keep {dim} outputs: there are {min(len(rows), outputs)}')
    if rows.min() < 0 or rows.max() >= outputs:
        raise ValueError(f'rows must be from 0 to {outputs - 1}')
    return [np.take(array, rows, axis=1 if transpose and array.ndim == 2 else 0)
            for array in arrays]


def mix_rows(arrays: list[np.ndarray], mix: np.ndarray, transpose: bool = False
             ) -> list[np.ndarray]:
    """Return mixtures (M x N) of the N outputs of an InnerProduct's parameters.

    arrays, transpose : see `clip_rows`
    """
    outputs = arrays[0].shape[1 if transpose else 0]
    if mix.shape[1] != outputs:
        raise ValueError(f'the mixtures are of {mix.shape[1]} outputs, but there are {outputs}')
    return [array @ mix.T if transpose and array.ndim == 2 else mix @ array for array in arrays]


def _narrow_readers(net, index, dim):
    """Change the Reshapes after a layer to `dim` channels; refuse parameters that would not fit."""
    narrow = set(net.layer[index].top)
    for layer in net.layer[index + 1:]:
        if not narrow.intersection(layer.bottom):
            continue
        if param_count(layer):
            raise ValueError(f'layer {layer.name!r} reads the layer to clip, and its parameters '
                             'would not fit')
        dims = layer.reshape_param.shape.dim
        if layer.type == 'Reshape' and len(dims) > 1 and dims[1] > 0:
            dims[1] = dim
        narrow.update(layer.top)
