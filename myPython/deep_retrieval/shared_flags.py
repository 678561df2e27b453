"""The flags that the scripts of this folder have alike."""

import argparse

from deep_retrieval import cli
from deep_retrieval.evaluation import TOP
from deep_retrieval.model import END
from deep_retrieval.paths import ROOT


def parser(doc, S):
    """An ArgumentParser with the shared flags; doc: the script's docstring, S: its default."""
    parser = argparse.ArgumentParser(
        description=doc.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--S', type=cli.positive, default=S,
                        help='pixels of the longer side that images are resized to')
    parser.add_argument('--L', type=cli.natural, default=2,
                        help='levels of the rigid grid; 0 for the whole image as one region')
    parser.add_argument('--proto', default=ROOT / 'proto/deploy_resnet101.prototxt',
                        help='prototxt of the net')
    parser.add_argument('--weights', default=ROOT / 'caffemodel/model.caffemodel',
                        help='caffemodel of the net')
    parser.add_argument('--end', default=END, help="blob of the net's descriptor")
    parser.add_argument('--temp_dir', default=ROOT / 'tmp', help='folder for features')
    parser.add_argument('--multires', action='store_true',
                        help='sum the descriptors of S / 2, S and 3 S / 2')
    parser.add_argument('--batch_size', type=cli.positive, default=4,
                        help='images of one size that the net takes at once')
    parser.add_argument('--skip_bad', action='store_true',
                        help='leave damaged images out of the ranking')
    parser.add_argument('--partial_weights', action='store_true',
                        help='accept weights that do not name the same layers as the net')
    parser.add_argument('--wrong_dir', metavar='FOLDER',
                        help=f'save a picture of each query and its first {TOP} images, and '
                             'its wrong answers: what is no positive among as many images as it '
                             'has positives')
    parser.add_argument('--overwrite', action='store_true',
                        help='write into a --wrong_dir that holds something else')
    parser.set_defaults(mean=None)
    return parser


def add_mean(parser, mean):
    """The flag of the scripts whose original subtracts a mean of its own."""
    parser.add_argument('--mean', type=float, nargs=3, metavar=('B', 'G', 'R'), default=mean,
                        help='mean colour to subtract from images')
