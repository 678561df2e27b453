"""Oxford and Paris with the revisited ground truth, gnd_*.json or .pkl.

    dataset = Revisited('datasets/Oxford', read('datasets/gnd_roxford5k.json'))

The files are those of Radenovic et al., Revisiting Oxford and Paris (CVPR 2018): `imlist` names the
database images, `qimlist` the query images, and `gnd` has for each query the box `bbx` (x1 y1 x2 y2
in pixels) and the indices in `imlist` of its `easy`, `hard` and `junk` images.
"""

import json
import math
import os
from typing import NamedTuple

import numpy as np

from deep_retrieval import store
from deep_retrieval.datasets import gnd_pickle
from deep_retrieval.datasets.base import Dataset, DatasetError, Query, Truth
from deep_retrieval.listing import EXTENSIONS

GRADES = ('easy', 'hard', 'junk')


class GroundTruth(NamedTuple):
    """A revisited ground truth.

    Attributes
    ----------
    name : str
        Name of the file, such as roxford5k.
    images : list of str
        Names of the database images.
    queries : list of Query
    grades : dict
        Name of a query -> {'easy': names, 'hard': names, 'junk': names}.
    path : str
    """

    name: str
    images: list
    queries: list
    grades: dict
    path: str


class Revisited(Dataset):
    """The images of a folder with a revisited ground truth.

    Images are in the order of the ground truth and do not include the query images. All files are
    in `jpg/` of the folder; `lab/` is not needed.

    Parameters
    ----------
    folder : path
    gnd : GroundTruth

    Raises
    ------
    DatasetError
        Images of the ground truth are missing.
    """

    metric = 'revisited'

    def __init__(self, folder, gnd: GroundTruth):
        self.gnd, self.name = gnd, gnd.name
        self.images, self.queries = gnd.images, gnd.queries
        self.path, self.folder = str(folder), os.path.join(folder, 'jpg')
        found = {os.path.splitext(file)[0]: file for file in sorted(os.listdir(self.folder))
                 if file.lower().endswith(EXTENSIONS)}
        wanted = [*self.images, *(query.image for query in self.queries)]
        missing = [name for name in wanted if name not in found]
        if missing:
            raise DatasetError(f'{gnd.path}: {len(missing)} of its {len(wanted)} images, such as '
                               f'{missing[0]}, are not in {self.folder}: it is the ground truth '
                               'of another dataset')
        self._files = {name: found[name] for name in wanted}

    def image_path(self, name: str) -> str:
        """Return the path of an image's file; DatasetError for an unknown name."""
        if name not in self._files:
            raise DatasetError(f'no image {name} in {self.folder}')
        return os.path.join(self.folder, self._files[name])

    def truth(self, query: Query) -> Truth:
        """Return the ground truth of a query (Medium protocol): easy and hard are positives."""
        good, _, junk = self.ground_truth(query)
        return Truth(frozenset(good), frozenset(junk))

    def ground_truth(self, query: Query) -> tuple[list, list, list]:
        """Return the names of the good, ok and junk images in the Medium protocol.

        Easy and hard images are good; no image is ok.
        """
        grades = self.gnd.grades[query.name]
        return grades['easy'] + grades['hard'], [], grades['junk']


def read(path: str | os.PathLike) -> GroundTruth:
    """Read a gnd_*.json or gnd_*.pkl.

    Raises
    ------
    ValueError
        The file is damaged or of another kind. The one-line message names it.
    """
    path = str(path)
    if path.endswith('.pkl'):
        data = gnd_pickle.load(path)
    else:
        try:
            with open(path, encoding='utf-8') as file:
                data = json.load(file)
        except ValueError as error:
            raise ValueError(f'{path}: is not JSON ({error}); convert/gnd2json.py makes one from a '
                             'gnd_*.pkl') from None
    try:
        return _truth(path, data)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def write(path: str | os.PathLike, truth: GroundTruth) -> None:
    """Write a ground truth as JSON, with the keys and indices of the published files."""
    index = {name: i for i, name in enumerate(truth.images)}
    gnd = [{'bbx': list(query.box), **{grade: [index[name] for name in grades[grade]]
                                       for grade in GRADES}}
           for query in truth.queries for grades in [truth.grades[query.name]]]
    store.write(path, json.dumps({'imlist': truth.images, 'gnd': gnd,
                                  'qimlist': [query.image for query in truth.queries]}) + '\n')


def _truth(path, data):
    if type(data) is not dict or not {'imlist', 'qimlist', 'gnd'} <= set(data):
        raise ValueError('is not a ground truth: imlist, qimlist and gnd are expected')
    images, asked = _names('imlist', data['imlist']), _names('qimlist', data['qimlist'])
    inside = sorted(set(images) & set(asked))
    if inside:
        raise ValueError(f'the query image {inside[0]} is in imlist too, but the revisited '
                         'protocols need queries outside the database')
    gnd = data['gnd']
    if type(gnd) is not list or len(gnd) != len(asked):
        raise ValueError(f'gnd is not a list of {len(asked)}, one entry per query')
    queries, grades = [], {}
    for name, entry in zip(asked, gnd, strict=True):
        if type(entry) is not dict or not {'bbx', *GRADES} <= set(entry):
            raise ValueError(f'the query {name} lacks one of bbx, {", ".join(GRADES)}; use the old '
                             'ground truth, with only ok and junk, without --gnd')
        queries.append(Query(name, name, _box(name, entry['bbx'])))
        grades[name] = {grade: [images[i] for i in
                                _indices(name, grade, entry[grade], len(images))]
                        for grade in GRADES}
        listed = [image for some in grades[name].values() for image in some]
        if len(set(listed)) < len(listed):
            raise ValueError(f'the query {name} grades an image twice')
    stem = os.path.splitext(os.path.basename(path))[0].removeprefix('gnd_')
    return GroundTruth(stem, images, queries, grades, path)


def _names(key, names):
    if type(names) is not list or not names or not all(
            type(name) is str and name.split() == [name] for name in names):
        raise ValueError(f'{key} is not a list of image names')
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
        raise ValueError(f'the box of the query {name} is not four numbers x1 y1 x2 y2')
    return box


def _indices(name, grade, indices, count):
    values = np.asarray(indices).reshape(-1)
    if len(values) and (values.dtype.kind not in 'iu' or values.min() < 0
                        or values.max() >= count):
        raise ValueError(f'{grade} of the query {name} is not a list of indices in imlist, '
                         f'0 to {count - 1}')
    return [int(i) for i in values]
