#!/usr/bin/env python3
"""Make sets of the Paris buildings dataset (Philbin et al., CVPR 2008), and score saved features.

    python myPython/dataset_helper/paris_helper.py make_triplet_set
    python myPython/dataset_helper/paris_helper.py make_aug_set --crops 3

The dataset is left as it is. What is made stays in folders of its own; an interrupted command goes
on when it is given again. Damaged images are left out: the 20 known ones, or those of --blacklist.
"""

import os

from deep_retrieval import cli, subcommands
from deep_retrieval.datasets import ParisClasses
from deep_retrieval.datasets.oxford import DAMAGED, ParisHelper
from deep_retrieval.files import write_aside
from deep_retrieval.image_means import SIZES
from deep_retrieval.images import ImageError, read_image
from deep_retrieval.listing import list_images
from deep_retrieval.making import paris_sets
from deep_retrieval.making.folders import make
from deep_retrieval.making.parallel import parallel
from deep_retrieval.making.retrieval import answers_of, mean_average_precision
from deep_retrieval.paths import DATASETS
from deep_retrieval.subcommands import COPYING, MAKING, how, say_made, size
from oxford_helper import make_uni
from tqdm import tqdm

__all__ = ['DAMAGED', 'ParisHelper']


def read_blacklist(path):
    """The names of images in a file, a name a line, with or without extension."""
    with open(path, encoding='utf-8', errors='surrogateescape') as file:
        names = file.read().split('\n')
    return {os.path.splitext(name)[0] if name.lower().endswith(('.jpg', '.jpeg', '.png')) else name
            for name in map(str.strip, names) if name}


def open_dataset(args):
    """The dataset without the images of the blacklist."""
    return ParisHelper(args.dataset, read_blacklist(args.blacklist) if args.blacklist else None)


def make_blacklist(args):
    """Write a blacklist: the names of the images that are damaged, a name a line."""
    folder = os.path.join(args.dataset, 'jpg')
    names = list_images(folder)

    def is_bad(name):
        try:
            read_image(os.path.join(folder, name))
        except ImageError as error:
            return str(error)

    found = dict(tqdm(parallel(is_bad, names, args.jobs), total=len(names), unit='image',
                      disable=None))
    bad = [os.path.splitext(name)[0] for i, name in enumerate(names) if found[i]]
    data = os.fsencode(''.join(f'{name}\n' for name in bad))
    write_aside(args.output, lambda file: file.write(data))
    say_made(args.output, len(bad), f'of {len(names)} images are damaged')


def make_test_set(args):
    """Make a copy of the dataset with all images at exactly one size, boxes scaled with them."""
    make_uni(args, open_dataset(args))


def make_triplet_set(args):
    """Make a folder for each landmark, images at one size, and one beside for useless images."""
    classes, useless = paris_sets.triplet_sets(open_dataset(args), size(args))
    about = {'command': args.mode, 'size': size(args)}
    say_made(args.output, make(args.output, about, classes, how=how(args), say=cli.warn))
    if useless:
        say_made(args.useless, make(args.useless, about, useless, how=how(args), say=cli.warn))


def make_aug_set(args):
    """Resize each image to one size, and so many random crops of it too: to train with."""
    steps = paris_sets.augmented_set(open_dataset(args), size(args), args.crops, args.seed)
    about = {'command': args.mode, 'size': size(args), 'crops': args.crops, 'seed': args.seed}
    say_made(args.output, make(args.output, about, steps, how=how(args), say=cli.warn))


def make_dataset_for_test(args):
    """Copy random images of each landmark and of none into queries/ and dataset/."""
    steps, texts = paris_sets.test_set(open_dataset(args), args.num_cls, args.num_useless,
                                       args.seed)
    about = {'command': args.mode, 'num_cls': args.num_cls, 'num_useless': args.num_useless,
             'seed': args.seed}
    say_made(args.output, make(args.output, about, steps, texts, how(args), cli.warn))


def cal_mAP(args):
    """Print the mAP of saved descriptors of a test set, as VOC 2010 defines it."""
    answers = answers_of(ParisClasses(args.test_set, args.classes), args.queries_npy,
                         args.dataset_npy)
    print(f'mAP: {mean_average_precision(answers):.2f} (VOC 2010, {len(answers)} queries)')


FLAGS = {
    'dataset': dict(default=DATASETS / 'Paris', help='folder that holds jpg/ and lab/'),
    'blacklist': dict(metavar='FILE', help='names of images to leave out, a name a line; without '
                      'it the 20 that are damaged in the distributed archives'),
    'output': dict(help='what to make'),
    'useless': dict(default=DATASETS / 'Paris/useless',
                    help='folder for the images that show no landmark'),
    'crops': dict(type=cli.natural, default=3, help='random crops of an image'),
    'num_cls': dict(type=cli.positive, default=20,
                    help='images of each landmark, one of them its query'),
    'num_useless': dict(type=cli.natural, default=500, help='images of no landmark'),
    'test_set': dict(default=DATASETS / 'Paris/test', help='folder with queries/ and dataset/'),
    'classes': dict(nargs='+', metavar='NAME', help='names of the classes; without it those of '
                    'the folder triplet/ or else the 11 landmarks'),
    'queries_npy': dict(default='tmp/test_on_paris_S512_L2_queries.npy',
                        help="the queries' descriptors, as test_on_paris.py leaves them"),
    'dataset_npy': dict(default='tmp/test_on_paris_S512_L2_dataset.npy',
                        help="the database's descriptors"),
}

READING = 'dataset blacklist'
PARIS = dict(zip(('height', 'width'), SIZES['paris']))
LANDMARK = dict(zip(('height', 'width'), SIZES['landmark']))

MODES = {
    'make_blacklist': (make_blacklist, 'dataset output jobs',
                       {'output': DATASETS / 'Paris/blacklist.txt'}),
    'make_test_set': (make_test_set, f'{READING} output height width {MAKING}',
                      {'output': DATASETS / 'Paris/uni', **PARIS}),
    'make_triplet_set': (make_triplet_set, f'{READING} output useless height width {MAKING}',
                         {'output': DATASETS / 'Paris/triplet', **LANDMARK}),
    'make_aug_set': (make_aug_set, f'{READING} output height width crops seed {MAKING}',
                     {'output': DATASETS / 'Paris/aug/jpg', **PARIS}),
    'make_dataset_for_test': (make_dataset_for_test,
                              f'{READING} num_cls num_useless seed output {COPYING}',
                              {'output': DATASETS / 'Paris/test'}),
    'cal_mAP': (cal_mAP, 'test_set classes queries_npy dataset_npy'),
}

if __name__ == '__main__':
    subcommands.run(__doc__, MODES, FLAGS)
