"""Describe images in one call.

    photos = describe(model, 'holiday_photos/', cache='tmp/holiday')
    photos.names, photos.rows()         # N names, N x D float32
"""

import logging
import os
from collections.abc import Iterable

import numpy as np

from deep_retrieval import arguments, progress
from deep_retrieval.extraction import as_items, run
from deep_retrieval.feature_shards import FeatureFolder
from deep_retrieval.features import Features
from deep_retrieval.model import Model
from deep_retrieval.scales import scales_of
from deep_retrieval.shard_job import Job
from deep_retrieval.vectors import unit

logger = logging.getLogger(__name__)


def describe(model: Model, images: str | os.PathLike | np.ndarray | Iterable, *,
             S: int | None = None, multires: str | bool = False,
             cache: str | os.PathLike | None = None, batch_size: int = 4, overwrite: bool = False,
             show_progress: bool = True) -> Features | FeatureFolder:
    """Describe images: one descriptor of unit length per image.

    Damaged images are left out with a warning; `bad` of the result names them, with reasons.

    Parameters
    ----------
    model : Model
        As `load_model` returns it.
    images : path of a folder, path or list of paths of images, H x W x 3 uint8 or list of these
        A folder is searched recursively.
    S : int, optional
        Longer side in pixels that images are resized to; by default the model's.
    multires : bool or str
        Sum the descriptors of several scales: a name of `scales.SCALES`, or True for 'papers'.
    cache : path of a folder, optional
        Folder to cache the descriptors in. A later call only computes new images, and an
        interrupted one resumes. A cache that was made with another model or S is refused.
    batch_size : int
        Images of one size that the net takes at once.
    overwrite : bool
        Replace a cache that was made with another model or S.
    show_progress : bool

    Returns
    -------
    Features or FeatureFolder
        With `names`, `rows()`, `dim`, `bad` and `made_from`. Names are paths relative to the
        folder, the paths as they were given, or the indices of arrays.

    Raises
    ------
    ValueError, TypeError
        There is no image, none can be read, the cache cannot be used, or an argument is invalid.
    """
    scales = scales_of(model.S if S is None else S, multires)
    arguments.whole('batch_size', batch_size, 1)
    if cache is not None:
        cache = arguments.folder('cache', cache)
    if _is_one(images):
        images = [images]
    with progress.hidden(not show_progress):
        if cache is not None:
            job = Job(images, cache, scales, batch_size, overwrite=overwrite)
            job.run(model.net, model.made_from, wait=True)
            return _with_thresholds(job.open(), model)
        items, load = as_items(images)
        folder = os.path.abspath(images) if isinstance(images, (str, os.PathLike)) and (
            os.path.isdir(images)) else None
        return _with_thresholds(_in_memory(model, items, load, scales, batch_size, folder), model)


def _is_one(images):
    """Whether `images` is one image: an array, or the path of what is there and is not a folder."""
    if isinstance(images, np.ndarray):
        return images.ndim < 4
    return isinstance(images, (str, os.PathLike)) and os.path.exists(images) and (
        not os.path.isdir(images))


def _with_thresholds(features, model):
    features.thresholds = model.info.thresholds     # what find_groups takes by default
    return features


def _in_memory(model, items, load, scales, batch_size, folder):
    bad, total = {}, 0

    def skip(i, error):
        bad[items[i].name] = _reason(items[i], error)
        logger.warning('skipped: %s', error)

    for S in scales:
        rows = _Rows()
        with progress.bar(total=len(items), unit='image', desc='describe') as bar:
            todo = [i for i, item in enumerate(items) if item.name not in bad]
            run(model.net, items, todo, S, rows, bar, skip, batch_size, load)
        if not rows.rows:
            raise ValueError(f'none of the {len(items)} images can be read, for example '
                             f'{items[0].name}: {bad[items[0].name]}')
        total = total + rows.matrix(len(items))
    good = [i for i, item in enumerate(items) if item.name not in bad]
    values = unit(total)[good]
    return Features('the features', [items[i].name for i in good], values,
                    {**model.made_from, 'scales': list(scales)}, bad, folder)


def _reason(item, error):
    return str(error).removeprefix(f'{item.path}: ')


class _Rows:
    """Rows in memory, with the interface of store.Journal that `run` needs."""

    def __init__(self):
        self.rows = {}

    def append(self, indices, values):
        self.rows.update(zip(indices, values, strict=True))

    def matrix(self, count):
        dim = len(next(iter(self.rows.values()), ()))
        matrix = np.full((count, dim), np.nan, np.float32)
        for index, row in self.rows.items():
            matrix[index] = row
        return matrix
