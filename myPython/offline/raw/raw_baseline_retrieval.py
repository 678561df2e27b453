#!/usr/bin/env python3
"""Score the plain R-MAC of one map, or the net's own descriptor.

    python myPython/offline/raw/raw_baseline_retrieval.py --map 32

Features that do not exist yet are made first, as by raw_get_features.py.
"""

from deep_retrieval import cli, offline_flags
from deep_retrieval.studies import MASTER, STRIDES
from raw_get_features import PROTO


def parse_args():
    parser = offline_flags.retrieval_parser(__doc__, 'raw', PROTO)
    parser.add_argument('--map', choices=[*map(str, STRIDES), MASTER], default='32',
                        help="stride of the map, 32 for the last; master for the net's descriptor")
    cli.add_multires(parser, 'original')
    return parser.parse_args()


def main(args):
    from deep_retrieval.studies import retrieval
    values = offline_flags.values(args)
    chosen = values.pop('map')
    name, stride = ('raw_master_concat', 32) if chosen == MASTER else ('raw_concat', int(chosen))
    result = retrieval.retrieve(name=name, maps=(stride,), **values)
    print(*result.lines(), sep='\n')


if __name__ == '__main__':
    cli.run(parse_args, main)
