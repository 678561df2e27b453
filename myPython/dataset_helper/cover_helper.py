#!/usr/bin/env python3
"""Make the sets of the cover dataset from its groups of same-origin covers, and score on them.

    python myPython/dataset_helper/cover_helper.py make_test_set --groups demo_shortv.txt \\
        --images FOLDER
    python myPython/dataset_helper/cover_helper.py make_clean_set
    python myPython/dataset_helper/cover_helper.py make_queries_for_test

The groups' file has a line ID<TAB>CSMID CSMID ... a group. Images come from a folder (--images), of
which they are copied, or from a news service (--service), of which they are downloaded.
"""

import os
from collections import Counter

from deep_retrieval import cli, subcommands
from deep_retrieval.datasets import query_sets
from deep_retrieval.duplicates import mapped_files
from deep_retrieval.files import write_aside
from deep_retrieval.gallery import answer_pictures
from deep_retrieval.listing import list_classes
from deep_retrieval.making import class_sets, cover_sets
from deep_retrieval.making.downloads import Download, check_id
from deep_retrieval.making.folders import check_apart, make
from deep_retrieval.making.retrieval import answers_of, mean_average_precision, precision_at_r
from deep_retrieval.paths import DATASETS
from deep_retrieval.subcommands import COPYING, FETCH_FLAGS, how, say_made
from download_helper import FETCHING, SERVICE, download, service
from oxford_helper import cal_image_mean_channel


def read_groups(args):
    """The groups of a command, their ids and members fit for file names."""
    groups = mapped_files.read_groups(args.groups)
    for key, names in groups.items():
        for name in (key, *names):
            check_id(name)
    return groups


def count_items(args):
    """Print how many groups and items there are, and how many groups have each size."""
    groups = mapped_files.read_groups(args.groups)
    for size, count in sorted(Counter(map(len, groups.values())).items()):
        print(f'groups of {size} items: {count}')
    print(f'{args.groups}: {sum(map(len, groups.values()))} items in {len(groups)} groups')


def get_csmid_list(args):
    """Write the groups of --least to --most items as test.txt, and the others as training.txt."""
    os.makedirs(args.output, exist_ok=True)
    parts = cover_sets.by_size(read_groups(args), args.least, args.most)
    for name, groups in zip(('test.txt', 'training.txt'), parts):
        text = ''.join(f'{mapped_files.encode(key)}\t{" ".join(map(mapped_files.encode, names))}\n'
                       for key, names in groups.items())
        path = os.path.join(args.output, name)
        write_aside(path, lambda file: file.write(os.fsencode(text)))
        say_made(path, sum(map(len, groups.values())), f'items in {len(groups)} groups')


def make_test_set(args):
    """Make the test set: the covers of the groups of --least to --most items, a folder a group."""
    test, _ = cover_sets.by_size(read_groups(args), args.least, args.most)
    _fill(args, cover_sets.grouped(test))


def make_training_set(args):
    """Make the training set: the covers of all other groups, in one folder."""
    _, training = cover_sets.by_size(read_groups(args), args.least, args.most)
    _fill(args, cover_sets.flat(training))


def _fill(args, paths):
    """Copy or download named covers: (name, path) pairs."""
    if not args.images:
        source = service(args)
        return download(args, [Download(name, cover_sets.with_extension(path), source.url(name))
                               for name, path in paths], source)
    steps, lost = cover_sets.steps_of(paths, args.images)
    if lost:
        cli.warn(f'{args.images}: has not got {len(lost)} of {len(paths)} covers, as {lost[0]!r}')
    say_made(args.output, make(args.output, {'command': args.mode}, steps, how=how(args),
                               say=cli.warn))


def make_clean_set(args):
    """Copy whole covers, equal ones once, of the groups that keep --least_size of them."""
    check_apart(args.input, args.output)
    steps = class_sets.clean(args.input, list_classes(args.input), args.least_size, cli.warn)
    about = {'command': args.mode, 'least_size': args.least_size}
    say_made(args.output, make(args.output, about, steps, how=how(args), say=cli.warn))


def make_queries_for_test(args):
    """Copy one random cover of each group of --least_size into queries/, the others to dataset/."""
    check_apart(args.input, args.output)
    steps, texts = class_sets.flat_queries(args.input, list_classes(args.input), args.least_size,
                                           args.seed)
    about = {'command': args.mode, 'least_size': args.least_size, 'seed': args.seed}
    say_made(args.output, make(args.output, about, steps, texts, how(args), cli.warn),
             f'images, {texts["query.txt"].count(chr(10))} of them queries')


def cls_training_set(args):
    """Copy the training set into a folder for each of its groups, numbered from 0 on."""
    check_apart(args.images, args.output)
    _, training = cover_sets.by_size(read_groups(args), args.least, args.most)
    paths = [(name, f'{number}/{name}') for number, names in enumerate(training.values())
             for name in names]
    _fill(args, paths)


def cal_precision(args):
    """Print the precision at R of saved descriptors; --wrong_dir saves wrong results as pictures.

    R is the number of a query's answers.
    """
    answers = _answers(args)
    print(f'precision: {precision_at_r(answers):.2f} (at R, {len(answers)} queries)')
    if args.wrong_dir:
        answer_pictures.save_answers(args.wrong_dir, answers, args.overwrite)


def cal_mAP(args):
    """Print the mAP of saved descriptors, as VOC 2010 defines it."""
    answers = _answers(args)
    print(f'mAP: {mean_average_precision(answers):.2f} (VOC 2010, {len(answers)} queries)')


def _answers(args):
    return answers_of(*query_sets.cover(args.test_set), args.queries_npy, args.dataset_npy)


COVER = DATASETS / 'cover'
FLAGS = {
    **FETCH_FLAGS,
    'groups': dict(default=COVER / 'demo_shortv.txt', metavar='FILE',
                   help='lines ID<TAB>CSMID CSMID ...'),
    'images': dict(metavar='FOLDER', help='folder of the covers, named by csmid; without it they '
                   'are downloaded'),
    'input': dict(help='folder that holds a folder for each group'),
    'output': dict(help='folder to make'),
    'least': dict(type=cli.positive, default=20, help='items of a group of the test set, at least'),
    'most': dict(type=cli.positive, default=24, help='items of a group of the test set, at most'),
    'least_size': dict(type=cli.positive, default=3, help='images of a group, at least'),
    'test_set': dict(default=COVER / 'clean', help='folder with query.txt, answer.txt, queries/ '
                     'and dataset/'),
    'queries_npy': dict(default='tmp/test_on_cover_S496_L2_queries.npy',
                        help="the queries' descriptors, as test_on_cover.py leaves them"),
    'dataset_npy': dict(default='tmp/test_on_cover_S496_L2_dataset.npy',
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
