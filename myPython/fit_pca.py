#!/usr/bin/env python3
"""Fit a net's centring and projection to the PCA of what they see of a folder's images.

    python myPython/fit_pca.py --proto proto/reduce/serial/deploy_resnet101_pca512.prototxt \
        --weights caffemodel/model.caffemodel --img_dir datasets/landmark/clean

The serial reduction of the pair losses starts so from the PCA of the whole descriptors.
"""

import argparse

from deep_retrieval import cli
from deep_retrieval.extraction import images_of
from deep_retrieval.model import DescriptorNet
from deep_retrieval.paths import ROOT
from deep_retrieval.surgery.pca_layers import fit


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
    net = DescriptorNet(args.proto, args.weights, args.L, end=args.project,
                                   partial_weights=True)
    components = fit(net, paths, args.S, args.centre, args.project, whitening=args.whitening)
    net.net.save(str(args.output))
    print(f'{args.output}: {components} directions of {len(paths)} images')


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
