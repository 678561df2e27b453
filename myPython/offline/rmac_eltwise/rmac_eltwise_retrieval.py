#!/usr/bin/env python3
"""Score the net's descriptor with the maps' R-MACs, whitened together, added to it.

    python myPython/offline/rmac_eltwise/rmac_eltwise_retrieval.py --maps 4

Features that rmac_eltwise_get_features.py has not made yet are made first. The PCA is saved as
DATASET_S512_L2_rmac_eltwise_4.npz in --features_dir.
"""

from deep_retrieval import cli
from deep_retrieval.offline_flags import (
    add_maps,
    add_pca,
    retrieval_parser,
    retrieve_with_pca,
)
from rmac_eltwise_get_features import PROTO


def parse_args():
    parser = retrieval_parser(__doc__, 'rmac_eltwise', PROTO)
    add_maps(parser)
    add_pca(parser, "components of the PCA; by default as many as the net's descriptor has; fewer "
                    'are filled up with zeros')
    return parser.parse_args()


def main(args):
    retrieve_with_pca(args, 'rmac_eltwise', args.dim)


if __name__ == '__main__':
    cli.run(parse_args, main)
