"""The images most similar to each of the first ones, as folders of pictures to look at.

    features = open_features('tmp/features.npy')
    similarities = similarities_of(features, rows=100, path='sim.npy')
    pictures = clusters(similarities, features.names, 'images', top=100)
    answer_pictures.fill('clusters', pictures, overwrite=False)
"""

import os

import numpy as np

from deep_retrieval import ranking
from deep_retrieval.files import write_aside
from deep_retrieval.gallery.answer_pictures import copy_of, hit_name
from deep_retrieval.listing import EXTENSIONS

BLOCK = 4096    # features read at a time


def similarities_of(features, rows, path=None):
    """Similarities of the first features to all N: rows x N float32, or N x N where N is less.

    features : as open_features opens them
    path : an .npy file to take them from, or to write where it is not there
    ValueError where the file has other rows or columns, or values that are not finite.
    """
    rows = min(rows, len(features))
    if path and os.path.exists(path):
        return _stored(path, rows, len(features))
    asked = features.rows(0, rows)
    found = np.concatenate(
        [ranking.similarities(asked, features.rows(start, start + BLOCK))
         for start in range(0, len(features), BLOCK)], axis=1)
    if path:
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        write_aside(path, lambda file: np.save(file, found))
    return found


def _stored(path, rows, columns):
    try:
        array = np.load(path, mmap_mode='r')    # refuses pickles
    except (ValueError, EOFError):
        raise ValueError(f'{path}: is no .npy file of numbers, or is truncated') from None
    if array.ndim != 2 or array.shape[1] != columns or len(array) < rows:
        raise ValueError(f'{path}: similarities of at least {rows} images to {columns} are '
                         f'wanted, not an array of shape {array.shape}')
    found = np.asarray(array[:rows], np.float32)
    if not np.isfinite(found).all():
        raise ValueError(f'{path}: holds a value that is not finite')
    return found


def clusters(similarities, names, folder, top):
    """Pictures to fill a folder with: `K/RANK_NAME_SIMILARITY.jpg` for each row K.

    similarities : rows x N; names : of the N images in the folder. Ranks are from 0 on, where
    normally the row itself stands; ties by lower row. ValueError for an image that is not there.
    """
    pictures = {}
    for row, found in enumerate(similarities):
        for rank, i in enumerate(np.argsort(-found, kind='stable')[:top]):
            path = _find_image(folder, names[i])
            pictures[f'{row}/{hit_name(rank, names[i], path, found[i])}'] = copy_of(path)
    return pictures


def _find_image(folder, name):
    """The path of a named image, whose name may lack its extension."""
    stem = os.path.join(folder, name)
    for end in ('', *EXTENSIONS):
        if os.path.isfile(stem + end):
            return stem + end
    raise ValueError(f'{folder}: has no image {name!r}, which the features name')
