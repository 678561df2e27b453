"""Folders of class folders: what they hold, and the sets that are made of them.

Classes are a dict, name -> names of its images, as `image_files.list_classes` gives it. Functions
that make a set return steps (path -> Step), some with texts (path -> text), for `making.make`.
"""

import csv
import os
from collections import Counter
from functools import partial

import numpy as np

from deep_retrieval.image_files import fill, stretch
from deep_retrieval.images import read_image
from deep_retrieval.making.folders import Step
from deep_retrieval.store import sha256

EDITS = {'crop': fill, 'resize': stretch}
QUERIES, DATABASE = 'queries', 'dataset'


def read_urls(path, least, most):
    """Rows (id, url, landmark) of Kaggle's train.csv whose landmarks have least..most images.

    The file has a header with these columns: id, url, landmark_id. Landmarks are integers, the
    names of class folders; rows without a URL or a landmark ('None') are left out, and of an id's
    rows all but the first. ValueError naming the line for others.
    """
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            rows = list(_url_rows(path, csv.DictReader(file)))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f'{path}: is no CSV file: {error}') from None
    count = Counter(landmark for _, _, landmark in rows)
    return [row for row in rows if least <= count[row[2]] <= most]


def _url_rows(path, table):
    lost = {'id', 'url', 'landmark_id'} - set(table.fieldnames or ())
    if lost:
        raise ValueError(f'{path}: its first line names no column {", ".join(sorted(lost))}')
    seen = set()
    for row in table:
        id, url, landmark = (row[name] for name in ('id', 'url', 'landmark_id'))
        if url in (None, '', 'None') or landmark in (None, '', 'None') or id in seen:
            continue
        if not (landmark.isascii() and landmark.isdecimal()):
            raise ValueError(f'{path}:{table.line_num}: the landmark {landmark!r} is no integer')
        seen.add(id)
        yield id, url, str(int(landmark))


def counts(classes):
    """Number of images -> number of classes that have as many, by rising number."""
    return dict(sorted(Counter(map(len, classes.values())).items()))


def unite(folder, classes, size, mode, least=1):
    """All images at one size (height, width), of the classes that have at least so many."""
    return {f'{name}/{image}': Step(os.path.join(folder, name, image),
                                    partial(EDITS[mode], size=size))
            for name, images in classes.items() if len(images) >= least for image in images}


def annotations(classes, seed=0):
    """Lines `CLASS/IMAGE CLASS`, shuffled: of these convert_imageset makes an LMDB.

    ValueError for a class that is no integer, and for a name that would break its line.
    """
    wrong = [name for name in classes if not (name.isascii() and name.isdecimal())]
    if wrong:
        raise ValueError(f'a class folder is named by its label, an integer: rename {wrong[0]!r}')
    lines = [(name, image) for name, images in classes.items() for image in images]
    for name, image in lines:
        check_line(image)
    order = np.random.default_rng(seed).permutation(len(lines))
    return [f'{name}/{image} {int(name)}' for name, image in (lines[i] for i in order)]


def split(folder, classes, share, seed=0):
    """Classes apart into those to train with and those to test with, all images of a class in one.

    share : part of the classes that is for tests. Returns two dicts of steps, training and test.
    """
    names = list(classes)
    order = np.random.default_rng(seed).permutation(len(names))
    test = {names[i] for i in order[:round(share * len(names))]}
    parts = {}, {}
    for name, images in classes.items():
        for image in images:
            parts[name in test][f'{name}/{image}'] = Step(os.path.join(folder, name, image))
    return parts


def class_queries(folder, classes, seed=0):
    """One random query of each class of two images or more, in queries/CLASS; dataset/CLASS."""
    steps = {}
    for name, images in classes.items():
        query = draw(images, seed, name) if len(images) > 1 else None
        for image in images:
            part = QUERIES if image == query else DATABASE
            steps[f'{part}/{name}/{image}'] = Step(os.path.join(folder, name, image))
    return steps


def flat_queries(folder, classes, least=3, seed=0):
    """One random query of each class of `least` images, with its answers; others are answers too.

    Returns steps of queries/ and dataset/, which have no class folders, and the texts query.txt
    and answer.txt: line i of it has the names, parted by tabs, that answer line i of query.txt. An
    image whose name another class has too is called CLASS_NAME.
    """
    count = Counter(image for images in classes.values() for image in images)
    steps, asked, answers, used = {}, [], [], set()
    for name, images in classes.items():
        called = {image: check_line(image if count[image] == 1 else f'{name}_{image}')
                  for image in images}
        query = draw(images, seed, name) if len(images) >= least else None
        for image in images:
            if called[image] in used:
                raise ValueError(f'{folder}: two images would be called {called[image]}; rename '
                                 f'{name}/{image}')
            used.add(called[image])
            part = QUERIES if image == query else DATABASE
            steps[f'{part}/{called[image]}'] = Step(os.path.join(folder, name, image))
        if query is not None:
            asked.append(called[query])
            answers.append('\t'.join(called[image] for image in images if image != query))
    if not asked:
        raise ValueError(f'{folder}: no class has {least} images, which a query needs')
    texts = {'query.txt': asked, 'answer.txt': answers}
    return steps, {name: ''.join(f'{line}\n' for line in lines) for name, lines in texts.items()}


def clean(folder, classes, least=3, say=print):
    """The whole images, each once in its class, of classes that keep at least so many.

    say : called with a line for each image that is left out
    """
    steps = {}
    for name, images in classes.items():
        kept = {}
        for image in images:
            path = os.path.join(folder, name, image)
            try:
                read_image(path)
            except ValueError as error:
                say(f'left out: {error}')
                continue
            first = kept.setdefault(sha256(path), image)
            if first != image:
                say(f'left out: {path}: is the same as {first}')
        if len(kept) < least:
            say(f'left out: {os.path.join(folder, name)}: {len(kept)} images, {least} are wanted')
            continue
        steps.update({f'{name}/{image}': Step(os.path.join(folder, name, image))
                      for image in kept.values()})
    return steps


def draw(images, seed, name):
    """One of a class's images; it depends on the seed and the class, not on other classes."""
    key = [seed, *os.fsencode(name)]
    return images[np.random.default_rng(key).integers(len(images))]


def check_line(name):
    """The name, unless it cannot be one of several in a line parted by tabs: then ValueError."""
    if any(letter in name for letter in '\t\n\r'):
        raise ValueError(f'the name {name!r} holds a tab or a line break: rename the file')
    return name
