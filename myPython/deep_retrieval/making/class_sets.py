"""Make sets from a folder of class folders, such as the Landmark dataset or groups of covers.

    make_split('datasets/landmark/united', 'datasets/landmark/clean', 'datasets/landmark/test')

`make_...` functions make folders, with `folders.make`. The functions below them only plan the
contents: they return steps (path -> Step), and some also texts (path -> text). Classes are a dict,
name -> names of the images, as returned by `listing.list_classes`.
"""

import csv
import io
import logging
import os
import shutil
from collections import Counter
from functools import partial

import numpy as np

from deep_retrieval import store
from deep_retrieval.images import read_image
from deep_retrieval.listing import list_classes
from deep_retrieval.making.edits import fill, stretch
from deep_retrieval.making.folders import DEFAULT, How, Step, check_apart, make

EDITS = {'crop': fill, 'resize': stretch}
QUERIES, DATABASE = 'queries', 'dataset'
COLUMNS = ('id', 'url', 'landmark_id')

logger = logging.getLogger(__name__)


def read_urls(path: str | os.PathLike, least: int, most: int) -> list[tuple[str, str, str]]:
    """Read rows (id, url, landmark) of Kaggle's train.csv, for landmarks of certain sizes.

    Rows without a URL or landmark ('None') are left out, and so are all but the first row of an id.

    Parameters
    ----------
    path : CSV file whose header has the columns id, url and landmark_id
        Landmarks are integers, and the names of class folders.
    least, most : minimum and maximum number of images of a landmark

    Raises
    ------
    ValueError
        The file is not such a CSV file; the message names the line.
    """
    with open(path, newline='', encoding='utf-8-sig') as file, store.reading(path, 'a CSV file'):
        rows = list(_url_rows(path, csv.DictReader(file)))
    count = Counter(landmark for _, _, landmark in rows)
    return [row for row in rows if least <= count[row[2]] <= most]


def write_urls(path: str | os.PathLike, rows: list[tuple[str, str, str]]) -> None:
    """Write rows, as returned by `read_urls`, to a CSV file of the same format."""
    text = io.StringIO(newline='')
    csv.writer(text, lineterminator='\n').writerows([COLUMNS, *rows])
    store.write(path, text.getvalue().encode())


def _url_rows(path, table):
    missing = set(COLUMNS) - set(table.fieldnames or ())
    if missing:
        raise ValueError(f'{path}: its first line has no column {", ".join(sorted(missing))}')
    seen = set()
    for row in table:
        id, url, landmark = (row[name] for name in COLUMNS)
        if url in (None, '', 'None') or landmark in (None, '', 'None') or id in seen:
            continue
        if not (landmark.isascii() and landmark.isdecimal()):
            raise ValueError(f'{path}:{table.line_num}: the landmark {landmark!r} is not an '
                             'integer')
        seen.add(id)
        yield id, url, str(int(landmark))


def counts(classes: dict) -> dict[int, int]:
    """Count classes by number of images: {images: classes}, in ascending order."""
    return dict(sorted(Counter(map(len, classes.values())).items()))


def small_classes(folder: str, least: int, delete: bool = False) -> dict[str, int]:
    """Find the class folders with fewer than `least` images: {path: number of images}.

    With `delete` they are removed, except those with other files, which are logged.
    """
    found = {}
    for name, images in list_classes(folder).items():
        if len(images) >= least:
            continue
        path = os.path.join(folder, name)
        found[path] = len(images)
        others = set(os.listdir(path)) - set(images)
        if others:
            logger.warning('%s: is kept, since it also contains %r', path, min(others))
        elif delete:
            shutil.rmtree(path)
    return found


def make_united(source: str, folder: str, size: tuple[int, int], mode: str = 'crop',
                least: int = 1, how: How = DEFAULT) -> int:
    """Make a folder with all images at one size; return their number.

    size : (height, width) in pixels
    mode : a key of `EDITS`
    least : minimum number of images of a class
    """
    check_apart(source, folder)
    about = {'command': 'unite_images_size', 'size': size, 'mode': mode}
    return make(folder, about, unite(source, list_classes(source), size, mode, least), how=how)


def make_split(source: str, training: str, test: str, share: float = 0.1, seed: int = 0,
               how: How = DEFAULT) -> tuple[int, int]:
    """Copy a share of the classes into a test folder, the others into a training folder.

    Returns the numbers of training and test images.
    """
    for folder in (training, test):
        check_apart(source, folder)
    about = {'command': 'make_training_test_set', 'share': share, 'seed': seed}
    parts = split(source, list_classes(source), share, seed)
    return tuple(make(folder, about, steps, how=how)
                 for folder, steps in zip((training, test), parts, strict=True))


def make_class_queries(source: str, folder: str, seed: int = 0, how: How = DEFAULT) -> int:
    """Make queries/ and dataset/, see `class_queries`; return the number of images."""
    check_apart(source, folder)
    return make(folder, {'command': 'make_queries_for_test', 'seed': seed},
                class_queries(source, list_classes(source), seed), how=how)


def make_flat_queries(source: str, folder: str, least: int = 3, seed: int = 0,
                      how: How = DEFAULT) -> tuple[int, int]:
    """Make queries/, dataset/ and the two lists, see `flat_queries`.

    Returns the numbers of images and of queries.
    """
    check_apart(source, folder)
    steps, texts = flat_queries(source, list_classes(source), least, seed)
    about = {'command': 'make_queries_for_test', 'least_size': least, 'seed': seed}
    return make(folder, about, steps, texts, how), texts['query.txt'].count('\n')


