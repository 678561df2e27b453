#!/usr/bin/env python3
"""Score a net on Paris by classes: precision, and mAP as VOC 2010 defines it.

    python myPython/test/test_on_paris.py --dataset datasets/Paris/test --wrong_dir tmp/wrong

The folder has images in queries/ and dataset/ whose names contain their classes, as made by
paris_helper.py. For the distributed folder with jpg/ and lab/, use test.py --dataset_name Paris.
"""

from deep_retrieval import cli, image_means, paths
from deep_retrieval.datasets import ParisClasses
from deep_retrieval.shared_flags import add_mean, evaluate, parser


def parse_args():
    flags = parser(__doc__, S=512)
    add_mean(flags, image_means.COVER)
    flags.add_argument('--dataset', default=paths.DATASETS / 'Paris',
                       help='folder with queries/ and dataset/, or with test/ that has them')
    flags.add_argument('--classes', nargs='+', metavar='NAME',
                       help='names of the classes; by default the folders in triplet/ of the '
                            'dataset or, without it, the 11 landmarks of Paris')
    return flags.parse_args()


def main(args):
    result = evaluate(args, ParisClasses(args.dataset, args.classes), name='test_on_paris')
    print(*result.lines(), sep='\n')


if __name__ == '__main__':
    cli.run(parse_args, main)
