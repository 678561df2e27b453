"""Make demo weights for a deploy net, to try the toolkit without trained ones.

    make('proto/deploy_resnet101.prototxt', 'caffemodel/demo.caffemodel',
         image_paths(dataset='datasets/demo'))

Without a trained trunk, the first convolution gets Gabor filters on brightness and colour, the
others are random (He et al., ICCV 2015), and the BatchNorm statistics are measured on images.
Centring and PCA are fitted to the regions of images.
"""

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deep_retrieval import paths, store
from deep_retrieval.datasets import DATASETS, OxfordHelper
from deep_retrieval.extraction import images_of
from deep_retrieval.images import MEAN, read_image, to_blob
from deep_retrieval.model import (
    END,
    DescriptorNet,
    info_path,
    read_info,
    stored_layers,
    write_info,
)
from deep_retrieval.surgery import pca_layers

if TYPE_CHECKING:
    import caffe

SCRIPT = 'caffemodel/make_demo_model.py'
SOURCE = f'made by {SCRIPT}'
LEVELS = 2                                  # levels of the rigid grid
CENTRE, PROJECT = 'pooled_rois/centered', 'pooled_rois/pca'
BATCH = 16                                  # number of images to measure the statistics on
BATCH_SIZE = (288, 384)                     # their height and width in pixels
BRANCH_GAIN = 0.05      # scales what a block adds, which is mostly noise with random weights

logger = logging.getLogger(__name__)


def make(proto: str | os.PathLike, output: str | os.PathLike, images: Sequence[str], *,
         trunk: str | os.PathLike | None = None, S: int = 512, components: int = 128,
         whitening: float = 1, seed: int = 0) -> bool:
    """Make weights for a deploy net, and the json that describes them, which is written last.

    Parameters
    ----------
    proto : prototxt of the net
    output : the caffemodel to write
    images : paths of the images that statistics and PCA are fitted to
    trunk : caffemodel with a trained trunk, optional
    S : longer side in pixels of the images that the PCA is fitted to
    components : number of PCA directions to keep; the other outputs are 0
    whitening : directions are divided by this power of their standard deviation: 0 for plain PCA,
        1 for full whitening
    seed : random seed of the weights and the PCA

    Returns
    -------
    bool
        False if the weights exist already and were made from the same arguments.

    Raises
    ------
    ValueError
        The trunk is of another net, or the json beside `output` describes other weights.
    """
    made_from = {'proto': store.sha256(proto), 'seed': seed, 'S': S, 'components': components,
                 'script': store.sha256(__file__), 'pca': store.sha256(pca_layers.__file__),
                 'trunk': trunk and store.sha256(trunk), 'whitening': whitening,
                 'images': hashlib.sha256(''.join(map(store.sha256, images)).encode()).hexdigest()}
    if _is_made(output, made_from):
        logger.info('%s exists already', output)
        return False
    logger.info('making weights: %s, PCA of %d images',
                f'the trunk of {trunk}' if trunk else 'untrained', len(images))
    with store.scratch(output) as folder:
        start = trunk or os.path.join(folder, 'start.caffemodel')
        if not trunk:
            measure_statistics(proto, images, seed, folder).save(start)
        net = DescriptorNet(proto, start, LEVELS, partial_weights=True)
        check_trunk(net.net, start)
        pca_layers.fit(net, images, S, CENTRE, PROJECT, components, whitening, seed)
        made = os.path.join(folder, 'made.caffemodel')
        net.net.save(made)
        store.place(made, output)
    write_info(output, net=_relative(proto, output), blob=END, mean=MEAN.tolist(), scale=1,
               colour='BGR', S=S, L=LEVELS, dimension=int(net.net.blobs[END].shape[1]),
               trained=bool(trunk), source=SOURCE, licence='MIT', learned_from=made_from)
    return True


def image_paths(dataset: str | os.PathLike | None = None,
                folder: str | os.PathLike | None = None) -> list[str]:
    """List images to fit a model to: those in `folder` (recursively), or a dataset's distractors.

    dataset : folder in Oxford's layout
    """
    if folder:
        return [item.path for item in images_of(folder)]
    found = DATASETS['Oxford'](dataset)
    return [found.image_path(name) for name in distractors(found)]


def distractors(dataset: OxfordHelper) -> list[str]:
    """List the images that no query's ground truth names."""
    named = {name for query in dataset.queries for part in dataset.ground_truth(query)
             for name in part}
    return [name for name in dataset.images if name not in named]


