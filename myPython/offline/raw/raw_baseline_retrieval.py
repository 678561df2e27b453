#!/usr/bin/env python3
"""Score the R-MAC of one map as it is, or the net's own descriptor.

    python myPython/offline/raw/raw_baseline_retrieval.py --map 32

Features that raw_get_features.py has not made yet are made first.
"""

from deep_retrieval import cli
from deep_retrieval.studies.branch_features import MASTER, STRIDES
from deep_retrieval.studies.scripts import retrieval_parser, retrieve
from raw_get_features import PROTO


def parse_args():
    parser = retrieval_parser(__doc__, 'raw', PROTO)
    parser.add_argument('--map', choices=[*map(str, STRIDES), MASTER], default='32',
                        help="the map's stride, 32 for the last; master: the net's descriptor")
    parser.add_argument('--multires', action='store_true',
                        help='sum the descriptors of S / 2, S and 3 S / 2')
    return parser.parse_args()


def main(args):
    if args.map == MASTER:
        retrieve(args, 'raw_master_concat', (32,), args.multires)
    else:
        retrieve(args, 'raw_concat', (int(args.map),), args.multires)


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
