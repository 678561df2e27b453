#!/usr/bin/env python3
"""Make weights for deploy_resnet101 without training, to try the toolkit before the real ones.

    python caffemodel/make_demo_model.py --dataset datasets/demo

The first convolution gets Gabor filters over brightness and colours, the others are random (He et
al., 2015), from a seed. The BatchNorm statistics are measured
on images, and the centring and the PCA are fitted to the regions of those images. They are the
dataset's distractors: the images that no query's ground truth names.
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
from google.protobuf import text_format
from sklearn.decomposition import PCA
from tqdm import tqdm

import cli
import descriptor
from dataset_helper import DATASETS
from extraction import sha256
from region_generator import get_rmac_region_coordinates, pack_regions_for_network

ROOT = Path(__file__).resolve().parents[1]
REGIONS = 'pooled_rois/normalized_flat'     # what centring and PCA see
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
    parser.add_argument('--output', default=ROOT / 'caffemodel/demo_resnet101.caffemodel',
                        help='the caffemodel to write')
    parser.add_argument('--S', type=cli.positive, default=512,
                        help='longer side of the images that the PCA is fitted to')
    parser.add_argument('--components', type=cli.positive, default=128,
                        help='directions that the PCA keeps; the other outputs are 0')
    parser.add_argument('--gpu', type=int, default=-1, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--seed', type=int, default=0, help='seed of the random weights')
    return parser.parse_args()


def main(args):
    dataset = DATASETS['Oxford'](args.dataset)
    names = distractors(dataset)
    paths = [dataset.image_path(name) for name in names]
    note = Path(f'{args.output}.json')
    made_from = {'proto': sha256(args.proto), 'seed': args.seed, 'S': args.S,
                 'components': args.components, 'script': sha256(__file__),
                 'images': hashlib.sha256(''.join(map(sha256, paths)).encode()).hexdigest()}
    if os.path.exists(args.output) and note.exists() and json.loads(note.read_text()) == made_from:
        cli.warn(f'{args.output} is there already')
        return
    cli.use_device(args.gpu)
    cli.warn(f'making untrained weights: seeded convolutions, statistics and PCA of {len(names)} '
             'distractors')
    with tempfile.TemporaryDirectory() as folder:
        start = os.path.join(folder, 'start.caffemodel')
        measure_statistics(args.proto, paths, args.seed, folder).save(start)
        net = descriptor.DescriptorNet(args.proto, start, L=2, partial_weights=True)
        fit_pca(net, paths, args.S, args.components, args.seed)
        net.net.save(str(args.output))
    note.write_text(json.dumps(made_from, indent=1) + '\n')


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
    images = [cv2.resize(descriptor.read_image(paths[i]), (width, height))
              for i in chosen]
    net.blobs['data'].reshape(len(images), 3, height, width)
    net.blobs['data'].data[...] = descriptor.to_blob(images)
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


def fit_pca(net, paths, S, components, seed):
    """Set the net's centring and projection to a whitening PCA of the images' regions."""
    regions = []
    for path in tqdm(paths, desc='regions for the PCA', unit='image', disable=None):
        image, _ = descriptor.resize(descriptor.read_image(path), S)
        grid = get_rmac_region_coordinates(*image.shape[:2], net.L)
        net.feed('data', descriptor.to_blob([image]))
        net.feed('rois', pack_regions_for_network([grid]))
        net.net.forward(end=REGIONS)
        rows = net.net.blobs[REGIONS].data
        regions.append(rows.reshape(len(rows), -1).copy())
    regions = np.vstack(regions)
    centre, project = net.net.params[CENTRE], net.net.params[PROJECT]
    components = min(components, len(project[1].data), *regions.shape)
    pca = PCA(components, svd_solver='full', random_state=seed).fit(regions)
    centre[0].data[...] = 1
    centre[1].data[...] = -pca.mean_
    project[0].data[...] = 0
    project[0].data[:len(pca.components_)] = (
        pca.components_ / np.sqrt(pca.explained_variance_)[:, None])
    project[1].data[...] = 0


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