def make_clean(source: str, folder: str, least: int = 3, how: How = DEFAULT) -> int:
    """Copy the images selected by `clean`; return their number."""
    check_apart(source, folder)
    return make(folder, {'command': 'make_clean_set', 'least_size': least},
                clean(source, list_classes(source), least), how=how)


def write_annotations(source: str, path: str, seed: int = 0) -> int:
    """Write the `annotations` of a folder to a text file; return the number of lines."""
    lines = annotations(list_classes(source), seed)
    store.write(path, ''.join(f'{line}\n' for line in lines))
    return len(lines)


def unite(folder: str, classes: dict, size: tuple[int, int], mode: str,
          least: int = 1) -> dict[str, Step]:
    """Return steps: all images of classes with at least `least` images, at (height, width)."""
    return {f'{name}/{image}': Step(os.path.join(folder, name, image),
                                    partial(EDITS[mode], size=size))
            for name, images in classes.items() if len(images) >= least for image in images}


def annotations(classes: dict, seed: int = 0) -> list[str]:
    """Return shuffled lines `CLASS/IMAGE CLASS`, for convert_imageset to make an LMDB from.

    Raises
    ------
    ValueError
        A class is not an integer, or a name would break its line.
    """
    wrong = [name for name in classes if not (name.isascii() and name.isdecimal())]
    if wrong:
        raise ValueError('the name of a class folder must be its label, an integer: rename '
                         f'{wrong[0]!r}')
    lines = [(name, image) for name, images in classes.items() for image in images]
    for _, image in lines:
        check_line(image)
    order = np.random.default_rng(seed).permutation(len(lines))
    return [f'{name}/{image} {int(name)}' for name, image in (lines[i] for i in order)]


def split(folder: str, classes: dict, share: float, seed: int = 0) -> tuple[dict, dict]:
    """Return the steps of the training classes and of the test classes, a `share` of all."""
    names = list(classes)
    order = np.random.default_rng(seed).permutation(len(names))
    test = {names[i] for i in order[:round(share * len(names))]}
    parts = {}, {}
    for name, images in classes.items():
        for image in images:
            parts[name in test][f'{name}/{image}'] = Step(os.path.join(folder, name, image))
    return parts


def class_queries(folder: str, classes: dict, seed: int = 0) -> dict[str, Step]:
    """Return steps: one random image of each class with several goes into queries/CLASS, the
    others into dataset/CLASS."""
    steps = {}
    for name, images in classes.items():
        query = draw(images, seed, name) if len(images) > 1 else None
        for image in images:
            part = QUERIES if image == query else DATABASE
            steps[f'{part}/{name}/{image}'] = Step(os.path.join(folder, name, image))
    return steps


def flat_queries(folder: str, classes: dict, least: int = 3,
                 seed: int = 0) -> tuple[dict[str, Step], dict[str, str]]:
    """Return steps and texts of queries/ and dataset/ without class folders.

    One random image of each class with at least `least` images is a query; all others form the
    database. Line i of answer.txt has the positives, separated by tabs, of line i of query.txt. An
    image whose name also occurs in another class is named CLASS_NAME.
    """
    count = Counter(image for images in classes.values() for image in images)
    steps, asked, answers, used = {}, [], [], set()
    for name, images in classes.items():
        called = {image: check_line(image if count[image] == 1 else f'{name}_{image}')
                  for image in images}
        query = draw(images, seed, name) if len(images) >= least else None
        for image in images:
            if called[image] in used:
                raise ValueError(f'{folder}: two images would be named {called[image]}; rename '
                                 f'{name}/{image}')
            used.add(called[image])
            part = QUERIES if image == query else DATABASE
            steps[f'{part}/{called[image]}'] = Step(os.path.join(folder, name, image))
        if query is not None:
            asked.append(called[query])
            answers.append('\t'.join(called[image] for image in images if image != query))
    if not asked:
        raise ValueError(f'{folder}: no class has the {least} images that a query needs')
    texts = {'query.txt': asked, 'answer.txt': answers}
    return steps, {name: ''.join(f'{line}\n' for line in lines) for name, lines in texts.items()}


def clean(folder: str, classes: dict, least: int = 3) -> dict[str, Step]:
    """Return steps: undamaged images without duplicates, of classes with at least `least` of them.

    Images and classes that are left out are logged.
    """
    steps = {}
    for name, images in classes.items():
        kept = {}
        for image in images:
            path = os.path.join(folder, name, image)
            try:
                read_image(path)
            except ValueError as error:
                logger.warning('left out: %s', error)
                continue
            first = kept.setdefault(store.sha256(path), image)
            if first != image:
                logger.warning('left out: %s: is the same as %s', path, first)
        if len(kept) < least:
            logger.warning('left out: %s: has %d images, but %d are needed',
                           os.path.join(folder, name), len(kept), least)
            continue
        steps.update({f'{name}/{image}': Step(os.path.join(folder, name, image))
                      for image in kept.values()})
    return steps


def draw(images: list[str], seed: int, name: str) -> str:
    """Draw one image of a class, depending on the seed and the class, but not on other classes."""
    key = [seed, *os.fsencode(name)]
    return images[np.random.default_rng(key).integers(len(images))]


def check_line(name: str) -> str:
    """Return a name that can be part of a tab-separated line; ValueError if it cannot."""
    if any(letter in name for letter in '\t\n\r'):
        raise ValueError(f'the name {name!r} has a tab or a line break: rename the file')
    return name
