#!/usr/bin/env python3
"""Score the R-MACs of the last map and of middle ones side by side, each times its length.

    python myPython/offline/raw/raw_concat_retrieval.py --maps 2

Features that raw_get_features.py has not made yet are made first.
"""

from deep_retrieval import cli
from deep_retrieval.offline_flags import MAPS, add_maps, retrieval_parser, study_of
from raw_get_features import PROTO


def parse_args():
    parser = retrieval_parser(__doc__, 'raw', PROTO)
    add_maps(parser)
    return parser.parse_args()


def main(args):
    print(*study_of(args).retrieve('raw_concat', MAPS[args.maps]).lines(), sep='\n')


if __name__ == '__main__':
    cli.run(parse_args, main)
