"""Pictures to train students on: facades in class folders, all of the same size.

    render_training_demo('datasets/tiny/landmark')

The facades are different from those of demo.py, whatever the seeds. The same arguments give the
same bytes.
"""

import os
from pathlib import Path

import cv2
import numpy as np

from deep_retrieval.image_means import SIZES
from deep_retrieval.scenes.buildings import random_style, render_facade
from deep_retrieval.scenes.rendering import make_folder, run, save_jpeg
from deep_retrieval.scenes.views import render_view

HEIGHT, WIDTH = SIZES['landmark']
QUALITIES = (60, 96)    # JPEG quality: minimum, and maximum + 1
PARTS = {'clean': 0, 'test': 1}
# `training` is what make_features_lmdb.py adds; it is replaced together with its images
ENTRIES = {'training'} | {part + ending for part in PARTS for ending in ('', '.txt')}


def render_training_demo(output: str | os.PathLike, seed: int = 0, classes: int = 120,
                         test_classes: int = 16, views: int = 12, overwrite: bool = False) -> bool:
    """Render the pictures.

    Parameters
    ----------
    output : folder to make
    seed : random seed
    classes, test_classes : number of facades in clean/ and in test/
    views : pictures per facade
    overwrite : replace a dataset that was rendered with other arguments

    Returns
    -------
    bool
        False if it exists already.

    Raises
    ------
    ValueError
        The folder has other contents.
    """
    made_from = {'seed': seed, 'classes': classes, 'test_classes': test_classes, 'views': views}
    return make_folder(output, made_from, ENTRIES, overwrite,
                       lambda folder: render(made_from, folder))


def render(made_from: dict, folder: Path) -> None:
    """Write the parts and their lists into a folder."""
    seed, views = made_from['seed'], made_from['views']
    counts = {'clean': made_from['classes'], 'test': made_from['test_classes']}
    run([(render_class, seed, part, i, views, folder)
         for part, count in counts.items() for i in range(count)])
    for part, count in counts.items():
        lines = [f'{i}/{name} {i}\n' for i in range(count) for name in names(i, views)]
        (folder / f'{part}.txt').write_text(''.join(lines))


def render_class(seed: int, part: str, index: int, views: int, folder: Path) -> None:
    """Write the pictures of one facade."""
    folder = folder / part / str(index)
    folder.mkdir(parents=True)
    entropy = [seed, 3 + PARTS[part], index]    # demo.py uses 0 to 2
    facade = render_facade(random_style(np.random.default_rng(entropy)))
    for i, name in enumerate(names(index, views)):
        rng = np.random.default_rng([*entropy, i])
        image = render_view(facade, rng, WIDTH * 7 // 6, kind=i).image
        image = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        save_jpeg(folder / name, image, int(rng.integers(*QUALITIES)))


def names(index: int, views: int) -> list[str]:
    """Return the file names of the pictures of a class."""
    return [f'{index:03d}_{i:02d}.jpg' for i in range(views)]
