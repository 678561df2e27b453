"""Sets made of the Paris dataset: what goes where, for `making.make`."""

import os
import zlib
from functools import partial

import numpy as np

from deep_retrieval.image_files import random_crop, stretch
from deep_retrieval.making.class_sets import DATABASE, QUERIES
from deep_retrieval.making.folders import Step
from deep_retrieval.making.oxford_sets import file_name, landmarks, rest

USELESS = 'useless'


def triplet_sets(dataset, size):
    """Images at one size: a folder a landmark, with those graded good, ok and junk; and the rest.

    Returns two dicts of steps, of class folders and of the images that show none of the landmarks.
    """
    found = landmarks(dataset)
    edit = partial(stretch, size=size)

    def step(name):
        return Step(dataset.image_path(name), edit)

    return ({f'{landmark}/{file_name(dataset, name)}': step(name)
             for landmark, names in found.items() for name in names},
            {file_name(dataset, name): step(name) for name in rest(dataset, found)})


def augmented_set(dataset, size, count, seed=0):
    """Each image at one size, and so many random crops of it at that size too.

    What is cut out depends on the seed, the image's name and the crop's number alone.
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
                                 'rename that')
            key = [seed, zlib.crc32(os.fsencode(name)), number]
            steps[path] = Step(source, partial(_crop, seed=key, size=size))
    return steps


def test_set(dataset, num_cls, num_useless, seed=0):
    """A set to test with: of each landmark so many random images, and so many of no landmark.

    One image of a landmark is its query. Files are called by their class, CLASS_NUMBER, since
    their own names tell how they were found and not what they show. Returns steps of queries/ and
    dataset/, and the text sources.txt: a line `FILE<TAB>NAME IN THE DATASET` a file.
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
