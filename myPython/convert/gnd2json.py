#!/usr/bin/env python3
"""Convert the revisited ground truth of Oxford and Paris from pickles to JSON, once.

    python myPython/convert/gnd2json.py datasets/gnd_roxford5k.pkl datasets/gnd_rparis6k.pkl

Each becomes a .json beside it. Nothing in a pickle is run: one that is more than data is refused.
"""

import argparse
import os

from deep_retrieval import cli
from deep_retrieval.datasets import revisited


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('gnd', nargs='*', default=['datasets/gnd_roxford5k.pkl'],
                        help='pickles of the ground truth')
    parser.add_argument('--output_dir', help="folder for the .json; by default each pickle's own")
    return parser.parse_args()


def main(args):
    for path in args.gnd:
        if not path.endswith('.pkl'):
            raise ValueError(f'{path}: a .pkl is expected')
        truth = revisited.read(path)
        name = f'gnd_{truth.name}.json'
        output = os.path.join(args.output_dir or os.path.dirname(path), name)
        revisited.write(output, truth)
        counted = ', '.join(f'{sum(len(grades[grade]) for grades in truth.grades.values())} {grade}'
                            for grade in revisited.GRADES)
        print(f'{output}: {len(truth.queries)} queries, {len(truth.images)} images; {counted}')


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
