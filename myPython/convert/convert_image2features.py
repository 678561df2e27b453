#!/usr/bin/env python3
"""Write the descriptors of a folder's images by a net that makes its own regions, the teacher.

    python myPython/convert/convert_image2features.py --img_dir datasets/landmark/clean \
        --proto proto/distilling/deploy_resnet101_teacher_pca512.prototxt \
        --weights caffemodel/teacher.caffemodel \
        --features_npy features.npy --features_txt features.txt

The text has a line `IMAGE.jpg ROW` an image, shuffled: what convert_imageset makes an LMDB of. A
run that was interrupted goes on where it ended.
"""

import argparse

from deep_retrieval import cli
from deep_retrieval.describe import sha256
from deep_retrieval.training.teacher import (
    END,
    TeacherNet,
    convert,
    images_of,
    longer_side,
    write_list,
)

TINY = 'proto/tiny/distilling/'


def add_net_flags(parser, proto, weights):
    """What all scripts of this folder that run a net have alike."""
    parser.add_argument('--proto', default=proto, help='prototxt of the net')
    parser.add_argument('--weights', default=weights, help='caffemodel of the net')
    parser.add_argument('--img_dir', default='datasets/tiny/landmark/clean',
                        help='folder of the images, which may be in folders of it')
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--batch_size', type=cli.positive, default=4,
                        help='images of one size that the net takes at once')
    parser.add_argument('--partial_weights', action='store_true',
                        help='accept weights that do not name the same layers as the net')


def add_flags(parser, proto, weights):
    """What the scripts that write a shuffled list have alike."""
    add_net_flags(parser, proto, weights)
    parser.add_argument('--seed', type=cli.natural, default=0, help='seed of the shuffled list')
    parser.add_argument('--skip_bad', action='store_true', help='leave damaged images out')


def add_outputs(parser):
    parser.add_argument('--features_npy', default='tmp/features.npy',
                        help='file to write, N x D float32')
    parser.add_argument('--features_txt', default='tmp/features.txt',
                        help='file to write, a line `IMAGE.jpg ROW` an image')


def add_teacher_flags(parser):
    """What the scripts with a teacher have alike."""
    add_flags(parser, f'{TINY}deploy_resnet_tiny_teacher_pca32.prototxt',
              'caffemodel/resnet_tiny_teacher_pca32.caffemodel')
    parser.add_argument('--S', type=cli.positive,
                        help='pixels of the longer side that images are resized to before the '
                             'net; by default that of the first image')
    parser.add_argument('--end', default=END, help="blob of the net's descriptor")


def teach(args, features_npy, features_txt):
    """Write the teacher's features of the folder, and the list of them."""
    items = images_of(args.img_dir)
    cli.use_device(args.gpu)
    net = TeacherNet(args.proto, args.weights, args.end, args.partial_weights)
    about = {'weights': sha256(args.weights), 'proto': sha256(args.proto), 'end': args.end}
    features = convert(net, items, args.S or longer_side(items, args.skip_bad), features_npy,
                       about, args.batch_size, args.skip_bad, cli.warn)
    write_list(features_txt, items, features, args.seed)
    print(f'{features_npy}: {len(features)} x {features.shape[1]}')


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_teacher_flags(parser)
    add_outputs(parser)
    return parser.parse_args()


def main(args):
    teach(args, args.features_npy, args.features_txt)


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
