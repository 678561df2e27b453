"""Import networks of cnnimageretrieval-pytorch (Radenovic, Tolias and Chum, TPAMI 2019).

    made = import_cirtorch('retrievalSfM120k-resnet101-gem.pth')

The checkpoint's `meta` says what the net is: a ResNet or VGG, local whitening of the map, a pooling
of the map or of its regions, and whitening. `meta` may also have whitenings that were learned
afterwards (`Lw`), by the name of the images.
"""

import os
import re

import numpy as np
from caffe import layers as L

from deep_retrieval.surgery.importing import frameworks, heads
from deep_retrieval.surgery.importing.imported import Imported
from deep_retrieval.surgery.importing.reading import numbers, state_of
from deep_retrieval.surgery.importing.resnet import Layout, build_trunk, finish, start
from deep_retrieval.surgery.importing.unpickling import read_checkpoint
from deep_retrieval.surgery.importing.vgg import build_vgg
from deep_retrieval.surgery.torch_import import TORCH_MEAN, TORCH_STD

IGNORED = r'(pool|whiten|lwhiten)\.|.*num_batches_tracked$'
PARTS = {'0': 'conv1', '1': 'bn1', **{str(i + 3): f'layer{i}' for i in range(1, 5)}}
POOLINGS = ('mac', 'spoc', 'gem', 'rmac')
LEVELS = 3      # of their regions


def import_cirtorch(file: str | os.PathLike, whitening: str | None = None,
                    multires: bool = False, dim: int | None = None) -> Imported:
    """Import a network.

    Parameters
    ----------
    file : path
    whitening : name of a whitening in `Lw` that follows the net, optional
    multires : whether to take the whitening that was learned at several resolutions
    dim : number of its first outputs to keep, optional

    Raises
    ------
    ValueError, FileNotFoundError
        The file cannot be read, or holds another net; one line.
    """
    checkpoint = read_checkpoint(file)
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict) or 'architecture' not in meta:
        raise ValueError(f'{file}: has no meta with an architecture, so it is not of '
                         'cnnimageretrieval-pytorch')
    arch, pooling = str(meta['architecture']), str(meta.get('pooling', 'gem'))
    if not re.match(r'resnet|vgg', arch):
        raise ValueError(f'{file}: the architecture {arch!r} cannot be imported; known are ResNets '
                         'and VGGs')
    if pooling not in POOLINGS or pooling == 'rmac' and meta.get('regional'):
        raise ValueError(f'{file}: the pooling {pooling!r} cannot be imported'
                         + (' of regions' if pooling == 'rmac' else
                            f'; known are {", ".join(POOLINGS)}'))
    mean = numbers(meta.get('mean', TORCH_MEAN), 3, f'{file}: the mean')
    std = numbers(meta.get('std', TORCH_STD), 3, f'{file}: the std')
    state = state_of(checkpoint, file)
    n, weights = start(), {}
    if arch.startswith('vgg'):
        features = build_vgg(n, weights, state, std, file, IGNORED)
    else:
        state = {_torchvision_name(name): value for name, value in state.items()}
        features = build_trunk(n, weights, state, std, file, ignored=IGNORED)
    last = features
    if meta.get('local_whitening'):
        last = _whiten_map(n, weights, features,
                           *heads.linear(state, 'lwhiten', features.channels, file))
    end = _pool(n, weights, state, last, pooling, meta, file)
    found = _find_whitening(meta.get('Lw'), whitening, multires, file)
    if meta.get('whitening'):
        end = heads.project(n, weights, end, 'whiten', *heads.linear(state, 'whiten', end.dimension,
                                                                     file))
        end = heads.normalize(n, end, None if found else 'descriptor')
    if found:
        end = heads.whiten(n, weights, end, 'lw', found[0], _first(found[1], dim, end, file))
        end = heads.normalize(n, end, 'descriptor')
    made = finish(n, weights, features, end, mean, f'{arch}, {os.path.basename(file)}')
    if arch.startswith('vgg'):
        return made
    return frameworks.compare_trunk(made, state, Layout.of(state), mean, std)


def _torchvision_name(name):
    """The name of a tensor in torchvision's ResNets, whose layers they number."""
    match = re.fullmatch(r'features\.(\d)\.(.+)', name)
    return f'{PARTS.get(match[1], match[1])}.{match[2]}' if match else name


def _whiten_map(n, weights, features, matrix, bias):
    """Multiply each cell of a map by a matrix: a convolution."""
    weights['lwhiten'] = [matrix[:, :, None, None], bias]
    n['lwhiten'] = L.Convolution(features.top, num_output=len(matrix), kernel_size=1)
    return heads.Features(n['lwhiten'], 'lwhiten', len(matrix), features.stride)


def _pool(n, weights, state, features, pooling, meta, file):
    """One normalized vector per image."""
    power = heads.POWER
    for name in ('pool.p', 'pool.rpool.p'):
        if name in state:
            power = float(state[name].ravel()[0])
    if pooling != 'rmac' and not meta.get('regional'):
        return heads.normalize(n, heads.pool(n, weights, features, pooling, power))
    if pooling == 'spoc' and meta.get('local_whitening'):
        raise ValueError(f'{file}: the mean over regions of a whitened map cannot be imported')
    # the regions are those of the map, not of the image
    n['map_rois'] = heads.python_layer('MapGridLayer', features.top, L=LEVELS)
    end = heads.regions(n, weights, features, n['map_rois'],
                        'mac' if pooling == 'rmac' else pooling, 1, power)
    if meta.get('regional'):
        end = heads.project(n, weights, end, 'rwhiten',
                            *heads.linear(state, 'pool.whiten', end.dimension, file))
        end = heads.normalize(n, end)
    return heads.sum_regions(n, end, n['map_rois'])


def _find_whitening(found, name, multires, file):
    """Mean and matrix of a whitening that was learned afterwards, or None."""
    if name in (None, 'none'):
        return None
    found = found if isinstance(found, dict) else {}
    kind = 'ms' if multires else 'ss'
    if name not in found or kind not in found[name]:
        raise ValueError(f'{file}: has no whitening {name!r}, but {", ".join(found) or "none"}')
    return tuple(np.asarray(found[name][kind][part], np.float64) for part in ('m', 'P'))


def _first(matrix, dim, end, file):
    """The first `dim` rows of a matrix that takes the dimensions of `end`."""
    if matrix.ndim != 2 or matrix.shape[1] != end.dimension:
        raise ValueError(f'{file}: the whitening is {matrix.shape}, but must take {end.dimension} '
                         'dimensions')
    if dim is not None and not 1 <= dim <= len(matrix):
        raise ValueError(f'{file}: {dim} dimensions were asked for, but the whitening has '
                         f'{len(matrix)}')
    return matrix[:dim]
