#!/usr/bin/env python3
"""Score a net on Landmark: precision, and mAP as VOC 2010 defines it.

    python myPython/test/test_on_landmark.py --test_dir datasets/landmark/retrieval

The folder has the images in queries/CLASS/ and dataset/CLASS/. They all have 288 x 384 pixels, and
the default S keeps this size.
"""

from deep_retrieval import cli, paths
from deep_retrieval.datasets import Landmark
from deep_retrieval.shared_flags import evaluate, parser


def parse_args():
    flags = parser(__doc__, S=384)
    flags.add_argument('--test_dir', default=paths.DATASETS / 'landmark/retrieval',
                       help='folder with queries/CLASS/ and dataset/CLASS/')
    return flags.parse_args()


def main(args):
    result = evaluate(args, Landmark(args.test_dir), name='test_on_landmark')
    print(*result.lines(), sep='\n')


if __name__ == '__main__':
    cli.run(parse_args, main)
