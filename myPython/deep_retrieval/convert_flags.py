"""The flags that the scripts of myPython/convert share."""

import argparse
import os

from deep_retrieval import cli, paths

TINY = paths.ROOT / 'proto/tiny/distilling'
TEACHER_END = 'rmac/eltwise/normalized'


def add_net(parser: argparse.ArgumentParser, proto: str | os.PathLike,
            weights: str | os.PathLike) -> None:
    """Add the flags of a script that runs a net on a folder of images."""
    parser.add_argument('--proto', default=proto, help='prototxt of the net')
    parser.add_argument('--weights', default=weights, help='caffemodel of the net')
    parser.add_argument('--img_dir', default=paths.DATASETS / 'tiny/landmark/clean',
                        help='folder of the images, searched recursively')
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--batch_size', type=cli.positive, default=4,
                        help='images of one size that the net takes at once')
    parser.add_argument('--partial_weights', action='store_true',
                        help='accept weights that do not have the same layers as the net')
    parser.add_argument('--skip_bad', action='store_true', help='leave damaged images out')


def add_outputs(parser: argparse.ArgumentParser, line: str) -> None:
    """Add the flags of the output files; `line` is the format of a line of the list."""
    parser.add_argument('--features_npy', default=paths.TEMP / 'features.npy',
                        help='file to write, N x D float32')
    parser.add_argument('--features_txt', default=paths.TEMP / 'features.txt',
                        help=f'file to write, one line {line} per image')


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add the flag --seed."""
    parser.add_argument('--seed', type=cli.natural, default=0, help='random seed of the shuffling')


def add_teacher(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a script that runs a teacher net."""
    add_net(parser, TINY / 'deploy_resnet_tiny_teacher_pca32.prototxt',
            paths.ROOT / 'caffemodel/resnet_tiny_teacher_pca32.caffemodel')
    add_seed(parser)
    parser.add_argument('--S', type=cli.positive,
                        help='longer side in pixels that images are resized to; by default that '
                             'of the first image')
    parser.add_argument('--end', default=TEACHER_END, help="blob of the net's descriptor")
