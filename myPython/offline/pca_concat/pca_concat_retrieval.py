#!/usr/bin/env python3
"""Score the net's descriptor and middle maps side by side, whose regions are whitened map by map.

    python myPython/offline/pca_concat/pca_concat_retrieval.py --maps 2 --dim 2048

Features that pca_get_features.py has not made yet are made first. The PCAs are saved as
DATASET_S512_L2_pca_concat_2_2048.npz in --features_dir.
"""

from deep_retrieval import cli
from deep_retrieval.offline_flags import (
    add_maps,
    add_pca,
    retrieval_parser,
    retrieve_with_pca,
)
from pca_get_features import PROTO


def parse_args():
    parser = retrieval_parser(__doc__, 'pca_concat', PROTO)
    add_maps(parser)
    parser.add_argument('--branch_dim', type=cli.positive, metavar='DIM',
                        help="components of each map's PCA, at most; by default all")
    add_pca(parser, 'reduce the descriptors to so many dimensions by one more PCA; off by default')
    return parser.parse_args()


def main(args):
    retrieve_with_pca(args, 'pca_concat', args.branch_dim, args.dim)


if __name__ == '__main__':
    cli.run(parse_args, main)