def check_trunk(net: 'caffe.Net', weights: str | os.PathLike) -> None:
    """Raise ValueError unless the file has all convolutions of the net."""
    found = stored_layers(weights)
    missing = [name for name, layer in zip(net._layer_names, net.layers, strict=True)
               if layer.type == 'Convolution' and name not in found]
    if missing:
        raise ValueError(f'{weights}: lacks {missing[0]} and {len(missing) - 1} more convolutions '
                         'of the net; does it belong to another trunk?')


def measure_statistics(proto: str | os.PathLike, images: Sequence[str], seed: int,
                       folder: str) -> 'caffe.Net':
    """Return a trunk with random convolutions and the BatchNorm statistics of a batch of images.

    Parameters
    ----------
    proto : prototxt of the deploy net
    images : paths
    seed : random seed of the convolutions
    folder : folder for the prototxt of the trunk

    Returns
    -------
    caffe.Net
    """
    import caffe
    import cv2
    path = os.path.join(folder, 'statistics.prototxt')
    Path(path).write_text(_statistics_proto(proto))
    caffe.set_random_seed(seed)
    net = caffe.Net(path, caffe.TRAIN)
    first = net.params['conv1'][0].data
    filters = gabor_filters(first.shape[-1])[:len(first)]
    first[:len(filters)] = filters
    chosen = np.linspace(0, len(images) - 1, min(BATCH, len(images))).astype(int)
    height, width = BATCH_SIZE
    batch = [cv2.resize(read_image(images[i]), (width, height)) for i in chosen]
    net.blobs['data'].reshape(len(batch), 3, height, width)
    net.blobs['data'].data[...] = to_blob(batch)
    net.forward()
    return net


def gabor_filters(size: int) -> np.ndarray:
    """Make Gabor filters of 8 orientations and 2 widths, for brightness (2 phases) and 2 colours.

    Returns
    -------
    ndarray, 64 x 3 x size x size float32
        Filters with mean 0 and norm 1; kinds are interleaved.
    """
    y, x = np.mgrid[:size, :size] - size // 2
    filters = []
    for angle in np.pi / 8 * np.arange(8):
        along = x * np.cos(angle) + y * np.sin(angle)
        for wave, spread in ((3.5, 1.5), (6.0, 2.2)):       # pixels
            for phase, bgr in ((0, (1, 1, 1)), (np.pi / 2, (1, 1, 1)), (np.pi / 2, (-1, 0, 1)),
                               (np.pi / 2, (1, -2, 1))):
                wavelet = np.exp(-(x * x + y * y) / (2 * spread ** 2)) * np.cos(
                    2 * np.pi * along / wave + phase)
                gabor = np.multiply.outer(bgr, wavelet - wavelet.mean())
                filters.append(gabor / np.linalg.norm(gabor))
    return np.array(filters, np.float32)


def _is_made(output, made_from):
    """Whether the weights exist and were made from the same; ValueError for other weights."""
    path = info_path(output)
    if not os.path.exists(path):
        return False
    if store.read_json(path).get('source') != SOURCE:
        raise ValueError(f'{path}: describes weights that were not made by {SCRIPT}; give another '
                         '--output')
    try:
        return os.path.exists(output) and read_info(output).learned_from == made_from
    except ValueError:      # a run was killed between the weights and their json
        return False


def _relative(proto, output):
    """Return a prototxt's path relative to the repository or, outside it, to the weights' folder.
    """
    proto = os.path.realpath(proto)
    inside = os.path.relpath(proto, paths.ROOT)
    return inside if not inside.startswith('..') else os.path.relpath(
        proto, os.path.dirname(os.path.abspath(output)))


def _statistics_proto(proto):
    """Return the text of the net up to the region pooling, with BatchNorms that measure."""
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format
    param = caffe_pb2.NetParameter()
    with store.reading(proto, 'a prototxt'):
        text_format.Parse(Path(proto).read_text(), param)
    for layer in param.layer:
        if layer.type == 'Convolution':
            layer.convolution_param.weight_filler.type = 'msra'
        if layer.type == 'BatchNorm':
            layer.batch_norm_param.use_global_stats = False
        if layer.type == 'Scale' and layer.name.endswith('branch2c'):
            layer.scale_param.filler.type = 'constant'
            layer.scale_param.filler.value = BRANCH_GAIN
    heads = [i for i, layer in enumerate(param.layer) if layer.type == 'ROIPooling']
    if not heads:
        raise ValueError(f'{proto}: has no ROIPooling layer')
    del param.layer[heads[0]:]
    return text_format.MessageToString(param)
