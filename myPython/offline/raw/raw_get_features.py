#!/usr/bin/env python3
"""Save the region vectors of four maps, and the descriptors, for the experiments without PCA.

    python myPython/offline/raw/raw_get_features.py --dataset datasets/Oxford

raw_baseline_retrieval.py, raw_concat_retrieval.py and raw_master_concat_retrieval.py read them.
"""

from deep_retrieval import cli
from deep_retrieval.offline_flags import features_parser, get_features

PROTO = 'raw/raw_master_concat_resnet101_normpython.prototxt'


def parse_args():
    return features_parser(__doc__, 'raw', PROTO).parse_args()


if __name__ == '__main__':
    cli.run(parse_args, get_features)
