"""Make sets from the Paris dataset.

    dataset = ParisHelper('datasets/Paris')
    make_triplets(dataset, 'datasets/Paris/triplet', 'datasets/Paris/useless', (288, 384))

`make_...` functions make folders, with `folders.make`; the others only plan the contents.
"""

import os
import zlib
from functools import partial

import numpy as np

from deep_retrieval.datasets.oxford import OxfordHelper
from deep_retrieval.making.class_sets import DATABASE, QUERIES
from deep_retrieval.making.edits import random_crop, stretch
from deep_retrieval.making.folders import DEFAULT, How, Step, make
from deep_retrieval.making.oxford_sets import file_name, landmarks, rest

USELESS = 'useless'


def make_triplets(dataset: OxfordHelper, folder: str, useless: str, size: tuple[int, int],
                  how: How = DEFAULT) -> tuple[int, int]:
    """Make the two sets of `triplet_sets`, each in its folder; return their numbers of images."""
    about = {'command': 'make_triplet_set', 'size': size}
    classes, others = triplet_sets(dataset, size)
    return (make(folder, about, classes, how=how),
            make(useless, about, others, how=how) if others else 0)


def make_augmented(dataset: OxfordHelper, folder: str, size: tuple[int, int], crops: int = 3,
                   seed: int = 0, how: How = DEFAULT) -> int:
    """Make the set of `augmented_set`; return the number of images."""
    about = {'command': 'make_aug_set', 'size': size, 'crops': crops, 'seed': seed}
    return make(folder, about, augmented_set(dataset, size, crops, seed), how=how)


def make_test_set(dataset: OxfordHelper, folder: str, num_cls: int = 20, num_useless: int = 500,
                  seed: int = 0, how: How = DEFAULT) -> int:
    """Make the set of `test_set`; return the number of images."""
    steps, texts = test_set(dataset, num_cls, num_useless, seed)
    about = {'command': 'make_dataset_for_test', 'num_cls': num_cls, 'num_useless': num_useless,
             'seed': seed}
    return make(folder, about, steps, texts, how)


def triplet_sets(dataset: OxfordHelper, size: tuple[int, int]) -> tuple[dict, dict]:
    """Return steps of the landmarks' folders and of the other images, at (height, width) pixels.

    A landmark's folder has its good, ok and junk images; the other images show no landmark.
    """
    found = landmarks(dataset)
    edit = partial(stretch, size=size)

    def step(name):
        return Step(dataset.image_path(name), edit)

    return ({f'{landmark}/{file_name(dataset, name)}': step(name)
             for landmark, names in found.items() for name in names},
            {file_name(dataset, name): step(name) for name in rest(dataset, found)})


def augmented_set(dataset: OxfordHelper, size: tuple[int, int], count: int,
                  seed: int = 0) -> dict[str, Step]:
    """Return steps: each image, and `count` random crops of it, at (height, width) pixels.

    A crop depends only on the seed, the image's name and the crop's number.
    """
    steps = {}
    for name in dataset.images:
        source, (stem, extension) = dataset.image_path(name), os.path.splitext(
            file_name(dataset, name))
        steps[f'{stem}{extension}'] = Step(source, partial(stretch, size=size))
        for number in range(1, count + 1):
            path = f'{stem}_crop{number}{extension}'
            if path in steps:
                raise ValueError(f'{source}: a crop would have the name of the image {path}; '
                                 'rename that image')
            key = [seed, zlib.crc32(os.fsencode(name)), number]
            steps[path] = Step(source, partial(_crop, seed=key, size=size))
    return steps


def test_set(dataset: OxfordHelper, num_cls: int, num_useless: int,
             seed: int = 0) -> tuple[dict, dict]:
    """Return steps and texts of a test set: random images of each landmark, and of no landmark.

    Files in queries/ and dataset/ are named CLASS_NUMBER, since the original names say how an image
    was found, not what it shows; sources.txt has one line `FILE<TAB>ORIGINAL NAME` per file.

    num_cls : images of each landmark, one of which is the query
    num_useless : images of no landmark
    """
    random = np.random.default_rng(seed)
    found = landmarks(dataset, ('good', 'ok'))
    lots = {**{name: (names, num_cls) for name, names in found.items()},
            USELESS: (rest(dataset, landmarks(dataset)), num_useless)}
    steps, lines = {}, []
    for landmark, (names, count) in lots.items():
        drawn = [names[i] for i in random.permutation(len(names))[:count]]
        for number, name in enumerate(drawn):
            part = QUERIES if number == 0 and landmark != USELESS else DATABASE
            extension = os.path.splitext(dataset.image_path(name))[1]
            path = f'{part}/{landmark}_{number:06d}{extension}'
            steps[path] = Step(dataset.image_path(name))
            lines.append(f'{path}\t{name}\n')
    return steps, {'sources.txt': ''.join(lines)}


def _crop(image, seed, size):
    return stretch(random_crop(image, seed), size)
