#!/usr/bin/env python3
"""Convert the revisited ground truth of Oxford and Paris from pickles to JSON, once.

    python myPython/convert/gnd2json.py datasets/gnd_roxford5k.pkl datasets/gnd_rparis6k.pkl

Each JSON file is written beside its pickle. No code in a pickle is run: a pickle with anything but
data is refused.
"""

import os

from deep_retrieval import cli, paths


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('gnd', nargs='*', default=[str(paths.DATASETS / 'gnd_roxford5k.pkl')],
                        help='pickles of the ground truth')
    parser.add_argument('--output_dir', help="folder for the .json; by default each pickle's own")
    return parser.parse_args()


def main(args):
    from deep_retrieval.datasets import revisited
    for path in args.gnd:
        if not path.endswith('.pkl'):
            raise ValueError(f'{path}: a .pkl is expected')
        truth = revisited.read(path)
        output = os.path.join(args.output_dir or os.path.dirname(path), f'gnd_{truth.name}.json')
        revisited.write(output, truth)
        counted = ', '.join(f'{sum(len(grades[grade]) for grades in truth.grades.values())} {grade}'
                            for grade in revisited.GRADES)
        print(f'{output}: {len(truth.queries)} queries, {len(truth.images)} images; {counted}')


if __name__ == '__main__':
    cli.run(parse_args, main)
