#!/usr/bin/env python3
"""Render what students train on: facades in folders of classes, all pictures of one size.

    python datasets/make_training_demo.py --output datasets/tiny/landmark

`clean/` holds the classes to train on and `test/` those of the test phases, each a folder named by
its integer, as the Landmark dataset is laid out; `clean.txt` and `test.txt` list their images and
classes. None of the facades is one of make_demo.py's, whatever the seeds: what is learned here can
be scored there. The same arguments give the same bytes.
"""

import argparse

import cv2
import numpy as np
from deep_retrieval import cli, scenes
from deep_retrieval.paths import ROOT
from deep_retrieval.training.class_folders import SIZES

HEIGHT, WIDTH = SIZES['landmark']
QUALITIES = (60, 96)    # JPEG quality, least and most
PARTS = {'clean': 0, 'test': 1}
# `training` is what make_features_lmdb.py adds; it goes with the images that it was made from
ENTRIES = {'training'} | {part + ending for part in PARTS for ending in ('', '.txt')}


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--output', default=ROOT / 'datasets/tiny/landmark', help='folder to make')
    parser.add_argument('--seed', type=cli.natural, default=0, help='seed of everything')
    parser.add_argument('--classes', type=cli.positive, default=120, help='facades in clean/')
    parser.add_argument('--test_classes', type=cli.positive, default=16, help='facades in test/')
    parser.add_argument('--views', type=cli.positive, default=12, help='pictures of each')
    parser.add_argument('--overwrite', action='store_true',
                        help='replace a dataset that was rendered with other flags, and what was '
                             'made from it')
    return parser.parse_args()


def main(args):
    made_from = {name: getattr(args, name) for name in ('seed', 'classes', 'test_classes', 'views')}
    if not scenes.make_folder(args.output, made_from, ENTRIES, args.overwrite,
                              lambda folder: render(args, folder)):
        cli.warn(f'{args.output} is there already')


def render(args, folder):
    """Write the parts and their lists into a folder."""
    counts = {'clean': args.classes, 'test': args.test_classes}
    scenes.run([(render_class, args.seed, part, i, args.views, folder)
                for part, count in counts.items() for i in range(count)])
    for part, count in counts.items():
        lines = [f'{i}/{name} {i}\n' for i in range(count) for name in names(i, args.views)]
        (folder / f'{part}.txt').write_text(''.join(lines))


def render_class(seed, part, index, views, folder):
    """The pictures of one facade."""
    folder = folder / part / str(index)
    folder.mkdir(parents=True)
    entropy = [seed, 3 + PARTS[part], index]    # make_demo.py has 0 to 2
    facade = scenes.render_facade(scenes.random_style(np.random.default_rng(entropy)))
    for i, name in enumerate(names(index, views)):
        rng = np.random.default_rng([*entropy, i])
        image = scenes.render_view(facade, rng, WIDTH * 7 // 6, kind=i).image
        image = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        scenes.save_jpeg(folder / name, image, int(rng.integers(*QUALITIES)))


def names(index, views):
    """File names of the pictures of a class."""
    return [f'{index:03d}_{i:02d}.jpg' for i in range(views)]


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
