#!/usr/bin/env python3
"""Make sets from the Oxford buildings dataset (Philbin et al., CVPR 2007), and compute its mean.

    python myPython/dataset_helper/oxford_helper.py make_uni_dataset --height 384 --width 512

The dataset itself is never changed. Every set gets its own folder. To resume an interrupted
command, run it again.
"""

import os

from deep_retrieval import cli, image_means, paths, subcommands
from deep_retrieval.datasets.oxford import GRADES, DatasetError, OxfordHelper, Query
from deep_retrieval.listing import EXTENSIONS
from deep_retrieval.subcommands import COPYING, MAKING, how, say_made, size

__all__ = ['EXTENSIONS', 'GRADES', 'DatasetError', 'OxfordHelper', 'Query']


def make_training_test_set(args):
    """Split the dataset into a training and a test half, resized to one longer side; queries are in
    both."""
    from deep_retrieval.making import oxford_sets
    count, parts = oxford_sets.make_halves(OxfordHelper(args.dataset), args.output, args.S,
                                           args.seed, how(args))
    say_made(args.output, count)
    for part, (images, queries) in parts.items():
        say_made(os.path.join(args.output, part), images, f'images, {queries} queries')


def make_uni_dataset(args):
    """Make a copy of the dataset with all images stretched to one size; boxes are scaled too."""
    from deep_retrieval.making import oxford_sets
    say_made(args.output, oxford_sets.make_uniform(OxfordHelper(args.dataset), args.output,
                                                   size(args), how(args)))


def cal_image_mean_channel(args):
    """Print the mean colour (B G R) of a folder's images; every image has the same weight."""
    from deep_retrieval.making.means import image_mean
    mean, count = image_mean(args.images, args.skip_bad, args.jobs)
    print(f'{args.images}: {" ".join(f"{value:.5f}" for value in mean)} (B G R, {count} images)')
    for name, known in image_means.MEANS.items():
        print(f'known, {name}: {" ".join(f"{value:.5f}" for value in known)}')


def make_queries_sim_cluster(args):
    """Copy the images most similar to each query, with rank, grade and similarity in their names.
    """
    from deep_retrieval.making import oxford_sets
    say_made(args.output, oxford_sets.make_clusters(
        OxfordHelper(args.dataset), args.queries_npy, args.dataset_npy, args.output, args.count,
        how(args)))


def cls_img_into_dir(args):
    """Copy the images into one folder per landmark, and one for those that show none."""
    from deep_retrieval.making import oxford_sets
    say_made(args.output, oxford_sets.make_landmark_folders(
        OxfordHelper(args.dataset), args.output, args.grades, how(args)))


FLAGS = {
    'dataset': dict(default=paths.OXFORD, help='folder with jpg/ and lab/'),
    'images': dict(default=paths.OXFORD / 'jpg', help='folder of images'),
    'output': dict(help='folder to make'),
    'S': dict(type=cli.positive, default=512, help='pixels of the longer side'),
    'queries_npy': dict(default=paths.TEMP / 'Oxford_S800_L2_queries.npy',
                        help="the queries' descriptors, as saved by test.py"),
    'dataset_npy': dict(default=paths.TEMP / 'Oxford_S800_L2_dataset.npy',
                        help="the images' descriptors"),
    'count': dict(type=cli.positive, default=50, help='images per query'),
    'grades': dict(nargs='+', choices=GRADES, default=GRADES, metavar='GRADE',
                   help=f'grades that show a landmark, of {" ".join(GRADES)}'),
}

MODES = {
    'make_training_test_set': (make_training_test_set, f'dataset output S seed {MAKING}',
                               {'output': paths.OXFORD / 'halves'}),
    'make_uni_dataset': (make_uni_dataset, f'dataset output height width {MAKING}',
                         {'output': paths.OXFORD / 'val', 'height': 384, 'width': 512}),
    'cal_image_mean_channel': (cal_image_mean_channel, 'images skip_bad jobs'),
    'make_queries_sim_cluster': (make_queries_sim_cluster,
                                 f'dataset queries_npy dataset_npy count output {COPYING}',
                                 {'output': paths.OXFORD / 'clusters'}),
    'cls_img_into_dir': (cls_img_into_dir, f'dataset grades output {COPYING}',
                         {'output': paths.OXFORD / 'landmarks'}),
}

if __name__ == '__main__':
    subcommands.run(__doc__, MODES, FLAGS)
