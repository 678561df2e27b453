#!/usr/bin/env python3
"""Make weights of a deploy net, to try the toolkit before the real ones.

    python caffemodel/make_demo_model.py --dataset datasets/demo
    python caffemodel/make_demo_model.py --proto proto/deploy_resnet_tiny.prototxt \
        --components 128 --trunk caffemodel/resnet_tiny_classes_iter_1500.caffemodel --S 384 \
        --img_dir datasets/tiny/landmark/clean --output caffemodel/resnet_tiny.caffemodel

Without a trained trunk the first convolution gets Gabor filters over brightness and colours, the
others are random (He et al., 2015), from a seed, and the BatchNorm statistics are measured on
images. The centring and the PCA are fitted to the regions of images: those of a folder, or the
dataset's distractors, which no query's ground truth names.
"""

import argparse
import hashlib
import json
import os
import tempfile
from pathlib import Path

import caffe
import cv2
import numpy as np
from caffe.proto import caffe_pb2
from deep_retrieval import cli
from deep_retrieval.datasets import DATASETS
from deep_retrieval.images import read_image, to_blob
from deep_retrieval.model import DescriptorNet, stored_layers
from deep_retrieval.paths import ROOT
from deep_retrieval.store import sha256
from deep_retrieval.surgery import pca_layers
from deep_retrieval.extraction import images_of
from google.protobuf import text_format

CENTRE, PROJECT = 'pooled_rois/centered', 'pooled_rois/pca'
BATCH = 16                                  # images that the statistics are measured on
BATCH_SIZE = (288, 384)                     # their height and width
BRANCH_GAIN = 0.05      # of what a block adds: with random weights it is little but noise


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--proto', default=ROOT / 'proto/deploy_resnet101.prototxt',
                        help='prototxt of the net')
    parser.add_argument('--dataset', default=ROOT / 'datasets/demo',
                        help="folder of Oxford's layout whose distractors are used")
    parser.add_argument('--img_dir', help='folder of images to use instead, all in it and below')
    parser.add_argument('--trunk', help='caffemodel that has the trunk, trained; else it is random')
    parser.add_argument('--output', default=ROOT / 'caffemodel/demo_resnet101.caffemodel',
                        help='the caffemodel to write')
    parser.add_argument('--S', type=cli.positive, default=512,
                        help='longer side of the images that the PCA is fitted to')
    parser.add_argument('--components', type=cli.positive, default=128,
                        help='directions that the PCA keeps; the other outputs are 0')
    parser.add_argument('--whitening', type=float, default=1,
                        help='power of the standard deviations that directions are divided by: 0 '
                             'leaves them as they are, 1 makes them equal')
    parser.add_argument('--gpu', type=int, default=-1, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--seed', type=int, default=0, help='seed of the random weights')
    return parser.parse_args()


def main(args):
    paths = image_paths(args)
    note = Path(f'{args.output}.json')
    made_from = {'proto': sha256(args.proto), 'seed': args.seed, 'S': args.S,
                 'components': args.components, 'script': sha256(__file__),
                 'pca': sha256(pca_layers.__file__), 'trunk': args.trunk and sha256(args.trunk),
                 'whitening': args.whitening,
                 'images': hashlib.sha256(''.join(map(sha256, paths)).encode()).hexdigest()}
    if os.path.exists(args.output) and note.exists() and json.loads(note.read_text()) == made_from:
        cli.warn(f'{args.output} is there already')
        return
    cli.use_device(args.gpu)
    cli.warn(f'making weights: {"the trunk of " + args.trunk if args.trunk else "untrained"}, '
             f'PCA of {len(paths)} images')
    with tempfile.TemporaryDirectory() as folder:
        start = args.trunk or os.path.join(folder, 'start.caffemodel')
        if not args.trunk:
            measure_statistics(args.proto, paths, args.seed, folder).save(start)
        net = DescriptorNet(args.proto, start, L=2, partial_weights=True)
        check_trunk(net.net, start)
        pca_layers.fit(net, paths, args.S, CENTRE, PROJECT, args.components, args.whitening,
                       args.seed)
        net.net.save(str(args.output))
    note.write_text(json.dumps(made_from, indent=1) + '\n')


def image_paths(args):
    """The images that statistics and PCA are of."""
    if args.img_dir:
        return [item.path for item in images_of(args.img_dir)]
    dataset = DATASETS['Oxford'](args.dataset)
    return [dataset.image_path(name) for name in distractors(dataset)]


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


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
