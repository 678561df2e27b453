#!/usr/bin/env python3
"""Score a net on Landmark: precision, and mAP as VOC 2010 defines it.

    python myPython/test/test_on_landmark.py --test_dir datasets/landmark/retrieval

The folder holds the images in queries/CLASS/ and dataset/CLASS/. They are all of 288 x 384 pixels,
so that the default S leaves them as they are.
"""

from deep_retrieval import cli, paths
from deep_retrieval.shared_flags import parser, run


def parse_args():
    flags = parser(__doc__, S=384)
    flags.add_argument('--test_dir', default=paths.DATASETS / 'landmark/retrieval',
                       help='folder that holds queries/CLASS/ and dataset/CLASS/')
    return flags.parse_args()


def main(args):
    from deep_retrieval.datasets import query_sets
    run(args, 'test_on_landmark', *query_sets.landmark(args.test_dir))


if __name__ == '__main__':
    cli.run(parse_args, main)
