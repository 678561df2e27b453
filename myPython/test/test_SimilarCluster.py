#!/usr/bin/env python3
"""Save the images most similar to each of the first ones: a folder a row, to look through.

    python myPython/test/test_SimilarCluster.py --npy tmp/features.npy --txt tmp/features.txt \
        --img_dir images --cluster_dir tmp/clusters

The pictures are CLUSTER_DIR/ROW/RANK_NAME_SIMILARITY.jpg, with ranks from 0 on, where normally the
row's own image stands. The features and their list are those that the scripts of convert/ write.
"""

from deep_retrieval import cli, paths


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--npy', default=paths.TEMP / 'features.npy',
                        help='features, N x D, or a folder of shards')
    parser.add_argument('--txt', help='their list, one line `ROW<TAB>NAME` or `NAME ROW` per '
                                      'image; by default the .txt file beside them')
    parser.add_argument('--sim', metavar='FILE',
                        help='similarities (.npy, one column per image) to rank by; written, for '
                             'the rows that are shown, if the file does not exist')
    parser.add_argument('--img_dir', default=paths.DATASETS / 'tiny/landmark/clean',
                        help='folder of the images')
    parser.add_argument('--cluster_dir', default=paths.TEMP / 'clusters', help='folder to write')
    parser.add_argument('--rows', type=cli.positive, default=100,
                        help='how many rows to show, from the first on')
    parser.add_argument('--top', type=cli.positive, default=100,
                        help='how many similar images to show of each')
    parser.add_argument('--overwrite', action='store_true',
                        help='write into a --cluster_dir that holds something else')
    return parser.parse_args()


def main(args):
    from deep_retrieval.gallery import answer_pictures, similar_clusters
    from deep_retrieval.saved_features import open_features
    features = open_features(args.npy, args.txt)
    answer_pictures.check(args.cluster_dir, args.overwrite)
    similarities = similar_clusters.similarities_of(features, args.rows, args.sim)
    pictures = similar_clusters.clusters(similarities, features.names, args.img_dir, args.top)
    answer_pictures.fill(args.cluster_dir, pictures, args.overwrite)
    print(f'{args.cluster_dir}: {len(similarities)} folders, {len(pictures)} pictures')


if __name__ == '__main__':
    cli.run(parse_args, main)
