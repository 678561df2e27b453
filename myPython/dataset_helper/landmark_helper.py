#!/usr/bin/env python3
"""Download the Landmark dataset of Kaggle's challenge (2018), and make it what nets train with.

    python myPython/dataset_helper/landmark_helper.py download_image --csv train.csv
    python myPython/dataset_helper/landmark_helper.py unite_images_size --mode crop
    python myPython/dataset_helper/landmark_helper.py make_training_test_set

Images lie in a folder for each landmark, named by its integer. What is downloaded is left as it is,
but for clean_empty_dir --delete.
"""

import csv
import io
import os
import shutil

from deep_retrieval import cli, subcommands
from deep_retrieval.datasets import Landmark
from deep_retrieval.files import write_aside
from deep_retrieval.image_means import SIZES
from deep_retrieval.listing import list_classes
from deep_retrieval.making import class_sets
from deep_retrieval.making.downloads import Download, check_id
from deep_retrieval.making.folders import check_apart, make
from deep_retrieval.making.retrieval import answers_of, mean_average_precision
from deep_retrieval.paths import DATASETS
from deep_retrieval.subcommands import COPYING, FETCH_FLAGS, MAKING, how, say_made, share, size
from download_helper import FETCHING, download


def read_url_from_file(args):
    """Write the rows of train.csv whose landmarks have --least to --most images."""
    rows = class_sets.read_urls(args.csv, args.least, args.most)
    text = io.StringIO(newline='')
    csv.writer(text, lineterminator='\n').writerows([('id', 'url', 'landmark_id'), *rows])
    os.makedirs(os.path.dirname(args.output) or '.', exist_ok=True)
    write_aside(args.output, lambda file: file.write(text.getvalue().encode()))
    say_made(args.output, len(rows), f'images of {len({row[2] for row in rows})} landmarks')


def download_image(args):
    """Download the images of train.csv whose landmarks have --least to --most of them."""
    rows = class_sets.read_urls(args.csv, args.least, args.most)
    download(args, [Download(id, f'{landmark}/{check_id(id)}.jpg', url)
                    for id, url, landmark in rows])


def unite_images_size(args):
    """Make all images of one size, by cropping the middle or by stretching."""
    check_apart(args.input, args.output)
    steps = class_sets.unite(args.input, list_classes(args.input), size(args), args.mode_of_size,
                             args.th)
    about = {'command': args.mode, 'size': size(args), 'mode': args.mode_of_size}
    say_made(args.output, make(args.output, about, steps, how=how(args), say=cli.warn))


def count_img_per_class(args):
    """Print how many classes have how many images, and every class with --classes."""
    classes = list_classes(args.input)
    if args.classes:
        for name, images in classes.items():
            print(f'{name}\t{len(images)}')
        return
    for images, count in class_sets.counts(classes).items():
        print(f'classes of {images} images: {count}')
    print(f'{args.input}: {sum(map(len, classes.values()))} images of {len(classes)} classes')


def clean_empty_dir(args):
    """Name the class folders that have fewer than --th images; remove them with --delete."""
    small = {name: images for name, images in list_classes(args.input).items()
             if len(images) < args.th}
    for name, images in small.items():
        path = os.path.join(args.input, name)
        print(f'{path}: {len(images)} images')
        others = set(os.listdir(path)) - set(images)
        if others:
            cli.warn(f'{path}: stays, since it holds {min(others)!r} too')
        elif args.delete:
            shutil.rmtree(path)
    what = 'are removed' if args.delete else 'would be removed by --delete'
    print(f'{len(small)} classes of fewer than {args.th} images {what}')


def make_training_test_set(args):
    """Copy the classes into a folder to train with and one to test with, --share of them."""
    check_apart(args.input, args.output)
    check_apart(args.input, args.test)
    parts = class_sets.split(args.input, list_classes(args.input), args.share, args.seed)
    about = {'command': args.mode, 'share': args.share, 'seed': args.seed}
    for folder, steps in zip((args.output, args.test), parts):
        say_made(folder, make(folder, about, steps, how=how(args), say=cli.warn))


