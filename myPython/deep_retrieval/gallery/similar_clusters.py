"""Save the images most similar to each of the first images as folders of pictures.

    features = open_features('tmp/features.npy')
    similarities = similarities_of(features, rows=100, path='sim.npy')
    pictures = clusters(similarities, features.names, 'images', top=100)
    answer_pictures.fill('clusters', pictures, overwrite=False)
"""

import hashlib
import json
import os
from collections.abc import Callable

import numpy as np

from deep_retrieval import ranking, store
from deep_retrieval.feature_shards import FeatureFolder
from deep_retrieval.features import Features, NamedRows
from deep_retrieval.gallery import pages
from deep_retrieval.gallery.answer_pictures import copy_of, hit_name

BLOCK = 4096    # features read at a time


def similarities_of(features: Features | FeatureFolder | NamedRows, rows: int,
                    path: str | None = None) -> np.ndarray:
    """Compute the similarities of the first features to all features.

    Parameters
    ----------
    features : Features, FeatureFolder or NamedRows
    rows : int
    path : str, optional
        An .npy file to load them from, or to save them to if it does not exist. A saved file is
        refused if it was made from other features.

    Returns
    -------
    ndarray, rows x N float32
        N x N if there are fewer than `rows` features.

    Raises
    ------
    ValueError
        The file has another shape, values that are not finite, or was made from other features.
    """
    rows = min(rows, len(features))
    if path and os.path.exists(path):
        return _stored(path, rows, features)
    asked = features.rows(0, rows)
    found = np.concatenate(
        [ranking.similarities(asked, features.rows(start, start + BLOCK))
         for start in range(0, len(features), BLOCK)], axis=1)
    if path:
        store.save_array(path, found, {'features': _digest(features)})
    return found


def clusters(similarities: np.ndarray, names: list[str], folder: str,
             top: int) -> dict[str, Callable]:
    """Return pictures for `answer_pictures.fill`: `K/RANK_NAME_SIMILARITY.jpg` for each row K.

    Parameters
    ----------
    similarities : rows x N
    names : list of N str
        Names of images in `folder`.
    folder : str
    top : int
        Number of pictures per row. Ranks begin at 0, which is normally the row itself; ties are
        ordered by row.

    Raises
    ------
    ValueError
        An image does not exist.
    """
    locate, pictures = pages.in_folder(folder), {}
    for row, found in enumerate(similarities):
        for rank, i in enumerate(np.argsort(-found, kind='stable')[:top]):
            path = locate(names[i])
            if path is None:
                raise ValueError(f'{folder}: has no image {names[i]!r}, which the features name')
            pictures[f'{row}/{hit_name(rank, names[i], path, found[i])}'] = copy_of(path)
    return pictures


def _stored(path, rows, features):
    note = store.Manifest.beside(path)
    if note.note() is not None:     # a file made by the user has no manifest
        if note.differences({'features': _digest(features)}):
            raise store.StoreError(f'{path}: was made from other features; remove it, or give '
                                   'another file')
        note.verify(path)
    with store.reading(path, 'an .npy file of numbers'):
        array = np.load(path, mmap_mode='r', allow_pickle=False)
    if array.ndim != 2 or array.shape[1] != len(features) or len(array) < rows:
        raise ValueError(f'{path}: similarities of at least {rows} images to {len(features)} are '
                         f'needed, not an array of shape {array.shape}')
    found = np.asarray(array[:rows], np.float32)
    if not np.isfinite(found).all():
        raise ValueError(f'{path}: has a value that is not finite')
    return found


def _digest(features):
    digest = hashlib.sha256(json.dumps(features.names).encode())
    for start in range(0, len(features), BLOCK):
        digest.update(np.ascontiguousarray(features.rows(start, start + BLOCK)))
    return digest.hexdigest()
