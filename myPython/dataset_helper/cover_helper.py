#!/usr/bin/env python3
"""Make sets from the cover dataset's groups of same-origin covers, and score descriptors on them.

    python myPython/dataset_helper/cover_helper.py make_test_set --groups demo_shortv.txt \\
        --images FOLDER
    python myPython/dataset_helper/cover_helper.py make_clean_set
    python myPython/dataset_helper/cover_helper.py make_queries_for_test

The file of groups has one line ID<TAB>CSMID CSMID ... per group. Covers are copied from a folder
(--images) or downloaded from a news service (--service).
"""

from collections import Counter

from deep_retrieval import cli, paths, subcommands
from deep_retrieval.subcommands import COPYING, FETCH_FLAGS, FETCHING, SERVICE, how, say_made
from download_helper import download
from oxford_helper import cal_image_mean_channel


def count_items(args):
    """Print how many groups and items there are, and how many groups have each size."""
    from deep_retrieval.duplicates import mapped_files
    groups = mapped_files.read_groups(args.groups)
    for size, count in sorted(Counter(map(len, groups.values())).items()):
        print(f'groups of {size} items: {count}')
    print(f'{args.groups}: {sum(map(len, groups.values()))} items in {len(groups)} groups')


def get_csmid_list(args):
    """Write the groups of --least to --most items as test.txt, and the others as training.txt."""
    from deep_retrieval.making import cover_sets
    parts = cover_sets.write_lists(cover_sets.read_groups(args.groups), args.output, args.least,
                                   args.most)
    for path, groups in parts.items():
        say_made(path, sum(map(len, groups.values())), f'items in {len(groups)} groups')


def make_test_set(args):
    """Make the test set: covers of the groups of --least to --most items, one folder per group."""
    from deep_retrieval.making import cover_sets
    test, _ = cover_sets.by_size(cover_sets.read_groups(args.groups), args.least, args.most)
    copy_or_download(args, cover_sets.grouped(test))


def make_training_set(args):
    """Make the training set: the covers of all other groups, in one folder."""
    from deep_retrieval.making import cover_sets
    _, training = cover_sets.by_size(cover_sets.read_groups(args.groups), args.least, args.most)
    copy_or_download(args, cover_sets.flat(training))


def copy_or_download(args, pairs):
    """Copy covers from --images, or download them; pairs : (name, path)."""
    from deep_retrieval.making import cover_sets
    if args.images:
        say_made(args.output, cover_sets.make_set(args.output, args.mode, pairs, args.images,
                                                  how(args)))
    else:
        source = subcommands.service(args)
        download(args, cover_sets.downloads_of(pairs, source), source)


def make_clean_set(args):
    """Copy undamaged covers without duplicates, of groups with at least --least_size of them."""
    from deep_retrieval.making import class_sets
    say_made(args.output, class_sets.make_clean(args.input, args.output, args.least_size,
                                                how(args)))


def make_queries_for_test(args):
    """Copy one random cover of each group of at least --least_size into queries/, and the others
    into dataset/."""
    from deep_retrieval.making import class_sets
    count, queries = class_sets.make_flat_queries(args.input, args.output, args.least_size,
                                                  args.seed, how(args))
    say_made(args.output, count, f'images, {queries} of them queries')


def cls_training_set(args):
    """Copy the training set into one folder per group, numbered from 0."""
    from deep_retrieval.making import cover_sets
    _, training = cover_sets.by_size(cover_sets.read_groups(args.groups), args.least, args.most)
    say_made(args.output, cover_sets.make_class_set(args.output, args.mode, training, args.images,
                                                    how(args)))


def cal_precision(args):
    """Print the precision at R of saved descriptors; --wrong_dir saves wrong results as pictures.

    R is the number of positives of a query.
    """
    from deep_retrieval.making.retrieval import precision_at_r
    answers = read_answers(args)
    print(f'precision: {precision_at_r(answers):.2f} (at R, {len(answers)} queries)')
    if args.wrong_dir:
        from deep_retrieval.datasets import Covers
        from deep_retrieval.gallery import answer_pictures
        answer_pictures.save_answers(args.wrong_dir, Covers(args.test_set), answers,
                                     args.overwrite)


def cal_mAP(args):
    """Print the mAP of saved descriptors, as VOC 2010 defines it."""
    from deep_retrieval.making.retrieval import mean_average_precision
    answers = read_answers(args)
    print(f'mAP: {mean_average_precision(answers):.2f} (VOC 2010, {len(answers)} queries)')


def read_answers(args):
    """Rank a test set by saved descriptors; return an Answer per query."""
    from deep_retrieval.datasets import Covers
    from deep_retrieval.making.retrieval import answers_of
    return answers_of(Covers(args.test_set), args.queries_npy, args.dataset_npy)


COVER = paths.DATASETS / 'cover'
FLAGS = {
    **FETCH_FLAGS,
    'groups': dict(default=COVER / 'demo_shortv.txt', metavar='FILE',
                   help='file with lines ID<TAB>CSMID CSMID ...'),
    'images': dict(metavar='FOLDER', help='folder of covers named by csmid; without it they are '
                   'downloaded'),
    'input': dict(help='folder with one subfolder per group'),
    'output': dict(help='folder to make'),
    'least': dict(type=cli.positive, default=20, help='minimum size of a group of the test set'),
    'most': dict(type=cli.positive, default=24, help='maximum size of a group of the test set'),
    'least_size': dict(type=cli.positive, default=3, help='minimum number of images of a group'),
    'test_set': dict(default=COVER / 'clean', help='folder with query.txt, answer.txt, queries/ '
                     'and dataset/'),
    'queries_npy': dict(default=paths.TEMP / 'test_on_cover_S496_L2_queries.npy',
                        help="the queries' descriptors, as saved by test_on_cover.py"),
    'dataset_npy': dict(default=paths.TEMP / 'test_on_cover_S496_L2_dataset.npy',
                        help="the database's descriptors"),
    'wrong_dir': dict(metavar='FOLDER', help='folder for pictures of the wrong results'),
}

SIZES = 'groups least most'
GETTING = f'images link skip_bad {SERVICE} {FETCHING}'
MODES = {
    'count_items': (count_items, 'groups'),
    'get_csmid_list': (get_csmid_list, f'{SIZES} output', {'output': COVER / 'lists'}),
    'make_test_set': (make_test_set, f'{SIZES} output {GETTING}', {'output': COVER / 'test'}),
    'make_training_set': (make_training_set, f'{SIZES} output {GETTING}',
                          {'output': COVER / 'training/jpg'}),
    'make_clean_set': (make_clean_set, f'input least_size output {COPYING}',
                       {'input': COVER / 'test', 'output': COVER / 'clean_groups'}),
    'make_queries_for_test': (make_queries_for_test, f'input least_size seed output {COPYING}',
                              {'input': COVER / 'clean_groups', 'output': COVER / 'clean'}),
    'cal_precision': (cal_precision, 'test_set queries_npy dataset_npy wrong_dir overwrite'),
    'cal_mAP': (cal_mAP, 'test_set queries_npy dataset_npy'),
    'cal_mean_training_set': (cal_image_mean_channel, 'images skip_bad jobs',
                              {'images': COVER / 'training/jpg'}),
    'cls_training_set': (cls_training_set, f'{SIZES} images output {COPYING}',
                         {'images': COVER / 'training/jpg', 'output': COVER / 'classes'}),
}

if __name__ == '__main__':
    subcommands.run(__doc__, MODES, FLAGS)