def make_cls_annotations(args):
    """Write lines CLASS/IMAGE CLASS, shuffled: the list that convert_imageset makes an LMDB of."""
    lines = class_sets.annotations(list_classes(args.input), args.seed)
    data = os.fsencode(''.join(f'{line}\n' for line in lines))
    os.makedirs(os.path.dirname(args.output) or '.', exist_ok=True)
    write_aside(args.output, lambda file: file.write(data))
    say_made(args.output, len(lines))


def make_queries_for_test(args):
    """Copy one random image of each class into queries/CLASS, the others into dataset/CLASS."""
    check_apart(args.input, args.output)
    steps = class_sets.class_queries(args.input, list_classes(args.input), args.seed)
    about = {'command': args.mode, 'seed': args.seed}
    say_made(args.output, make(args.output, about, steps, how=how(args), say=cli.warn))


def cal_mAP(args):
    """Print the mAP of saved descriptors of a test set, as VOC 2010 defines it."""
    answers = answers_of(Landmark(args.test_set), args.queries_npy, args.dataset_npy)
    print(f'mAP: {mean_average_precision(answers):.2f} (VOC 2010, {len(answers)} queries)')


LANDMARK = DATASETS / 'landmark'
FLAGS = {
    **FETCH_FLAGS,
    'csv': dict(default=LANDMARK / 'train.csv', help='the file with columns id, url, landmark_id'),
    'least': dict(type=cli.positive, default=20, help='images of a landmark, at least'),
    'most': dict(type=cli.positive, default=24, help='images of a landmark, at most'),
    'input': dict(help='folder of class folders'),
    'output': dict(help='what to make'),
    'test': dict(default=LANDMARK / 'test', help='folder to make, of the classes to test with'),
    'share': dict(type=share, default=0.1, help='part of the classes that is for tests'),
    'mode': dict(dest='mode_of_size', choices=sorted(class_sets.EDITS), default='crop',
                 help='cut out the middle of the image, or stretch it'),
    'th': dict(type=cli.positive, default=3, help='images of a class, at least'),
    'classes': dict(action='store_true', help='print every class and its number of images'),
    'test_set': dict(default=LANDMARK / 'retrieval', help='folder with queries/ and dataset/'),
    'queries_npy': dict(default='tmp/test_on_landmark_S384_L2_queries.npy',
                        help="the queries' descriptors, as test_on_landmark.py leaves them"),
    'dataset_npy': dict(default='tmp/test_on_landmark_S384_L2_dataset.npy',
                        help="the database's descriptors"),
}

UNITED = {'input': LANDMARK / 'united'}
MODES = {
    'read_url_from_file': (read_url_from_file, 'csv least most output',
                           {'output': LANDMARK / 'urls.csv'}),
    'download_image': (download_image, f'csv least most output {FETCHING}',
                       {'output': LANDMARK / 'download'}),
    'unite_images_size': (unite_images_size, f'input output height width mode th {MAKING}',
                          {'input': LANDMARK / 'download', 'output': LANDMARK / 'united',
                           **dict(zip(('height', 'width'), SIZES['landmark']))}),
    'count_img_per_class': (count_img_per_class, 'input classes', UNITED),
    'clean_empty_dir': (clean_empty_dir, 'input th delete', UNITED),
    'make_training_test_set': (make_training_test_set, f'input output test share seed {COPYING}',
                               {**UNITED, 'output': LANDMARK / 'clean'}),
    'make_cls_annotations': (make_cls_annotations, 'input output seed',
                             {'input': LANDMARK / 'clean',
                              'output': LANDMARK / 'annotations.txt'}),
    'make_queries_for_test': (make_queries_for_test, f'input output seed {COPYING}',
                              {'input': LANDMARK / 'test', 'output': LANDMARK / 'retrieval'}),
    'cal_mAP': (cal_mAP, 'test_set queries_npy dataset_npy'),
}

if __name__ == '__main__':
    subcommands.run(__doc__, MODES, FLAGS)
