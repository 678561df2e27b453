#!/usr/bin/env python3
"""Save the region vectors of four maps and the descriptors for the studies without PCA.

    python myPython/offline/raw/raw_get_features.py --dataset datasets/Oxford

They are read by raw_baseline_retrieval.py, raw_concat_retrieval.py and
raw_master_concat_retrieval.py.
"""

from deep_retrieval import cli, offline_flags

PROTO = 'raw/raw_master_concat_resnet101_normpython.prototxt'


def parse_args():
    return offline_flags.features_parser(__doc__, 'raw', PROTO).parse_args()


def main(args):
    from deep_retrieval.studies import retrieval
    for maps in retrieval.get_features(**offline_flags.values(args)):
        print(maps.summary())


if __name__ == '__main__':
    cli.run(parse_args, main)
