#!/usr/bin/env python3
"""Make sets from the Paris buildings dataset (Philbin et al., CVPR 2008), and score saved features.

    python myPython/dataset_helper/paris_helper.py make_triplet_set
    python myPython/dataset_helper/paris_helper.py make_aug_set --crops 3

The dataset itself is never changed. Every set gets its own folder. To resume an interrupted
command, run it again. Damaged images are left out: the 20 known ones, or those in --blacklist.
"""

import os

from deep_retrieval import cli, image_means, paths, subcommands
from deep_retrieval.datasets.oxford import DAMAGED, ParisHelper
from deep_retrieval.listing import EXTENSIONS
from deep_retrieval.subcommands import COPYING, MAKING, how, say_made, size

__all__ = ['DAMAGED', 'ParisHelper']


def read_blacklist(path):
    """Return the set of names in a file with one image per line, with or without extension."""
    with open(path, encoding='utf-8', errors='surrogateescape') as file:
        names = [line.strip() for line in file.read().split('\n')]
    return {os.path.splitext(name)[0] if name.lower().endswith(EXTENSIONS) else name
            for name in names if name}


def open_dataset(args):
    """Return the dataset without the images of the blacklist."""
    return ParisHelper(args.dataset, read_blacklist(args.blacklist) if args.blacklist else None)


def make_blacklist(args):
    """Write a blacklist: the names of the damaged images, one per line."""
    from deep_retrieval.making.means import write_blacklist
    bad, count = write_blacklist(os.path.join(args.dataset, 'jpg'), args.output, args.jobs)
    say_made(args.output, bad, f'of {count} images are damaged')


def make_test_set(args):
    """Make a copy of the dataset with all images stretched to one size; boxes are scaled too."""
    from deep_retrieval.making import oxford_sets
    say_made(args.output, oxford_sets.make_uniform(open_dataset(args), args.output, size(args),
                                                   how(args), args.mode))


def make_triplet_set(args):
    """Make one folder per landmark, and one for images of no landmark, with images of one size."""
    from deep_retrieval.making import paris_sets
    count, useless = paris_sets.make_triplets(open_dataset(args), args.output, args.useless,
                                              size(args), how(args))
    say_made(args.output, count)
    if useless:
        say_made(args.useless, useless)


def make_aug_set(args):
    """Resize each image, and random crops of it, to one size: an augmented training set."""
    from deep_retrieval.making import paris_sets
    say_made(args.output, paris_sets.make_augmented(open_dataset(args), args.output, size(args),
                                                    args.crops, args.seed, how(args)))


def make_dataset_for_test(args):
    """Copy random images of each landmark, and some of no landmark, into queries/ and dataset/."""
    from deep_retrieval.making import paris_sets
    say_made(args.output, paris_sets.make_test_set(
        open_dataset(args), args.output, args.num_cls, args.num_useless, args.seed, how(args)))


def cal_mAP(args):
    """Print the mAP of saved descriptors of a test set, as VOC 2010 defines it."""
    from deep_retrieval.datasets import ParisClasses
    from deep_retrieval.making.retrieval import answers_of, mean_average_precision
    answers = answers_of(ParisClasses(args.test_set, args.classes), args.queries_npy,
                         args.dataset_npy)
    print(f'mAP: {mean_average_precision(answers):.2f} (VOC 2010, {len(answers)} queries)')


FOLDER = paths.DATASETS / 'Paris'
FLAGS = {
    'dataset': dict(default=FOLDER, help='folder with jpg/ and lab/'),
    'blacklist': dict(metavar='FILE', help='names of images to leave out, one per line; by default '
                      'the 20 that are damaged in the distributed archives'),
    'output': dict(help='file or folder to write'),
    'useless': dict(default=FOLDER / 'useless',
                    help='folder for the images that show no landmark'),
    'crops': dict(type=cli.natural, default=3, help='random crops per image'),
    'num_cls': dict(type=cli.positive, default=20,
                    help='images of each landmark, one of which is its query'),
    'num_useless': dict(type=cli.natural, default=500, help='images of no landmark'),
    'test_set': dict(default=FOLDER / 'test', help='folder with queries/ and dataset/'),
    'classes': dict(nargs='+', metavar='NAME', help='names of the classes; by default those of the '
                    'folder triplet/, or else the 11 landmarks'),
    'queries_npy': dict(default=paths.TEMP / 'test_on_paris_S512_L2_queries.npy',
                        help="the queries' descriptors, as saved by test_on_paris.py"),
    'dataset_npy': dict(default=paths.TEMP / 'test_on_paris_S512_L2_dataset.npy',
                        help="the database's descriptors"),
}

READING = 'dataset blacklist'
PARIS, LANDMARK = (dict(zip(('height', 'width'), image_means.SIZES[name], strict=True))
                   for name in ('paris', 'landmark'))

MODES = {
    'make_blacklist': (make_blacklist, 'dataset output jobs',
                       {'output': FOLDER / 'blacklist.txt'}),
    'make_test_set': (make_test_set, f'{READING} output height width {MAKING}',
                      {'output': FOLDER / 'uni', **PARIS}),
    'make_triplet_set': (make_triplet_set, f'{READING} output useless height width {MAKING}',
                         {'output': FOLDER / 'triplet', **LANDMARK}),
    'make_aug_set': (make_aug_set, f'{READING} output height width crops seed {MAKING}',
                     {'output': FOLDER / 'aug/jpg', **PARIS}),
    'make_dataset_for_test': (make_dataset_for_test,
                              f'{READING} num_cls num_useless seed output {COPYING}',
                              {'output': FOLDER / 'test'}),
    'cal_mAP': (cal_mAP, 'test_set classes queries_npy dataset_npy'),
}

if __name__ == '__main__':
    subcommands.run(__doc__, MODES, FLAGS)
