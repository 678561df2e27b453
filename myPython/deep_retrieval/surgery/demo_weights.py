"""Weights of a deploy net made without the released model: a trunk, a centring and a PCA.

    make('proto/deploy_resnet101.prototxt', 'caffemodel/demo.caffemodel', image_paths)

Without a trained trunk the first convolution gets Gabor filters over brightness and colours, the
others are random (He et al., 2015), and the BatchNorm statistics are measured on images.
"""

import hashlib
import logging
import os
import tempfile
from pathlib import Path

import caffe
import cv2
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from deep_retrieval import paths, store
from deep_retrieval.images import MEAN, read_image, to_blob
from deep_retrieval.model import DescriptorNet, info_path, stored_layers, write_info
from deep_retrieval.surgery import pca_layers

CENTRE, PROJECT = 'pooled_rois/centered', 'pooled_rois/pca'
BATCH = 16                                  # images that the statistics are measured on
BATCH_SIZE = (288, 384)                     # their height and width
BRANCH_GAIN = 0.05      # of what a block adds: with random weights that is mostly noise

logger = logging.getLogger(__name__)


def make(proto, output, images, *, trunk=None, S=512, components=128, whitening=1, seed=0) -> bool:
    """Write the weights `output` and the json that describes them.

    Parameters
    ----------
    proto : path of the deploy net
    images : paths of the images that statistics and PCA are measured on
    trunk : caffemodel with a trained trunk, optional
    S : longer side in pixels of the images that the PCA is fitted to
    components : directions that the PCA keeps; the other outputs are 0
    whitening : power of the standard deviations that directions are divided by
    seed : of the random weights

    Returns
    -------
    bool
        False if the same weights exist already.
    """
    made_from = {'proto': store.sha256(proto), 'seed': seed, 'S': S, 'components': components,
                 'script': store.sha256(__file__), 'pca': store.sha256(pca_layers.__file__),
                 'trunk': trunk and store.sha256(trunk), 'whitening': whitening, 'images':
                 hashlib.sha256(''.join(map(store.sha256, images)).encode()).hexdigest()}
    if _exists(output, made_from):
        logger.info('%s exists already', output)
        return False
    logger.info('making weights: %s, PCA of %d images',
                f'the trunk of {trunk}' if trunk else 'untrained', len(images))
    with tempfile.TemporaryDirectory() as folder:
        start = trunk or os.path.join(folder, 'start.caffemodel')
        if not trunk:
            measure_statistics(proto, images, seed, folder).save(start)
        net = DescriptorNet(proto, start, L=2, partial_weights=True)
        check_trunk(net.net, start)
        pca_layers.fit(net, images, S, CENTRE, PROJECT, components, whitening, seed)
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        net.net.save(str(output))
    name = os.path.abspath(proto)
    write_info(output, net=os.path.relpath(name, paths.ROOT) if name.startswith(f'{paths.ROOT}/')
               else name, blob=net.end, mean=MEAN.tolist(), scale=1, colour='BGR', S=S, L=2,
               dimension=int(net.net.blobs[net.end].shape[1]), trained=bool(trunk),
               source='made by caffemodel/make_demo_model.py', licence='MIT',
               learned_from=made_from)
    return True


def _exists(output, made_from):
    """Whether the weights exist, are those that the json was written for, and were made so."""
    if not (os.path.exists(output) and os.path.exists(info_path(output))):
        return False
    note = store.read_json(info_path(output))
    return note.get('learned_from') == made_from and note.get('sha256') == store.sha256(output)


def check_trunk(net, weights):
    """Raise ValueError unless the file has all convolutions of the net."""
    found = stored_layers(weights)
    missing = [name for name, layer in zip(net._layer_names, net.layers)
               if layer.type == 'Convolution' and name not in found]
    if missing:
        raise ValueError(f'{weights}: lacks {missing[0]} and {len(missing) - 1} more convolutions '
                         'of the net; is it of another trunk?')


def distractors(dataset):
    """Names of the images that no query's ground truth names."""
    named = {name for query in dataset.queries for part in dataset.ground_truth(query)
             for name in part}
    return [name for name in dataset.images if name not in named]


def measure_statistics(proto, paths, seed, folder):
    """The trunk with random convolutions and the BatchNorm statistics of one batch of images."""
    param = caffe_pb2.NetParameter()
    text_format.Parse(Path(proto).read_text(), param)
    for layer in param.layer:
        if layer.type == 'Convolution':
            layer.convolution_param.weight_filler.type = 'msra'
        if layer.type == 'BatchNorm':
            layer.batch_norm_param.use_global_stats = False
        if layer.type == 'Scale' and layer.name.endswith('branch2c'):
            layer.scale_param.filler.type = 'constant'
            layer.scale_param.filler.value = BRANCH_GAIN
    # the head needs nothing measured: the net ends where regions are pooled
    heads = [i for i, layer in enumerate(param.layer) if layer.type == 'ROIPooling']
    del param.layer[heads[0]:]
    path = os.path.join(folder, 'statistics.prototxt')
    Path(path).write_text(text_format.MessageToString(param))
    caffe.set_random_seed(seed)
    net = caffe.Net(path, caffe.TRAIN)
    first = net.params['conv1'][0].data
    filters = gabor_filters(first.shape[-1])[:len(first)]
    first[:len(filters)] = filters
    chosen = np.linspace(0, len(paths) - 1, min(BATCH, len(paths))).astype(int)
    height, width = BATCH_SIZE
    images = [cv2.resize(read_image(paths[i]), (width, height))
              for i in chosen]
    net.blobs['data'].reshape(len(images), 3, height, width)
    net.blobs['data'].data[...] = to_blob(images)
    net.forward()
    return net


def gabor_filters(size):
    """Edges of 8 orientations in 2 widths, in brightness (2 phases) and 2 colour contrasts.

    Returns 64 x 3 x size x size, each of mean 0 and norm 1, in an order that mixes them.
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
