#!/usr/bin/env python3
"""Save the images most similar to each of the first images: one folder per image, for browsing.

    python myPython/test/test_SimilarCluster.py --npy tmp/features.npy --txt tmp/features.txt \
        --img_dir images --cluster_dir tmp/clusters

The pictures are CLUSTER_DIR/ROW/RANK_NAME_SIMILARITY.jpg; ranks begin at 0, which is normally the
row's own image. The features and their list are written by the scripts in convert/.
"""

from deep_retrieval import cli, paths


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--npy', default=paths.TEMP / 'features.npy',
                        help='features, N x D, or a folder of shards')
    parser.add_argument('--txt', help='list of names, one line `ROW<TAB>NAME` or `NAME ROW` per '
                                      'image; by default the .txt file beside the features')
    parser.add_argument('--sim', metavar='FILE',
                        help='similarities to rank by (.npy, one column per image); if the file '
                             'does not exist, they are computed and written for the rows shown')
    parser.add_argument('--img_dir', default=paths.DATASETS / 'tiny/landmark/clean',
                        help='folder of the images')
    parser.add_argument('--cluster_dir', default=paths.TEMP / 'clusters', help='folder to write')
    parser.add_argument('--rows', type=cli.positive, default=100,
                        help='number of rows to show, from the first on')
    parser.add_argument('--top', type=cli.positive, default=100,
                        help='number of similar images to show per row')
    parser.add_argument('--overwrite', action='store_true',
                        help='write into a --cluster_dir that has other files')
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
