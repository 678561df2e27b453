#!/usr/bin/env python3
"""Save the region vectors of four maps and the descriptors for pca_concat_retrieval.py.

    python myPython/offline/pca_concat/pca_get_features.py --dataset datasets/Oxford
"""

from deep_retrieval import cli, offline_flags

PROTO = 'pca/pca_concat_resnet101_normpython.prototxt'


def parse_args():
    return offline_flags.features_parser(__doc__, 'pca_concat', PROTO).parse_args()


def main(args):
    from deep_retrieval.studies import retrieval
    for maps in retrieval.get_features(**offline_flags.values(args)):
        print(maps.summary())


if __name__ == '__main__':
    cli.run(parse_args, main)
