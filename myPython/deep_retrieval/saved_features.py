"""Descriptors that test.py saved, read back and checked against what they were made from.

    saved = saved_features.load(['tmp/demo/Oxford_S512_L2'], dataset)
    indices, similarities = ranking.rank(saved.queries, saved.database)

Features STEM are the files STEM_queries.npy and STEM_dataset.npy, with a manifest (.json) beside
each. Nothing is computed anew here: what does not fit is refused.
"""

import json
import os
from typing import NamedTuple

import numpy as np
from custom_layers import normalize

from deep_retrieval import whitening
from deep_retrieval.describe import Item, fingerprint
from deep_retrieval.feature_shards import FeatureFolder

MODEL = ('weights', 'proto', 'end')     # what makes descriptors comparable
CROPS = ('roi', 'full')


class Rows:
    """Rows in memory as a feature_shards.FeatureFolder gives them.

    names : list of N; values : N x D float32; made_from : dict; path : what errors name
    """

    def __init__(self, path, names, values, made_from):
        check_rows(path, values, names)
        self.path, self.names, self.made_from = path, names, made_from
        self._values, self.dim = values, values.shape[1]

    def __len__(self):
        return len(self.names)

    def rows(self, start=0, stop=None):
        return self._values[start:stop]


class Saved(NamedTuple):
    """Descriptors of a dataset, without those of skipped images.

    queries : Q x D, of `asked` (list of Query); database : N x D, of `images` (names)
    made_from : what the manifests say alike, and `crop`, 'roi' or 'full': how queries were cut
    """

    queries: np.ndarray
    database: np.ndarray
    asked: list
    images: list
    made_from: dict


def load(stems, dataset, say=print):
    """The Saved features of a dataset; those of several stems are summed and normalized.

    dataset : as dataset_helper's, with `images`, `queries` and `image_path`
    say : called with a line about images that were skipped
    ValueError, in one line, where a file is damaged, was made of other images or another model, or
    has a row that is not finite though its image was not skipped.
    """
    parts = [_load(stem, dataset) for stem in stems]
    queries, database, made_from = parts[0]
    for stem, (_, _, other) in zip(stems, parts):
        check_same(stem, other, stems[0], made_from, (*MODEL, 'L', 'crop'))
    if len(parts) > 1:
        queries, database = (normalize(sum(part[i] for part in parts)) for i in (0, 1))
    asked, ranked = (np.flatnonzero(np.isfinite(rows).all(1)) for rows in (queries, database))
    for what, left, rows in (('images', ranked, database), ('queries', asked, queries)):
        if len(left) < len(rows):
            say(f'{len(rows) - len(left)} of {len(rows)} {what} were skipped and are left out')
        if not len(left):
            raise ValueError(f'{stems[0]}: all {what} were skipped')
    return Saved(queries[asked], database[ranked], [dataset.queries[i] for i in asked],
                 [dataset.images[i] for i in ranked], made_from)


def _load(stem, dataset):
    """Queries, database and what they were made from."""
    paths = f'{stem}_queries.npy', f'{stem}_dataset.npy'
    (queries, asked), (database, ranked) = map(read, paths)
    check_same(paths[0], asked, paths[1], ranked, (*MODEL, 'L', 'S'))
    images = [Item(name, dataset.image_path(name)) for name in dataset.images]
    if ranked.get('items') != fingerprint(images):
        raise ValueError(f'{paths[1]}: was not made of the images of {dataset.path}; test.py '
                         'makes it anew')
    cuts = {fingerprint([Item(query.image, dataset.image_path(query.image),
                              query.box if crop == 'roi' else None) for query in dataset.queries]):
            crop for crop in CROPS}
    crop = cuts.get(asked.get('items'))
    if crop is None:
        raise ValueError(f'{paths[0]}: was not made of the queries of {dataset.path}; test.py '
                         'makes it anew')
    check_rows(paths[0], queries, [query.image for query in dataset.queries], asked['skipped'])
    check_rows(paths[1], database, dataset.images, ranked['skipped'])
    return queries, database, {**ranked, 'crop': crop}


def read(path):
    """Rows (N x D float32) of an .npy, and the dict of its manifest beside it."""
    note = os.path.splitext(path)[0] + '.json'
    for file in (path, note):
        if not os.path.exists(file):
            raise ValueError(f'{file}: there is no such file; test.py makes it')
    try:
        rows = np.load(path)        # refuses pickles
    except (ValueError, EOFError) as error:
        raise ValueError(f'{path}: is no array: {error}') from None
    if getattr(rows, 'ndim', 0) != 2 or rows.dtype.kind != 'f':
        raise ValueError(f'{path}: is no matrix with a descriptor a row')
    try:
        with open(note, encoding='utf-8') as file:
            made_from = json.load(file)
        made_from = {'skipped': [], **made_from}
    except (ValueError, TypeError):
        raise ValueError(f'{note}: is damaged: no JSON object') from None
    return rows.astype(np.float32, copy=False), made_from


def check_same(path, made_from, other_path, other, keys=MODEL):
    """ValueError unless two manifests say the same of all `keys`: else nothing is comparable."""
    different = [key for key in keys if made_from.get(key) != other.get(key)]
    if different:
        raise ValueError(f'{path}: its descriptors were made with other {", ".join(different)} '
                         f'than those of {other_path}')


def check_rows(path, rows, names, skipped=(), start=0):
    """ValueError unless each name has a row, and each row but those of `skipped` is finite.

    start : the first row's number in the file
    """
    if len(rows) != len(names):
        raise ValueError(f'{path}: has {len(rows)} rows for {len(names)} images')
    broken = [i for i in np.flatnonzero(~np.isfinite(rows).all(axis=1))
              if names[i] not in skipped]
    if broken:
        raise ValueError(f'{path}: row {start + broken[0]} ({names[broken[0]]}) holds a value that '
                         'is not finite')


def open_rows(path, dataset, part, say=print):
    """Rows of a folder of shards, or of one part of test.py's features.

    path : the folder, or STEM. dataset : function that opens the dataset of a STEM
    part : 'queries' or 'database'; say : called with a line about images that were skipped
    """
    if os.path.isdir(path):
        return FeatureFolder(path)
    saved = load([path], dataset(), say)
    names = [query.name for query in saved.asked] if part == 'queries' else saved.images
    return Rows(path, names, getattr(saved, part), saved.made_from)


def whitened(saved, fitted, path):
    """Saved features whitened by the Whitening of a file; ValueError for one of another model."""
    check_same(path, fitted.made_from, 'the features', saved.made_from)
    return saved._replace(queries=whitening.apply(fitted, saved.queries),
                          database=whitening.apply(fitted, saved.database))


def pairs(saved, dataset):
    """P x 2 rows of the database that show the same, by the published ground truth: good and ok."""
    row = {name: i for i, name in enumerate(saved.images)}
    groups = {tuple(sorted(row[name] for name in set(good + ok) if name in row))
              for good, ok, _ in map(dataset.ground_truth, saved.asked)}
    return whitening.pairs_of(sorted(groups))      # the queries of one landmark give its group once


def model(saved):
    """What a whitening learned from these features has to say of them."""
    return {key: saved.made_from.get(key) for key in MODEL}
