#!/usr/bin/env python3
"""Score a net on Paris by classes: precision, and mAP as VOC 2010 defines it.

    python myPython/test/test_on_paris.py --dataset datasets/Paris/test --wrong_dir tmp/wrong

The folder holds images in queries/ and dataset/ whose names contain their classes, as
paris_helper.py makes it. For the folder with jpg/ and lab/, as it is distributed, use test.py
--dataset_name Paris.
"""

from deep_retrieval import cli, image_means, paths
from deep_retrieval.datasets import ParisClasses
from deep_retrieval.shared_flags import add_mean, evaluate, parser


def parse_args():
    flags = parser(__doc__, S=512)
    add_mean(flags, image_means.COVER)
    flags.add_argument('--dataset', default=paths.DATASETS / 'Paris',
                       help='folder that holds queries/ and dataset/, or test/ with these')
    flags.add_argument('--classes', nargs='+', metavar='NAME',
                       help='the classes; by default the folders of triplet/ in the dataset, or '
                            'the 11 landmarks of Paris if it has none')
    return flags.parse_args()


def main(args):
    result = evaluate(args, ParisClasses(args.dataset, args.classes), name='test_on_paris')
    print(*result.lines(), sep='\n')


if __name__ == '__main__':
    cli.run(parse_args, main)
