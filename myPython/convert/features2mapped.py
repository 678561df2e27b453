#!/usr/bin/env python3
"""Write a mapped file: for each image, every image with similarity >= threshold.

    python myPython/convert/features2mapped.py --features tmp/features --threshold 0.6 \
        --output tmp/mapped.txt

The features are a folder that convert_images2shards.py made, or an .npy file with a text that names
its rows (lines `NAME ROW` or `ROW<TAB>NAME`). A line of the mapped file is
`ANCHOR<TAB>ITEM:SCORE ITEM:SCORE ...`. A search that was interrupted goes on where it ended.
"""

from decimal import Decimal, InvalidOperation

from deep_retrieval import cli, paths


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--features', default=paths.TEMP / 'features',
                        help="folder of features, an .npy file, or a STEM of test.py's features")
    parser.add_argument('--features_txt',
                        help='names of the rows of an .npy file; by default the .txt file beside '
                             'it')
    parser.add_argument('--dataset', default=paths.OXFORD, help='the dataset of a STEM')
    parser.add_argument('--output', default=paths.TEMP / 'mapped.txt', help='mapped file to write')
    parser.add_argument('--threshold', type=decimal, default='0.6',
                        help='least similarity, a cosine')
    parser.add_argument('--decimals', type=cli.natural, default=6,
                        help='decimals of the scores, which are rounded down')
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--approximate', action='store_true',
                        help='find pairs with an index of faiss: faster with millions of '
                             'images, but pairs may be missed')
    parser.add_argument('--probes', type=cli.positive, default=16,
                        help='cells of that index to search for each image; with more, fewer '
                             'pairs are missed')
    return parser.parse_args()


def decimal(text):
    """An argparse type: a number exactly as it is written."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal('nan')
    if not value.is_finite():
        raise ValueError(f'{text!r} is not a number')
    return value


def main(args):
    from deep_retrieval.datasets import open_dataset
    from deep_retrieval.duplicates import approximate_pairs, similar_pairs
    from deep_retrieval.saved_features import open_features
    features = open_features(args.features, args.features_txt,
                             dataset=lambda: open_dataset(args.dataset))
    if args.approximate:
        find = approximate_pairs.Approximate(args.probes)
    else:
        cli.use_device(args.gpu)
        find = similar_pairs.Exact(similar_pairs.device_of(args.gpu))
    images, anchors, pairs = similar_pairs.write_mapped(
        args.output, features, args.threshold, args.decimals, find)
    print(f'{args.output}: {pairs} pairs at or above {args.threshold}, of {anchors} of '
          f'{images} images')


if __name__ == '__main__':
    cli.run(parse_args, main)
