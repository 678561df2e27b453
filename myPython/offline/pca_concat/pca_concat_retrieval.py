#!/usr/bin/env python3
"""Score the net's descriptor concatenated with middle maps, whose regions are whitened by PCA.

    python myPython/offline/pca_concat/pca_concat_retrieval.py --maps 2 --dim 2048

Features that do not exist yet are made first, as by pca_get_features.py. The PCAs are saved in
--features_dir, for example as Oxford_S512_L2_1f0c9a3e_pca_concat_2_2048.npz.
"""

from deep_retrieval import cli, offline_flags
from pca_get_features import PROTO


def parse_args():
    parser = offline_flags.retrieval_parser(__doc__, 'pca_concat', PROTO)
    offline_flags.add_maps(parser)
    parser.add_argument('--branch_dim', type=cli.positive, metavar='DIM',
                        help="maximum number of components of each map's PCA; by default all")
    offline_flags.add_pca(parser, 'reduce the descriptors to this many dimensions by another PCA; '
                                  'off by default')
    return parser.parse_args()


def main(args):
    from deep_retrieval.studies import retrieval
    result = retrieval.retrieve_with_pca(name='pca_concat', **offline_flags.values(args))
    print(*result.lines(), sep='\n')


if __name__ == '__main__':
    cli.run(parse_args, main)
