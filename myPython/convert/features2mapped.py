#!/usr/bin/env python3
"""Write a mapped file: for each image, every image with similarity >= threshold.

    python myPython/convert/features2mapped.py --features tmp/features --threshold 0.6 \
        --output tmp/mapped.txt

The features are a folder from convert_images2shards.py, an .npy file with a text file that names
its rows (lines `NAME ROW` or `ROW<TAB>NAME`), or a STEM of test.py's features. Each line of the
mapped file is `ANCHOR<TAB>ITEM:SCORE ITEM:SCORE ...`. An interrupted search resumes.
"""

from deep_retrieval import cli, paths
from deep_retrieval.datasets import DATASETS
from deep_retrieval.duplicates import DECIMALS
from deep_retrieval.duplicates.decimals import decimal


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--features', default=paths.TEMP / 'features',
                        help="folder of features, an .npy file, or a STEM of test.py's features")
    parser.add_argument('--features_txt',
                        help='names of the rows of an .npy file; by default the .txt file beside '
                             'it')
    parser.add_argument('--dataset', default=paths.DATASETS / 'demo',
                        help='dataset of a STEM, whose images are compared')
    parser.add_argument('--dataset_name', choices=sorted(DATASETS),
                        help='layout of that dataset; by default it is recognized')
    parser.add_argument('--output', default=paths.TEMP / 'mapped.txt', help='mapped file to write')
    parser.add_argument('--threshold', type=decimal, default='0.6',
                        help='minimum similarity (cosine)')
    parser.add_argument('--decimals', type=cli.natural, default=DECIMALS,
                        help='decimals of the scores, which are rounded down')
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--approximate', action='store_true',
                        help='find pairs with a faiss index: faster for millions of images, but '
                             'some pairs are missed')
    parser.add_argument('--probes', type=cli.positive, default=16,
                        help='cells of the faiss index to search per image; more cells miss fewer '
                             'pairs')
    return parser.parse_args()


def main(args):
    import deep_retrieval as dr
    features = dr.open_features(args.features, args.features_txt,
                                dataset=lambda: dr.open_dataset(args.dataset, args.dataset_name))
    images, anchors, pairs = write(args, features)
    print(f'{args.output}: {pairs} pairs at or above {args.threshold}, of {anchors} of '
          f'{images} images')


def write(args, features):
    """Write the mapped file on the device that the flags choose."""
    from deep_retrieval.duplicates.similar_pairs import Exact, device_of, write_mapped
    if args.approximate:
        from deep_retrieval.duplicates.approximate_pairs import Approximate
        find = Approximate(args.probes)
    else:
        cli.use_device(args.gpu)
        find = Exact(device_of(args.gpu))
    return write_mapped(args.output, features, args.threshold, args.decimals, find)


if __name__ == '__main__':
    cli.run(parse_args, main)
