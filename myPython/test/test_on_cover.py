#!/usr/bin/env python3
"""Score a net on the cover dataset: precision, and mAP as VOC 2010 defines it.

    python myPython/test/test_on_cover.py --dataset datasets/cover --multires

The folder holds query.txt, answer.txt, queries/ and dataset/, as cover_helper.py makes them. Covers
have 280 x 496 pixels, which the default S does not change; --multires sums the descriptors of 248,
496 and 744.
"""

from deep_retrieval import cli, image_means, paths
from deep_retrieval.datasets import Covers
from deep_retrieval.shared_flags import add_mean, evaluate, parser


def parse_args():
    flags = parser(__doc__, S=496)
    add_mean(flags, image_means.COVER)
    flags.add_argument('--dataset', default=paths.DATASETS / 'cover',
                       help='folder that holds query.txt, answer.txt, queries/ and dataset/, or '
                            'clean/ with these')
    return flags.parse_args()


def main(args):
    result = evaluate(args, Covers(args.dataset), name='test_on_cover')
    print(*result.lines(), sep='\n')


if __name__ == '__main__':
    cli.run(parse_args, main)
