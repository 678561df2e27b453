#!/usr/bin/env python3
"""Score a net on the cover dataset: precision, and mAP as VOC 2010 defines it.

    python myPython/test/test_on_cover.py --dataset datasets/cover --multires

The folder holds query.txt, answer.txt, queries/ and dataset/, as cover_helper makes them. Covers
are of 280 x 496 pixels, so that the default S leaves them as they are; --multires takes 248, 496
and 744.
"""

from deep_retrieval import cli, image_means, paths
from deep_retrieval.shared_flags import add_mean, parser, run


def parse_args():
    flags = parser(__doc__, S=496)
    add_mean(flags, image_means.COVER)
    flags.add_argument('--dataset', default=paths.DATASETS / 'cover',
                       help='folder that holds query.txt, answer.txt, queries/ and dataset/, or '
                            'clean/ with these')
    return flags.parse_args()


def main(args):
    from deep_retrieval.datasets import query_sets
    run(args, 'test_on_cover', *query_sets.cover(args.dataset))


if __name__ == '__main__':
    cli.run(parse_args, main)
