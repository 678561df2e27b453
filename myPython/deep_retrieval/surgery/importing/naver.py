"""Import checkpoints of naver/deep-image-retrieval.

    made = import_naver('Resnet101-AP-GeM.pt', power=0.25)

Their nets (Gordo et al., IJCV 2017; Revaud et al., ICCV 2019) are a ResNet, one global pooling
(GeM, or the maximum in place of R-MAC), a linear layer, and the L2 norm. A checkpoint also has PCA
objects of scikit-learn by the name of the images that they were fitted to. The chosen one becomes a
second linear layer.
"""

import os

import numpy as np

from deep_retrieval.surgery.importing import frameworks, heads
from deep_retrieval.surgery.importing.imported import Imported
from deep_retrieval.surgery.importing.reading import numbers, state_of
from deep_retrieval.surgery.importing.resnet import Layout, build_trunk, finish, start
from deep_retrieval.surgery.importing.unpickling import PCA, read_checkpoint
from deep_retrieval.surgery.torch_import import TORCH_MEAN, TORCH_STD

IGNORED = r'(fc|adpool)\.|.*num_batches_tracked$'
POOLINGS = {'max': 'mac', 'avg': 'spoc', 'gem': 'gem'}      # their names and ours


def import_naver(file: str | os.PathLike, whitening: str | None = None, power: float = 0.5,
                 dim: int | None = None) -> Imported:
    """Import a checkpoint.

    Parameters
    ----------
    file : path
    whitening : name of the PCA in the checkpoint, optional
        By default its only one; 'none' leaves it out.
    power : of the variances that the components are divided by; 0.5 whitens fully
    dim : number of first components to keep, optional

    Raises
    ------
    ValueError, FileNotFoundError
        The file cannot be read, or holds another net; one line.
    """
    checkpoint = read_checkpoint(file)
    options = checkpoint.get('model_options')
    if not isinstance(options, dict) or 'arch' not in options:
        raise ValueError(f'{file}: has no model_options with an arch, so it is not of '
                         'deep-image-retrieval')
    _check_options(options, file)
    state = state_of(checkpoint, file)
    preprocess = checkpoint.get('preprocess') or {}
    mean = numbers(preprocess.get('mean', TORCH_MEAN), 3, f'{file}: the mean')
    std = numbers(preprocess.get('std', TORCH_STD), 3, f'{file}: the std')
    n, weights = start(), {}
    features = build_trunk(n, weights, state, std, file, ignored=IGNORED)

    kind = POOLINGS[options.get('pooling', 'gem')[:3]]
    gem = float(state['adpool.p'][0]) if 'adpool.p' in state else options.get('gemp', heads.POWER)
    end = heads.pool(n, weights, features, kind, gem)
    if options.get('norm_features'):
        end = heads.normalize(n, end)
    if not options.get('without_fc'):
        end = heads.project(n, weights, end, 'fc', *heads.linear(state, 'fc', end.dimension, file))
    pca = find_pca(checkpoint.get('pca'), whitening, file)
    end = heads.normalize(n, end, None if pca else 'descriptor')
    if pca:
        end = heads.whiten(n, weights, end, 'pca', *components(pca, power, dim, end.dimension))
        end = heads.normalize(n, end, 'descriptor')
    made = finish(n, weights, features, end, mean, f'{options["arch"]}, {os.path.basename(file)}')
    return frameworks.compare_trunk(made, state, Layout.of(state), mean, std)


def find_pca(found: PCA | dict[str, PCA] | None, name: str | None,
             file: str | os.PathLike) -> PCA | None:
    """Return the PCA of this name, by default the only one, or None.

    Parameters
    ----------
    found : what the checkpoint has as its PCA: a PCA, a dict of them, or None
    name, file : as of `import_naver`

    Raises
    ------
    ValueError
        There is no PCA of this name, or several and no name was given.
    """
    if isinstance(found, PCA):
        found = {'pca': found}
    found = {key: value for key, value in (found or {}).items() if isinstance(value, PCA)}
    if name == 'none' or name is None and not found:
        return None
    if name is None and len(found) == 1:
        name, = found
    if name not in found:
        known = ', '.join(map(str, found)) or 'none'
        raise ValueError(f'{file}: --whitening must name one of its PCAs: {known}'
                         if name is None else f'{file}: has no PCA {name!r}, but {known}')
    return found[name]


def components(pca: PCA, power: float, dim: int | None, inputs: int
               ) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and matrix (dim x inputs) of a PCA.

    Raises
    ------
    ValueError
        The arrays do not fit the net, or `dim` exceeds the number of components.
    """
    matrix, variance = pca.components_, pca.explained_variance_
    if matrix.ndim != 2 or pca.mean_.shape != (inputs,) or matrix.shape[1] != inputs or (
            variance.shape != matrix.shape[:1]):
        raise ValueError(f'the PCA has components {matrix.shape} and a mean {pca.mean_.shape}, but '
                         f'must take {inputs} dimensions')
    if dim is not None and not 1 <= dim <= len(matrix):
        raise ValueError(f'{dim} dimensions were asked for, but the PCA has {len(matrix)}')
    matrix, variance = matrix[:dim], variance[:dim]
    if pca.whiten and not variance.min() > 0:
        zero = int(np.argmin(variance > 0)) + 1
        raise ValueError(f'component {zero} of the PCA has the variance 0; keep those before it')
    return pca.mean_, matrix / variance[:, None] ** power if pca.whiten else matrix


def _check_options(options, file):
    """Refuse nets that have no counterpart here."""
    arch, pooling = str(options['arch']), str(options.get('pooling', 'gem'))
    if not arch.startswith('resnet') or 'fpn' in arch or not arch.endswith('_rmac'):
        raise ValueError(f'{file}: the arch {arch!r} cannot be imported; known are '
                         'resnet18_rmac, resnet50_rmac, resnet101_rmac and resnet152_rmac')
    if pooling[:3] not in POOLINGS:
        raise ValueError(f'{file}: the pooling {pooling!r} cannot be imported; known are '
                         f'{", ".join(POOLINGS)}')
    if options.get('center_bias'):
        raise ValueError(f'{file}: center_bias cannot be imported, because it depends on the size '
                         'of the map')
