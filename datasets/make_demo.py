#!/usr/bin/env python3
"""Render a small dataset in Oxford's layout: facades in several views, look-alikes, distractors.

    python datasets/make_demo.py --output datasets/demo

Ground truth follows from the share of a facade's area that a view shows: good from 0.75 on, ok from
0.25 on, junk below (scenes/views.py). The same arguments give the same bytes.
"""

import argparse
from pathlib import Path

import numpy as np
from deep_retrieval import cli, scenes
from deep_retrieval.paths import ROOT

NAMES = ('mill_lane', 'harbour_gate', 'weavers_hall', 'larch_street', 'old_exchange',
         'fountain_row', 'saddlers_yard', 'quayside', 'abbot_house', 'linden_place',
         'copper_bridge', 'north_arcade', 'salt_market', 'orchard_terrace', 'kings_granary',
         'bell_corner', 'tanner_steps', 'vine_court', 'glass_works', 'river_chapel',
         'customs_house', 'cedar_walk', 'lantern_square', 'mint_alley')
QUALITIES = (45, 96)    # JPEG quality, least and most
ENTRIES = {'jpg', 'lab'}


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--output', default=ROOT / 'datasets/demo', help='folder to make')
    parser.add_argument('--seed', type=cli.natural, default=0, help='seed of everything')
    parser.add_argument('--facades', type=cli.positive, default=24, help='buildings to look for')
    parser.add_argument('--views', type=cli.positive, default=8, help='pictures of each')
    parser.add_argument('--distractors', type=cli.natural, default=120,
                        help='other pictures; every second shows a look-alike of a building')
    parser.add_argument('--queries', type=cli.positive, default=1,
                        help='queries for each building, at most; good views')
    parser.add_argument('--size', type=cli.positive, default=1024,
                        help='longer side of the largest pictures in pixels')
    parser.add_argument('--overwrite', action='store_true',
                        help='replace a dataset that was rendered with other flags')
    return parser.parse_args()


def main(args):
    if args.size < 64:
        raise ValueError(f'--size {args.size}: pictures need 64 pixels or more')
    made_from = {name: getattr(args, name) for name in
                 ('seed', 'facades', 'views', 'distractors', 'queries', 'size')}
    if not scenes.make_folder(args.output, made_from, ENTRIES, args.overwrite,
                              lambda folder: render(made_from, folder)):
        cli.warn(f'{args.output} is there already')


def render(made_from, folder):
    """Write jpg/ and lab/ into a folder."""
    (folder / 'jpg').mkdir()
    (folder / 'lab').mkdir()
    scenes.run([(render_landmark, made_from, folder, i) for i in range(made_from['facades'])]
               + [(render_other, made_from, folder, i) for i in range(made_from['distractors'])])


def render_landmark(made_from, folder, index):
    """The views of one building, and the ground truth of its queries."""
    name = landmark_name(index)
    facade = scenes.render_facade(landmark_style(made_from['seed'], index))
    grades = {'good': [], 'ok': [], 'junk': []}
    boxes = {}
    for i in range(made_from['views']):
        rng = np.random.default_rng([made_from['seed'], 1, index, i])
        view = scenes.render_view(facade, rng, made_from['size'], kind=i)
        image_name = f'{name}_{i + 1:06d}'
        save(folder, image_name, view.image, rng)
        grade = scenes.grade(view.visible_share)
        if grade is not None:
            grades[grade].append(image_name)
            boxes[image_name] = view.box
    for i, query in enumerate(grades['good'][:made_from['queries']], start=1):
        stem = folder / 'lab' / f'{name}_{i}'
        box = ' '.join(f'{value:.1f}' for value in boxes[query])
        Path(f'{stem}_query.txt').write_text(f'oxc1_{query} {box}\n')
        for grade, images in grades.items():
            Path(f'{stem}_{grade}.txt').write_text(''.join(f'{image}\n' for image in images))


def render_other(made_from, folder, index):
    """A picture of none of the buildings: a look-alike, a stranger, or no building at all."""
    seed = made_from['seed']
    rng = np.random.default_rng([seed, 2, index])
    if index % 4 == 3:
        image = scenes.render_distractor(rng, made_from['size'])
    else:
        facade = scenes.strange_facade(rng)
        if index % 2 == 0:
            style = landmark_style(seed, index // 2 % made_from['facades'])
            facade = scenes.render_facade(scenes.look_alike(style, rng))
        image = scenes.render_view(facade, rng, made_from['size'], int(rng.integers(8))).image
    save(folder, f'{("oldtown", "riverside", "station")[index % 3]}_{index + 1:06d}', image, rng)


def landmark_name(index):
    """Name of a building; past the list they are numbered."""
    return (NAMES[index] if index < len(NAMES)
            else f'{NAMES[index % len(NAMES)]}_{index // len(NAMES)}')


def landmark_style(seed, index):
    """What a building looks like; every lot of it is independent of the others."""
    return scenes.random_style(np.random.default_rng([seed, 0, index]))


def save(folder, name, image, rng):
    """Write a JPEG of random quality."""
    scenes.save_jpeg(folder / 'jpg' / f'{name}.jpg', image, int(rng.integers(*QUALITIES)))


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
