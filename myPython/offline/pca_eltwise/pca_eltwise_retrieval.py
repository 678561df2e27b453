#!/usr/bin/env python3
"""Score the sum of the net's descriptor and the maps' regions, which are whitened together.

    python myPython/offline/pca_eltwise/pca_eltwise_retrieval.py --maps 4

Features that do not exist yet are made first, as by pca_eltwise_get_features.py. The PCA is saved
in --features_dir, for example as Oxford_S512_L2_1f0c9a3e_pca_eltwise_4.npz.
"""

from deep_retrieval import cli, offline_flags
from pca_eltwise_get_features import PROTO


def parse_args():
    parser = offline_flags.retrieval_parser(__doc__, 'pca_eltwise', PROTO)
    offline_flags.add_maps(parser)
    offline_flags.add_pca(parser, "components of the PCA; by default the dimensions of the "
                                  "net's descriptor; if there are fewer, zeros are appended")
    return parser.parse_args()


def main(args):
    from deep_retrieval.studies import retrieval
    result = retrieval.retrieve_with_pca(name='pca_eltwise', **offline_flags.values(args))
    print(*result.lines(), sep='\n')


if __name__ == '__main__':
    cli.run(parse_args, main)
