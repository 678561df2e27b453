"""A small dataset in Oxford's layout: facades in several views, look-alikes, distractors.

    render_demo('datasets/demo')

The ground truth is the share of a facade's area that a view shows: good from 0.75, ok from 0.25,
junk below (views.py). The same arguments give the same bytes.
"""

import os
from pathlib import Path

import numpy as np

from deep_retrieval.scenes.buildings import Style, look_alike, random_style, render_facade
from deep_retrieval.scenes.rendering import make_folder, run, save_jpeg
from deep_retrieval.scenes.views import grade, render_distractor, render_view, strange_facade

NAMES = ('mill_lane', 'harbour_gate', 'weavers_hall', 'larch_street', 'old_exchange',
         'fountain_row', 'saddlers_yard', 'quayside', 'abbot_house', 'linden_place',
         'copper_bridge', 'north_arcade', 'salt_market', 'orchard_terrace', 'kings_granary',
         'bell_corner', 'tanner_steps', 'vine_court', 'glass_works', 'river_chapel',
         'customs_house', 'cedar_walk', 'lantern_square', 'mint_alley')
QUALITIES = (45, 96)    # JPEG quality: minimum, and maximum + 1
ENTRIES = {'jpg', 'lab'}
LEAST_SIZE = 64         # pixels


def render_demo(output: str | os.PathLike, seed: int = 0, facades: int = 24, views: int = 8,
                distractors: int = 120, queries: int = 1, size: int = 1024,
                overwrite: bool = False) -> bool:
    """Render the dataset.

    Parameters
    ----------
    output : folder to make
    seed : random seed
    facades : number of buildings to search for
    views : pictures per building
    distractors : number of other pictures; every second one shows a look-alike of a building
    queries : maximum number of queries per building, which are good views
    size : longer side of the largest pictures in pixels
    overwrite : replace a dataset that was rendered with other arguments

    Returns
    -------
    bool
        False if it exists already.

    Raises
    ------
    ValueError
        `size` is too small, or the folder has other contents.
    """
    if size < LEAST_SIZE:
        raise ValueError(f'--size {size}: pictures need at least {LEAST_SIZE} pixels')
    made_from = {'seed': seed, 'facades': facades, 'views': views, 'distractors': distractors,
                 'queries': queries, 'size': size}
    return make_folder(output, made_from, ENTRIES, overwrite,
                       lambda folder: render(made_from, folder))


def render(made_from: dict, folder: Path) -> None:
    """Write jpg/ and lab/ into a folder."""
    (folder / 'jpg').mkdir()
    (folder / 'lab').mkdir()
    run([(render_landmark, made_from, folder, i) for i in range(made_from['facades'])]
        + [(render_other, made_from, folder, i) for i in range(made_from['distractors'])])


def render_landmark(made_from: dict, folder: Path, index: int) -> None:
    """Write the views of one building, and the ground truth of its queries."""
    name = landmark_name(index)
    facade = render_facade(landmark_style(made_from['seed'], index))
    grades = {'good': [], 'ok': [], 'junk': []}
    boxes = {}
    for i in range(made_from['views']):
        rng = np.random.default_rng([made_from['seed'], 1, index, i])
        view = render_view(facade, rng, made_from['size'], kind=i)
        image_name = f'{name}_{i + 1:06d}'
        save(folder, image_name, view.image, rng)
        found = grade(view.visible_share)
        if found is not None:
            grades[found].append(image_name)
            boxes[image_name] = view.box
    for i, query in enumerate(grades['good'][:made_from['queries']], start=1):
        stem = folder / 'lab' / f'{name}_{i}'
        box = ' '.join(f'{value:.1f}' for value in boxes[query])
        Path(f'{stem}_query.txt').write_text(f'oxc1_{query} {box}\n')
        for word, images in grades.items():
            Path(f'{stem}_{word}.txt').write_text(''.join(f'{image}\n' for image in images))


def render_other(made_from: dict, folder: Path, index: int) -> None:
    """Write a picture of another building (a look-alike or a random one) or of no building."""
    seed = made_from['seed']
    rng = np.random.default_rng([seed, 2, index])
    if index % 4 == 3:
        image = render_distractor(rng, made_from['size'])
    else:
        facade = strange_facade(rng)
        if index % 2 == 0:
            style = landmark_style(seed, index // 2 % made_from['facades'])
            facade = render_facade(look_alike(style, rng))
        image = render_view(facade, rng, made_from['size'], int(rng.integers(8))).image
    save(folder, f'{("oldtown", "riverside", "station")[index % 3]}_{index + 1:06d}', image, rng)


def landmark_name(index: int) -> str:
    """Return the name of a building; after the end of the list, names are numbered."""
    return (NAMES[index] if index < len(NAMES)
            else f'{NAMES[index % len(NAMES)]}_{index // len(NAMES)}')


def landmark_style(seed: int, index: int) -> Style:
    """Return the Style of a building, drawn independently of the others."""
    return random_style(np.random.default_rng([seed, 0, index]))


def save(folder: Path, name: str, image: np.ndarray, rng: np.random.Generator) -> None:
    """Write a JPEG of random quality."""
    save_jpeg(folder / 'jpg' / f'{name}.jpg', image, int(rng.integers(*QUALITIES)))
