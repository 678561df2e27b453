#!/usr/bin/env python3
"""Write the descriptors of a folder's images, summed over three scales and normalized.

    python myPython/convert/convert_image2features_multires.py --img_dir datasets/landmark/clean \
        --proto proto/deploy_resnet101.prototxt --weights caffemodel/model.caffemodel \
        --features_npy features.npy --features_txt features.txt

The net has the inputs `data` and `rois`. The files are those of convert_image2features.py; beside
them stay each scale's features, from which a further run goes on.
"""

import argparse

from convert_image2features import add_flags, add_outputs
from deep_retrieval import cli
from deep_retrieval.describe import sha256
from deep_retrieval.model import END, DescriptorNet
from deep_retrieval.training.teacher import convert, images_of, write_list


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_flags(parser, 'proto/deploy_resnet101.prototxt', 'caffemodel/model.caffemodel')
    add_outputs(parser)
    parser.add_argument('--scales', type=cli.positive, nargs='+', default=[256, 512, 768],
                        help='pixels of the longer side that images are resized to')
    parser.add_argument('--L', type=cli.natural, default=2,
                        help='levels of the rigid grid; 0 for the whole image as one region')
    parser.add_argument('--end', default=END, help="blob of the net's descriptor")
    return parser.parse_args()


def main(args):
    items = images_of(args.img_dir)
    cli.use_device(args.gpu)
    net = DescriptorNet(args.proto, args.weights, args.L, args.end, args.partial_weights)
    about = {'weights': sha256(args.weights), 'proto': sha256(args.proto), 'L': args.L,
             'end': args.end}
    features = convert(net, items, args.scales, args.features_npy, about, args.batch_size,
                       args.skip_bad, cli.warn)
    write_list(args.features_txt, items, features, args.seed)
    print(f'{args.features_npy}: {len(features)} x {features.shape[1]}')


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
