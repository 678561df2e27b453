#!/usr/bin/env python3
"""Write a mapped file: for each image all images at least so similar to it.

    python myPython/convert/features2mapped.py --features tmp/features --threshold 0.6 \
        --output tmp/mapped.txt

The features are a folder that convert_images2shards.py made, or an .npy file with a text that names
its rows (lines `NAME ROW` or `ROW<TAB>NAME`). A line of the mapped file is
`ANCHOR<TAB>ITEM:SCORE ITEM:SCORE ...`. A search that was interrupted goes on where it ended.
"""

import argparse

from deep_retrieval import cli
from deep_retrieval.duplicates import mapped_files
from deep_retrieval.duplicates.similar_pairs import Exact, device_of, write_mapped
from deep_retrieval.duplicates.thresholds import decimal
from deep_retrieval.saved_features import open_features


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--features', default='tmp/features',
                        help='folder of features, or an .npy file')
    parser.add_argument('--features_txt',
                        help='names of the rows of an .npy file; by default the file beside it '
                             'that ends in .txt')
    parser.add_argument('--output', default='tmp/mapped.txt', help='mapped file to write')
    parser.add_argument('--threshold', type=decimal, default='0.6',
                        help='least similarity, a cosine')
    parser.add_argument('--decimals', type=cli.natural, default=mapped_files.DECIMALS,
                        help='decimals of the scores, which are rounded down')
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--approximate', action='store_true',
                        help='look for pairs with an index of faiss: faster with millions of '
                             'images, but pairs may be missed')
    parser.add_argument('--probes', type=cli.positive, default=16,
                        help='parts of that index to look into for each image; of more, fewer '
                             'pairs are missed')
    return parser.parse_args()


def main(args):
    features = open_features(args.features, args.features_txt)
    if args.approximate:
        from deep_retrieval.duplicates.approximate_pairs import Approximate
        find = Approximate(args.probes)
    else:
        cli.use_device(args.gpu)
        find = Exact(device_of(args.gpu))
    images, anchors, pairs = write_mapped(args.output, features, args.threshold, args.decimals,
                                          find, cli.warn)
    print(f'{args.output}: {pairs} pairs at or above {args.threshold}, of {anchors} of '
          f'{images} images')


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
