#!/usr/bin/env python3
"""Score a net on the cover dataset: precision, and mAP as VOC 2010 defines it.

    python myPython/test/test_on_cover.py --dataset datasets/cover --multires

The folder has query.txt, answer.txt, queries/ and dataset/, as made by cover_helper.py. Covers have
280 x 496 pixels, and the default S keeps this size; --multires sums the descriptors for S = 248,
496 and 744.
"""

from deep_retrieval import cli, image_means, paths
from deep_retrieval.datasets import Covers
from deep_retrieval.shared_flags import add_mean, evaluate, parser


def parse_args():
    flags = parser(__doc__, S=496)
    add_mean(flags, image_means.COVER)
    flags.add_argument('--dataset', default=paths.DATASETS / 'cover',
                       help='folder with query.txt, answer.txt, queries/ and dataset/, or with '
                            'clean/ that has them')
    return flags.parse_args()


def main(args):
    result = evaluate(args, Covers(args.dataset), name='test_on_cover')
    print(*result.lines(), sep='\n')


if __name__ == '__main__':
    cli.run(parse_args, main)
