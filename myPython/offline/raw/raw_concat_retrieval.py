#!/usr/bin/env python3
"""Score the concatenated R-MACs of the last and middle maps, each multiplied by its dimension.

    python myPython/offline/raw/raw_concat_retrieval.py --maps 2

Features that do not exist yet are made first, as by raw_get_features.py.
"""

from deep_retrieval import cli, offline_flags
from raw_get_features import PROTO


def parse_args():
    parser = offline_flags.retrieval_parser(__doc__, 'raw', PROTO)
    offline_flags.add_maps(parser)
    return parser.parse_args()


def main(args):
    from deep_retrieval.studies import retrieval
    result = retrieval.retrieve(name='raw_concat', **offline_flags.values(args))
    print(*result.lines(), sep='\n')


if __name__ == '__main__':
    cli.run(parse_args, main)
