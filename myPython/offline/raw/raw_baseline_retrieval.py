#!/usr/bin/env python3
"""Score the R-MAC of one map as it is, or the net's own descriptor.

    python myPython/offline/raw/raw_baseline_retrieval.py --map 32

Features that raw_get_features.py has not made yet are made first.
"""

from deep_retrieval import cli
from deep_retrieval.offline_flags import retrieval_parser, study_of
from raw_get_features import PROTO

MASTER = 'master'


def parse_args():
    parser = retrieval_parser(__doc__, 'raw', PROTO)
    parser.add_argument('--map', choices=['32', '16', '8', '4', MASTER], default='32',
                        help="the map's stride, 32 for the last; master: the net's descriptor")
    cli.add_multires(parser, 'original')
    return parser.parse_args()


def main(args):
    name, strides = ('raw_master_concat', (32,)) if args.map == MASTER else (
        'raw_concat', (int(args.map),))
    print(*study_of(args).retrieve(name, strides, args.multires).lines(), sep='\n')


if __name__ == '__main__':
    cli.run(parse_args, main)
