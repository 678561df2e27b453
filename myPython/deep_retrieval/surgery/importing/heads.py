"""Heads: from the last map of a net to one descriptor per image.

A head adds layers to a NetSpec, and parameters to `weights`. All pool the whole map, except 'rmac',
which pools the toolkit's regions.
"""

import os
from collections import namedtuple
from collections.abc import Mapping

import numpy as np
from caffe import NetSpec
from caffe import layers as L
from caffe.net_spec import Top

from deep_retrieval.surgery.nets import Weights

POWER = 3       # of GeM, where none was learned

# A map: its top, its blob's name, its channels, and pixels per cell.
Features = namedtuple('Features', 'top blob channels stride')
# A vector per image or region: its top, its blob's name and its dimension.
End = namedtuple('End', 'top blob dimension')


def python_layer(layer: str, *bottoms, **param_str) -> Top:
    """Return the top of a layer of custom_layers."""
    return L.Python(*bottoms, module='custom_layers', layer=layer, param_str=str(param_str))


def add(n: NetSpec, name: str, top: Top, dimension: int) -> End:
    """Name a layer, and return its End."""
    n[name] = top
    return End(n[name], name, dimension)


def pool(n: NetSpec, weights: Weights, features: Features, kind: str, power: float = POWER) -> End:
    """Pool the whole map: 'mac' by the maximum, 'spoc' by the mean, 'gem' by the generalized mean.
    """
    if kind == 'gem':
        weights['gem'] = [np.array([power], np.float32)]
        return add(n, 'gem', python_layer('GeMLayer', features.top, p=float(power)),
                   features.channels)
    method = {'mac': 'MAX', 'spoc': 'AVE'}[kind]
    return add(n, kind, L.Pooling(features.top, pool=method, global_pooling=True),
               features.channels)


def normalize(n: NetSpec, end: End, name: str | None = None) -> End:
    """Divide by the L2 norm; the layer is called `name`, by default BLOB/normalized."""
    return add(n, name or f'{end.blob}/normalized', python_layer('NormalizeLayer', end.top),
               end.dimension)


def project(n: NetSpec, weights: Weights, end: End, name: str, matrix: np.ndarray,
            bias: np.ndarray) -> End:
    """Multiply by `matrix` (D x dimension), and add `bias` (D)."""
    weights[name] = [np.asarray(matrix, np.float32), np.asarray(bias, np.float32)]
    return add(n, name, L.InnerProduct(end.top, num_output=len(matrix)), len(matrix))


def whiten(n: NetSpec, weights: Weights, end: End, name: str, mean: np.ndarray,
           matrix: np.ndarray) -> End:
    """Subtract `mean` (dimension), and multiply by `matrix` (D x dimension)."""
    matrix = np.asarray(matrix, np.float64)
    return project(n, weights, end, name, matrix, -matrix @ np.asarray(mean, np.float64).ravel())


def rmac(n: NetSpec, weights: Weights, features: Features) -> End:
    """Sum the normalized maxima of the toolkit's regions, and normalize."""
    return sum_regions(n, regions(n, weights, features, n['rois'], 'mac', 1 / features.stride),
                       n['rois'])


def regions(n: NetSpec, weights: Weights, features: Features, rois: Top, kind: str, scale: float,
            power: float = POWER) -> End:
    """Pool each region, as `pool` does, and normalize.

    `scale` is the number of cells per unit of the rois. The mean is the generalized mean of power
    1, so the map must not be negative.
    """
    if kind == 'mac':
        top = L.ROIPooling(features.top, rois, pooled_w=1, pooled_h=1, spatial_scale=scale)
    else:
        power = 1 if kind == 'spoc' else power
        weights['pooled_rois'] = [np.array([power], np.float32)]
        top = python_layer('GeMLayer', features.top, rois, p=float(power), spatial_scale=scale)
    return normalize(n, add(n, 'pooled_rois', top, features.channels))


def sum_regions(n: NetSpec, end: End, rois: Top) -> End:
    """Sum the vectors of each image's regions, and normalize."""
    n['pooled_rois/flat'] = L.Reshape(end.top, shape=dict(dim=[0, end.dimension, 1, 1]))
    total = python_layer('AggregateLayer', n['pooled_rois/flat'], rois)
    return normalize(n, add(n, 'rmac', total, end.dimension))


def _whole(kind):
    def head(n, weights, features):
        return normalize(n, pool(n, weights, features, kind), 'descriptor')
    head.__doc__ = f'Pool the whole map by {kind}, and normalize.'
    return head


# name -> function of a NetSpec, weights and Features
HEADS = {'rmac': rmac, 'gem': _whole('gem'), 'mac': _whole('mac'), 'spoc': _whole('spoc')}


def linear(state: Mapping[str, np.ndarray], name: str, inputs: int, file: str | os.PathLike
           ) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and bias of a linear layer; ValueError if they are missing or do not fit."""
    missing = [key for key in (f'{name}.weight', f'{name}.bias') if key not in state]
    if missing:
        raise ValueError(f'{file}: {" and ".join(missing)} is missing')
    matrix, bias = state[f'{name}.weight'], state[f'{name}.bias']
    if matrix.ndim != 2 or matrix.shape[1] != inputs or bias.shape != matrix.shape[:1]:
        raise ValueError(f'{file}: {name} is {matrix.shape} with a bias {bias.shape}, but must '
                         f'take {inputs} dimensions')
    return matrix, bias
