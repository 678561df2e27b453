#!/usr/bin/env python3
"""Write the descriptors of a folder's images, each at its original size.

    python myPython/convert/test_image2features.py --img_dir datasets/Oxford/jpg \
        --proto proto/deploy_resnet101.prototxt --weights caffemodel/model.caffemodel \
        --features_npy features.npy --features_txt features.txt

The text has a line `ROW<TAB>NAME` an image, in the order of the rows: what test_SimilarCluster.py
reads. A run that was interrupted goes on where it ended.
"""

import argparse

from convert_image2features import add_net_flags
from deep_retrieval import cli
from deep_retrieval.describe import extract, sha256
from deep_retrieval.training.teacher import images_of, open_net, write_rows


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_net_flags(parser, 'proto/deploy_resnet101.prototxt', 'caffemodel/model.caffemodel')
    parser.add_argument('--features_npy', default='tmp/features.npy',
                        help='file to write, N x D float32')
    parser.add_argument('--features_txt', default='tmp/features.txt',
                        help='file to write, a line `ROW<TAB>NAME` an image')
    parser.add_argument('--skip_bad', action='store_true', help='leave damaged images out')
    parser.add_argument('--L', type=cli.natural, default=2,
                        help='levels of the rigid grid, for a net that has an input `rois`')
    parser.add_argument('--end', help="blob of the net's descriptor; by default rmac/normalized, "
                        'or rmac/eltwise/normalized for a net that makes its own regions')
    return parser.parse_args()


def main(args):
    items = images_of(args.img_dir)
    cli.use_device(args.gpu)
    net = open_net(args.proto, args.weights, args.L, args.end, args.partial_weights)
    about = {'weights': sha256(args.weights), 'proto': sha256(args.proto), 'L': args.L,
             'end': net.end}
    features, _ = extract(net, items, None, args.features_npy, about, args.batch_size,
                          args.skip_bad, cli.warn)
    write_rows(args.features_txt, items, features)
    print(f'{args.features_npy}: {len(features)} x {features.shape[1]}')


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
