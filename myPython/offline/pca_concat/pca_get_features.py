#!/usr/bin/env python3
"""Save the region vectors of four maps, and the descriptors, for pca_concat_retrieval.py.

    python myPython/offline/pca_concat/pca_get_features.py --dataset datasets/Oxford
"""

from deep_retrieval import cli
from deep_retrieval.offline_flags import features_parser, get_features

PROTO = 'pca/pca_concat_resnet101_normpython.prototxt'


def parse_args():
    return features_parser(__doc__, 'pca_concat', PROTO).parse_args()


if __name__ == '__main__':
    cli.run(parse_args, get_features)
