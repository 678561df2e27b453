"""The revisited ground truth of Oxford and Paris, gnd_*.json or .pkl, and a dataset by it.

    truth = gnd_files.read('datasets/gnd_roxford5k.json')
    dataset = gnd_files.Revisited('datasets/Oxford', truth)

The files are those of Radenovic et al., Revisiting Oxford and Paris (CVPR 2018): `imlist` names the
database's images, `qimlist` the queries' images, and `gnd` has for each query its box `bbx` (x1 y1
x2 y2 in pixels) and the places in `imlist` of its `easy`, `hard` and `junk` images.
"""

import json
import math
import os
from typing import NamedTuple

import numpy as np

from deep_retrieval.datasets import gnd_pickle
from deep_retrieval.datasets.oxford import Query
from deep_retrieval.files import write_aside
from deep_retrieval.listing import EXTENSIONS

GRADES = ('easy', 'hard', 'junk')


class Truth(NamedTuple):
    """A revisited ground truth.

    name : of the file, as roxford5k
    images : names of the database's images; queries : list of dataset_helper's Query
    grades : query name -> {'easy': names, 'hard': names, 'junk': names}
    path : of the file
    """

    name: str
    images: list
    queries: list
    grades: dict
    path: str


class Revisited:
    """A dataset's folder by a revisited ground truth, as the helpers of dataset_helper give theirs.

    images : the database's image names, in the ground truth's order; queries : list of Query,
    whose images are in the folder too. The images are in `jpg/`; `lab/` is not needed.
    """

    def __init__(self, folder, truth):
        self.images, self.queries, self.truth = truth.images, truth.queries, truth
        self.name = truth.name
        self.path, self.folder = str(folder), os.path.join(folder, 'jpg')
        found = {os.path.splitext(file)[0]: file for file in sorted(os.listdir(self.folder))
                 if file.lower().endswith(EXTENSIONS)}
        wanted = [*self.images, *(query.image for query in self.queries)]
        missing = [name for name in wanted if name not in found]
        if missing:
            raise ValueError(f'{truth.path}: {len(missing)} of its {len(wanted)} images, as '
                             f'{missing[0]}, are not in {self.folder}: it is the ground truth of '
                             'other images')
        self._files = {name: found[name] for name in wanted}

    def image_path(self, name):
        """Path of an image's file."""
        return os.path.join(self.folder, self._files[name])

    def ground_truth(self, query):
        """Lists (good, ok, junk) of image names by the Medium protocol: good is easy and hard."""
        grades = self.truth.grades[query.name]
        return grades['easy'] + grades['hard'], [], grades['junk']


def read(path):
    """The Truth in a gnd_*.json, or in a gnd_*.pkl. ValueError, in one line, for another file."""
    path = str(path)
    if path.endswith('.pkl'):
        data = gnd_pickle.load(path)
    else:
        try:
            with open(path, encoding='utf-8') as file:
                data = json.load(file)
        except ValueError as error:
            raise ValueError(f'{path}: is no JSON ({error}); convert/gnd2json.py makes one of a '
                             'gnd_*.pkl') from None
    try:
        return _truth(path, data)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def write(path, truth):
    """Write a Truth as JSON, with the published file's keys and indices into its image list."""
    index = {name: i for i, name in enumerate(truth.images)}
    gnd = [{'bbx': list(query.box), **{grade: [index[name] for name in grades[grade]]
                                       for grade in GRADES}}
           for query in truth.queries for grades in [truth.grades[query.name]]]
    text = json.dumps({'imlist': truth.images, 'gnd': gnd,
                       'qimlist': [query.image for query in truth.queries]}) + '\n'
    write_aside(path, lambda file: file.write(text.encode()))


def _truth(path, data):
    if type(data) is not dict or not {'imlist', 'qimlist', 'gnd'} <= set(data):
        raise ValueError('is no ground truth: imlist, qimlist and gnd are expected')
    images, asked = _names('imlist', data['imlist']), _names('qimlist', data['qimlist'])
    inside = sorted(set(images) & set(asked))
    if inside:
        raise ValueError(f'the query image {inside[0]} is in imlist too, but queries are outside '
                         'the database in the revisited protocols')
    gnd = data['gnd']
    if type(gnd) is not list or len(gnd) != len(asked):
        raise ValueError(f'gnd is not a list of {len(asked)}, one entry a query')
    queries, grades = [], {}
    for name, entry in zip(asked, gnd):
        if type(entry) is not dict or not {'bbx', *GRADES} <= set(entry):
            raise ValueError(f'the query {name} lacks one of bbx, {", ".join(GRADES)}: old ground '
                             'truth, with ok and junk alone, is scored as published')
        queries.append(Query(name, name, _box(name, entry['bbx'])))
        grades[name] = {grade: [images[i] for i in
                                _indices(name, grade, entry[grade], len(images))]
                        for grade in GRADES}
        listed = [image for some in grades[name].values() for image in some]
        if len(set(listed)) < len(listed):
            raise ValueError(f'the query {name} grades an image twice')
    stem = os.path.splitext(os.path.basename(path))[0].removeprefix('gnd_')
    return Truth(stem, images, queries, grades, path)


def _names(key, names):
    if type(names) is not list or not names or not all(
            type(name) is str and name.split() == [name] for name in names):
        raise ValueError(f'{key} is no list of image names')
    if len(set(names)) < len(names):
        raise ValueError(f'{key} names an image twice')
    return names


def _box(name, box):
    try:
        box = tuple(map(float, box))
    except (TypeError, ValueError):
        box = ()
    if len(box) != 4 or not all(map(math.isfinite, box)) or not (
            box[0] < box[2] and box[1] < box[3]):
        raise ValueError(f'the box of the query {name} is no four numbers x1 y1 x2 y2')
    return box


def _indices(name, grade, indices, count):
    values = np.asarray(indices).reshape(-1)
    if len(values) and (values.dtype.kind not in 'iu' or values.min() < 0
                        or values.max() >= count):
        raise ValueError(f'{grade} of the query {name} is no list of places in imlist, '
                         f'0 to {count - 1}')
    return [int(i) for i in values]
