#!/usr/bin/env python3
"""Score a net on the cover dataset: precision, and mAP as VOC 2010 defines it.

    python myPython/test/test_on_cover.py --dataset datasets/cover --multires

The folder holds query.txt, answer.txt, queries/ and dataset/, as cover_helper makes them. Covers
are of 280 x 496 pixels, so that the default S leaves them as they are; --multires takes 248, 496
and 744.
"""

from deep_retrieval import cli, evaluation
from deep_retrieval.datasets import query_sets
from deep_retrieval.image_means import COVER
from deep_retrieval.shared_flags import ROOT, add_mean, parser


def parse_args():
    flags = parser(__doc__, S=496)
    add_mean(flags, COVER)
    flags.add_argument('--dataset', default=ROOT / 'datasets/cover',
                       help='folder that holds query.txt, answer.txt, queries/ and dataset/, or '
                            'clean/ with these')
    return flags.parse_args()


def main(args):
    evaluation.run(args, 'test_on_cover', *query_sets.cover(args.dataset))


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
