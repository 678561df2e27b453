#!/usr/bin/env python3
"""Download the Landmark dataset of Kaggle's challenge (2018), and make training sets from it.

    python myPython/dataset_helper/landmark_helper.py download_image --csv train.csv
    python myPython/dataset_helper/landmark_helper.py unite_images_size --mode crop
    python myPython/dataset_helper/landmark_helper.py make_training_test_set

Images are in one folder per landmark, named by its integer id. Downloaded images are never changed,
except by clean_empty_dir --delete.
"""

from deep_retrieval import cli, image_means, paths, subcommands
from deep_retrieval.subcommands import (
    COPYING,
    FETCH_FLAGS,
    FETCHING,
    MAKING,
    how,
    say_made,
    share,
    size,
)
from download_helper import download


def read_url_from_file(args):
    """Write the rows of train.csv whose landmarks have --least to --most images."""
    from deep_retrieval.making import class_sets
    rows = class_sets.read_urls(args.csv, args.least, args.most)
    class_sets.write_urls(args.output, rows)
    say_made(args.output, len(rows), f'images of {len({row[2] for row in rows})} landmarks')


def download_image(args):
    """Download the images of train.csv whose landmarks have --least to --most of them."""
    from deep_retrieval.making import class_sets
    from deep_retrieval.making.downloads import Download, check_id
    download(args, [Download(id, f'{landmark}/{check_id(id)}.jpg', url) for id, url, landmark
                    in class_sets.read_urls(args.csv, args.least, args.most)])


def unite_images_size(args):
    """Make copies of all images at one size, by cropping the centre or by stretching."""
    from deep_retrieval.making import class_sets
    say_made(args.output, class_sets.make_united(args.input, args.output, size(args),
                                                 args.mode_of_size, args.th, how(args)))


def count_img_per_class(args):
    """Print how many classes have how many images; with --classes, print the images per class."""
    from deep_retrieval.listing import list_classes
    from deep_retrieval.making import class_sets
    classes = list_classes(args.input)
    if args.classes:
        for name, images in classes.items():
            print(f'{name}\t{len(images)}')
        return
    for images, count in class_sets.counts(classes).items():
        print(f'classes of {images} images: {count}')
    print(f'{args.input}: {sum(map(len, classes.values()))} images of {len(classes)} classes')


def clean_empty_dir(args):
    """List the class folders that have fewer than --th images; remove them with --delete."""
    from deep_retrieval.making import class_sets
    small = class_sets.small_classes(args.input, args.th, args.delete)
    for path, count in small.items():
        print(f'{path}: {count} images')
    what = 'are removed' if args.delete else 'would be removed by --delete'
    print(f'{len(small)} classes of fewer than {args.th} images {what}')


def make_training_test_set(args):
    """Copy a --share of the classes into a test folder, and the others into a training folder."""
    from deep_retrieval.making import class_sets
    made = class_sets.make_split(args.input, args.output, args.test, args.share, args.seed,
                                 how(args))
    for folder, count in zip((args.output, args.test), made, strict=True):
        say_made(folder, count)


def make_cls_annotations(args):
    """Write shuffled lines CLASS/IMAGE CLASS: a list for convert_imageset to make an LMDB from."""
    from deep_retrieval.making import class_sets
    say_made(args.output, class_sets.write_annotations(args.input, args.output, args.seed))


def make_queries_for_test(args):
    """Copy one random image of each class into queries/CLASS, the others into dataset/CLASS."""
    from deep_retrieval.making import class_sets
    say_made(args.output, class_sets.make_class_queries(args.input, args.output, args.seed,
                                                        how(args)))


def cal_mAP(args):
    """Print the mAP of saved descriptors of a test set, as VOC 2010 defines it."""
    from deep_retrieval.datasets import Landmark
    from deep_retrieval.making.retrieval import answers_of, mean_average_precision
    answers = answers_of(Landmark(args.test_set), args.queries_npy, args.dataset_npy)
    print(f'mAP: {mean_average_precision(answers):.2f} (VOC 2010, {len(answers)} queries)')


LANDMARK = paths.DATASETS / 'landmark'
FLAGS = {
    **FETCH_FLAGS,
    'csv': dict(default=LANDMARK / 'train.csv',
                help='CSV file with the columns id, url, landmark_id'),
    'least': dict(type=cli.positive, default=20, help='minimum number of images of a landmark'),
    'most': dict(type=cli.positive, default=24, help='maximum number of images of a landmark'),
    'input': dict(help='folder of class folders'),
    'output': dict(help='file or folder to write'),
    'test': dict(default=LANDMARK / 'test', help='folder to make for the test classes'),
    'share': dict(type=share, default=0.1, help='share of the classes to use for tests'),
    'mode': dict(dest='mode_of_size', choices=('crop', 'resize'), default='crop',
                 help='crop the centre of an image, or stretch it'),
    'th': dict(type=cli.positive, default=3, help='minimum number of images of a class'),
    'classes': dict(action='store_true', help='print every class and its number of images'),
    'test_set': dict(default=LANDMARK / 'retrieval', help='folder with queries/ and dataset/'),
    'queries_npy': dict(default=paths.TEMP / 'test_on_landmark_S384_L2_queries.npy',
                        help="the queries' descriptors, as saved by test_on_landmark.py"),
    'dataset_npy': dict(default=paths.TEMP / 'test_on_landmark_S384_L2_dataset.npy',
                        help="the database's descriptors"),
}

UNITED = {'input': LANDMARK / 'united'}
SIZE = dict(zip(('height', 'width'), image_means.SIZES['landmark'], strict=True))
MODES = {
    'read_url_from_file': (read_url_from_file, 'csv least most output',
                           {'output': LANDMARK / 'urls.csv'}),
    'download_image': (download_image, f'csv least most output {FETCHING}',
                       {'output': LANDMARK / 'download'}),
    'unite_images_size': (unite_images_size, f'input output height width mode th {MAKING}',
                          {'input': LANDMARK / 'download', 'output': LANDMARK / 'united',
                           **SIZE}),
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
