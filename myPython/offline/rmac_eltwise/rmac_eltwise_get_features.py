#!/usr/bin/env python3
"""Save the region vectors of four maps, and the descriptors, for rmac_eltwise_retrieval.py.

    python myPython/offline/rmac_eltwise/rmac_eltwise_get_features.py --dataset datasets/Oxford
"""

from deep_retrieval import cli
from deep_retrieval.offline_flags import features_parser, get_features

PROTO = 'rmac/rmac_eltwise_resnet101_normpython.prototxt'


def parse_args():
    return features_parser(__doc__, 'rmac_eltwise', PROTO).parse_args()


if __name__ == '__main__':
    cli.run(parse_args, get_features)
