#!/usr/bin/env python3
"""Score a net on Paris by classes: precision, and mAP as VOC 2010 defines it.

    python myPython/test/test_on_paris.py --dataset datasets/Paris/test --wrong_dir tmp/wrong

The folder holds images in queries/ and dataset/, whose names hold the names of their classes, as
paris_helper makes it. On the folder with jpg/ and lab/, as it is distributed, score with test.py
--dataset_name Paris.
"""

from deep_retrieval import cli, evaluation
from deep_retrieval.datasets import query_sets
from deep_retrieval.image_means import COVER
from deep_retrieval.shared_flags import ROOT, add_mean, parser


def parse_args():
    flags = parser(__doc__, S=512)
    add_mean(flags, COVER)
    flags.add_argument('--dataset', default=ROOT / 'datasets/Paris',
                       help='folder that holds queries/ and dataset/, or test/ with these')
    flags.add_argument('--classes', nargs='+', metavar='NAME',
                       help='the classes; by default the folders of triplet/ in the dataset, or '
                            'where it has none the 11 landmarks of Paris')
    return flags.parse_args()


def main(args):
    evaluation.run(args, 'test_on_paris', *query_sets.paris(args.dataset, args.classes))


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
