#!/usr/bin/env python3
"""Make sets of the Oxford buildings dataset (Philbin et al., CVPR 2007), and compute its mean.

    python myPython/dataset_helper/oxford_helper.py make_uni_dataset --height 384 --width 512

The dataset is left as it is. What is made stays in a folder of its own; an interrupted command goes
on when it is given again.
"""

import os

import numpy as np
from deep_retrieval import cli, image_means, subcommands
from deep_retrieval.datasets.oxford import GRADES, DatasetError, OxfordHelper, Query
from deep_retrieval.image_files import channel_mean
from deep_retrieval.images import ImageError, read_image
from deep_retrieval.listing import EXTENSIONS, list_images
from deep_retrieval.making import oxford_sets
from deep_retrieval.making.folders import make
from deep_retrieval.making.parallel import parallel
from deep_retrieval.paths import DATASETS
from deep_retrieval.subcommands import COPYING, MAKING, how, say_made, size
from tqdm import tqdm

__all__ = ['EXTENSIONS', 'GRADES', 'DatasetError', 'OxfordHelper', 'Query']


def make_training_test_set(args):
    """Split the dataset into a training and a test half at one longer side; queries are in both."""
    dataset = OxfordHelper(args.dataset)
    steps, texts = oxford_sets.halves(dataset, args.S, args.seed)
    about = {'command': args.mode, 'S': args.S, 'seed': args.seed}
    say_made(args.output, make(args.output, about, steps, texts, how(args), cli.warn))
    for part in ('training', 'test'):
        count = sum(path.startswith(f'{part}/jpg/') for path in steps)
        queries = sum(path.startswith(f'{part}/') and path.endswith('_query.txt') for path in texts)
        say_made(os.path.join(args.output, part), count, f'images, {queries} queries')


def make_uni_dataset(args):
    """Make a copy of the dataset with all images at exactly one size, boxes scaled with them."""
    make_uni(args, OxfordHelper(args.dataset))


def make_uni(args, dataset):
    """`make_uni_dataset` of a dataset."""
    steps, texts = oxford_sets.uni_set(dataset, size(args))
    about = {'command': args.mode, 'size': size(args)}
    say_made(args.output, make(args.output, about, steps, texts, how(args), cli.warn))


def cal_image_mean_channel(args):
    """Print the mean of a folder's images, B G R; every image counts alike."""
    paths = [os.path.join(args.images, name) for name in list_images(args.images)]
    if not paths:
        raise ValueError(f'{args.images}: holds no image ({" ".join(EXTENSIONS)})')

    def mean(path):
        try:
            return channel_mean(read_image(path))
        except ImageError as error:
            if not args.skip_bad:
                raise ImageError(f'{error} (--skip_bad leaves it out)') from None
            return error

    found = dict(tqdm(parallel(mean, paths, args.jobs), total=len(paths), unit='image',
                      disable=None))
    bad = [found[i] for i in sorted(found) if isinstance(found[i], ImageError)]
    for error in bad:
        cli.warn(f'left out: {error}')
    if len(bad) == len(paths):
        raise ValueError(f'{args.images}: none of its images can be read')
    # summed in the order of the names, so that equal runs give equal digits
    means = [found[i] for i in sorted(found) if not isinstance(found[i], ImageError)]
    print(f'{args.images}: {" ".join(f"{value:.5f}" for value in np.mean(means, axis=0))} '
          f'(B G R, {len(means)} images)')
    for name, known in image_means.MEANS.items():
        print(f'known, {name}: {" ".join(f"{value:.5f}" for value in known)}')


def make_queries_sim_cluster(args):
    """Copy the images most similar to each query, rank, grade and similarity in their names."""
    dataset = OxfordHelper(args.dataset)
    steps = oxford_sets.similar_clusters(
        dataset, oxford_sets.load_rows(args.queries_npy), oxford_sets.load_rows(args.dataset_npy),
        args.count)
    say_made(args.output, make(args.output, {'command': args.mode, 'count': args.count}, steps,
                               how=how(args), say=cli.warn))


def cls_img_into_dir(args):
    """Copy the images into a folder for each landmark, and one for those that show none."""
    dataset = OxfordHelper(args.dataset)
    steps = oxford_sets.landmark_folders(dataset, args.grades)
    say_made(args.output, make(args.output, {'command': args.mode, 'grades': args.grades}, steps,
                               how=how(args), say=cli.warn))


FLAGS = {
    'dataset': dict(default=DATASETS / 'Oxford', help='folder that holds jpg/ and lab/'),
    'images': dict(default=DATASETS / 'Oxford/jpg', help='folder of images'),
    'output': dict(help='folder to make'),
    'S': dict(type=cli.positive, default=512, help='pixels of the longer side'),
    'queries_npy': dict(default='tmp/Oxford_S800_L2_queries.npy',
                        help="the queries' descriptors, as test.py leaves them"),
    'dataset_npy': dict(default='tmp/Oxford_S800_L2_dataset.npy', help="the images' descriptors"),
    'count': dict(type=cli.positive, default=50, help='images for each query'),
    'grades': dict(nargs='+', choices=GRADES, default=GRADES, metavar='GRADE',
                   help=f'which images show a landmark: of {" ".join(GRADES)}'),
}

MODES = {
    'make_training_test_set': (make_training_test_set, f'dataset output S seed {MAKING}',
                               {'output': DATASETS / 'Oxford/halves'}),
    'make_uni_dataset': (make_uni_dataset, f'dataset output height width {MAKING}',
                         {'output': DATASETS / 'Oxford/val', 'height': 384, 'width': 512}),
    'cal_image_mean_channel': (cal_image_mean_channel, 'images skip_bad jobs'),
    'make_queries_sim_cluster': (make_queries_sim_cluster,
                                 f'dataset queries_npy dataset_npy count output {COPYING}',
                                 {'output': DATASETS / 'Oxford/clusters'}),
    'cls_img_into_dir': (cls_img_into_dir, f'dataset grades output {COPYING}',
                         {'output': DATASETS / 'Oxford/landmarks'}),
}

if __name__ == '__main__':
    subcommands.run(__doc__, MODES, FLAGS)
