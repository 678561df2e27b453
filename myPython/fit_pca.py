#!/usr/bin/env python3
"""Fit a net's centring and projection to the PCA of what they see of a folder's images.

    python myPython/fit_pca.py --proto proto/reduce/serial/deploy_resnet101_pca512.prototxt \
        --weights caffemodel/model.caffemodel --img_dir datasets/landmark/clean

The serial reduction of the pair losses starts so from the PCA of the whole descriptors.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from tqdm import tqdm

import cli
import descriptor
from features.teacher import images_of
from region_generator import get_rmac_region_coordinates, pack_regions_for_network

ROOT = Path(__file__).resolve().parents[1]


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--proto',
                        default=ROOT / 'proto/reduce/serial/deploy_resnet101_pca512.prototxt',
                        help='prototxt of the deploy net')
    parser.add_argument('--weights', default=ROOT / 'caffemodel/model.caffemodel',
                        help='caffemodel of all of the net before the centring')
    parser.add_argument('--img_dir', default=ROOT / 'datasets/landmark/clean',
                        help='folder of images, all in it and below')
    parser.add_argument('--centre', default='pooled_rois/shift', metavar='LAYER',
                        help='the Scale layer that centres')
    parser.add_argument('--project', default='pooled_rois/reduce', metavar='LAYER',
                        help='the InnerProduct layer that projects')
    parser.add_argument('--S', type=cli.positive, default=512,
                        help='longer side of the images, in pixels')
    parser.add_argument('--L', type=cli.natural, default=2, help='levels of the rigid grid')
    parser.add_argument('--whitening', type=float, default=0, help='see make_demo_model.py')
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--output', default=ROOT / 'caffemodel/reduce_serial_start.caffemodel',
                        help='the caffemodel to write')
    return parser.parse_args()


def main(args):
    cli.use_device(args.gpu)
    paths = [item.path for item in images_of(args.img_dir)]
    net = descriptor.DescriptorNet(args.proto, args.weights, args.L, end=args.project,
                                   partial_weights=True)
    components = fit(net, paths, args.S, args.centre, args.project, whitening=args.whitening)
    net.net.save(str(args.output))
    print(f'{args.output}: {components} directions of {len(paths)} images')


def fit(net, paths, S, centre, project, components=None, whitening=0, seed=0):
    """Set two layers to the PCA of the rows that enter the first; returns how many directions.

    net : a DescriptorNet; paths : its images, resized to a longer side of S pixels
    centre, project : names of a Scale with bias and of an InnerProduct behind it. The latter's
        outputs beyond the directions, `components` at most, become 0.
    whitening : power of the standard deviations that directions are divided by

    ValueError where the net has no such layers.
    """
    params = net.net.params
    for name, type in ((centre, 'Scale'), (project, 'InnerProduct')):
        if name not in params or net.net.layer_dict[name].type != type or len(params[name]) != 2:
            raise ValueError(f'the net has no {type} layer {name!r} with a bias')
    rows = entering(net, paths, S, net.net.bottom_names[centre][0])
    outputs = len(params[project][1].data)
    components = min(components or outputs, outputs, *rows.shape)
    pca = PCA(components, svd_solver='full', random_state=seed).fit(rows)
    params[centre][0].data[...] = 1
    params[centre][1].data[...] = -pca.mean_
    params[project][0].data[...] = 0
    params[project][0].data[:components] = (
        pca.components_ / pca.explained_variance_[:, None] ** (whitening / 2))
    params[project][1].data[...] = 0
    return components


def entering(net, paths, S, blob):
    """The rows of a blob for all images, one below the other: N x D."""
    last = [name for name, tops in net.net.top_names.items() if blob in tops][-1]
    rows = []
    for path in tqdm(paths, desc='rows for the PCA', unit='image', disable=None):
        image, _ = descriptor.resize(descriptor.read_image(path), S)
        grid = get_rmac_region_coordinates(*image.shape[:2], net.L)
        net.feed('data', descriptor.to_blob([image]))
        net.feed('rois', pack_regions_for_network([grid]))
        net.net.forward(end=last)
        some = net.net.blobs[blob].data
        rows.append(some.reshape(len(some), -1).copy())
    return np.vstack(rows)


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
