"""Open saved descriptors of any kind, and check what they were made from.

    features = open_features('tmp/features')        # a folder of shards
    features = open_features('tmp/x.npy')           # with the names of its rows in tmp/x.txt
    saved = load(['tmp/demo/Oxford_S512_L2'], dataset)      # queries and images of test.py
    indices, similarities = ranking.rank(saved.queries, saved.database)

A STEM stands for the files STEM_queries.npy (or STEM_queries_full.npy, for queries that were not
cropped) and STEM_dataset.npy with their manifests. The hash of the model in the name may be left
out, as in `tmp/demo/Oxford_S512_L2`, if there are features of only one model. Nothing is recomputed
here: features that do not match are refused.
"""

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deep_retrieval import store
from deep_retrieval.datasets.base import Dataset
from deep_retrieval.extraction import fingerprint
from deep_retrieval.feature_shards import FeatureFolder
from deep_retrieval.features import MODEL, Features, NamedRows, check_rows, check_same, find_file
from deep_retrieval.vectors import normalize

if TYPE_CHECKING:
    from deep_retrieval.whitening import Whitening

PARTS = {'roi': 'queries', 'full': 'queries_full'}      # crop of the queries -> end of the name

logger = logging.getLogger(__name__)


class Saved(NamedTuple):
    """Descriptors of a dataset, without those of skipped images.

    queries : Q x D, descriptors of `asked` (list of Query)
    database : N x D, descriptors of `images` (names)
    made_from : the entries on which the manifests agree, and `crop`: 'roi' or 'full'
    """

    queries: np.ndarray
    database: np.ndarray
    asked: list
    images: list
    made_from: dict


def open_features(path: str | os.PathLike, names: str | os.PathLike | None = None, *,
                  dataset: Dataset | Callable | None = None,
                  part: str = 'database') -> Features | FeatureFolder | NamedRows:
    """Open saved descriptors of any kind.

    Parameters
    ----------
    path : a folder of shards (convert_images2shards.py), an .npy file with a list of names
        (convert_image2features.py), or a STEM of test.py's features
    names : path of the list of names; by default the .txt beside the .npy file
    dataset : Dataset, or a function without arguments that opens it; required for a STEM
    part : 'queries' or 'database', for a STEM

    Returns
    -------
    FeatureFolder, NamedRows or Features

    Raises
    ------
    ValueError, FileNotFoundError
        There are no such features, or they are damaged. The one-line message names the file.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        return FeatureFolder(path)
    if names is not None or path.endswith('.npy'):
        return NamedRows(path, names or f'{os.path.splitext(path)[0]}.txt')
    if dataset is None:
        raise ValueError(f'{path}: is neither a folder of features nor an .npy file')
    return rows_of(path, dataset() if callable(dataset) else dataset, part)


def load(stems: list[str], dataset: Dataset, crop: str | None = None) -> Saved:
    """Load the saved features of a dataset; those of several stems are summed and normalized.

    Parameters
    ----------
    stems : list of str
    dataset : Dataset
    crop : 'roi' or 'full', how queries were cropped; by default the one that exists, 'roi' first

    Raises
    ------
    ValueError
        A file is missing, damaged, was made from other images or by another model, or has a row
        that is not finite although its image was not skipped. The one-line message names the file.
    """
    parts = [_load(find_stem(stem), dataset, crop) for stem in stems]
    queries, database, made_from = parts[0]
    for stem, (_, _, other) in zip(stems, parts, strict=True):
        check_same(stem, other, stems[0], made_from, (*MODEL, 'L', 'crop'))
    if len(parts) > 1:
        queries, database = (normalize(sum(part[i] for part in parts)) for i in (0, 1))
    asked, ranked = (np.flatnonzero(np.isfinite(rows).all(1)) for rows in (queries, database))
    for what, left, rows in (('images', ranked, database), ('queries', asked, queries)):
        if len(left) < len(rows):
            logger.warning('%d of %d %s were skipped and are left out', len(rows) - len(left),
                           len(rows), what)
        if not len(left):
            raise ValueError(f'{stems[0]}: all {what} were skipped')
    return Saved(queries[asked], database[ranked], [dataset.queries[i] for i in asked],
                 [dataset.images[i] for i in ranked], made_from)


def find_stem(stem: str) -> str:
    """Return the full STEM, including the hash of the model, for one that may lack it.

    Raises
    ------
    ValueError
        There are no such features, or there are features of several models or datasets.
    """
    path = find_file(f'{os.fspath(stem)}_dataset.npy')
    if not os.path.exists(path):
        raise ValueError(f'{path}: there is no such file; test.py makes it')
    return path.removesuffix('_dataset.npy')


def rows_of(stem: str, dataset: Dataset, part: str) -> Features:
    """Open one part of test.py's features, 'queries' or 'database', as Features."""
    saved = load([stem], dataset)
    names = [query.name for query in saved.asked] if part == 'queries' else saved.images
    return Features(stem, names, getattr(saved, part), saved.made_from)


def _load(stem, dataset, crop):
    """Return queries, database and what they were made from."""
    there = [name for name in ([crop] if crop else PARTS)
             if os.path.exists(f'{stem}_{PARTS[name]}.npy')]
    crop = there[0] if there else crop or 'roi'
    paths = f'{stem}_{PARTS[crop]}.npy', f'{stem}_dataset.npy'
    (queries, asked), (database, ranked) = map(read, paths)
    check_same(paths[0], asked, paths[1], ranked, (*MODEL, 'L', 'S'))
    if ranked.get('items') != fingerprint(dataset.items()):
        raise ValueError(f'{paths[1]}: was made from other images than those of {dataset.path}; '
                         'test.py recomputes it')
    # the manifest says how the queries were cropped, whatever the name of the file
    cuts = {fingerprint(dataset.query_items(cut == 'roi')): cut for cut in PARTS}
    crop = cuts.get(asked.get('items'))
    if crop is None:
        raise ValueError(f'{paths[0]}: was made from other queries than those of {dataset.path}; '
                         'test.py recomputes it')
    check_rows(paths[0], queries, [query.image for query in dataset.queries], asked['skipped'])
    check_rows(paths[1], database, dataset.images, ranked['skipped'])
    return queries, database, {**ranked, 'crop': crop}


def read(path: str) -> tuple[np.ndarray, dict]:
    """Read the rows (N x D float32) of an .npy file, and its manifest (made_from and skipped).

    Raises
    ------
    ValueError
        The file or its manifest is missing or damaged, or they do not match.
    """
    if not os.path.exists(path):
        raise ValueError(f'{path}: there is no such file; test.py makes it')
    rows, note = store.load_array(path)
    if rows.ndim != 2 or rows.dtype.kind != 'f':
        raise ValueError(f'{path}: is not a matrix with one descriptor per row')
    return rows.astype(np.float32, copy=False), {**note['made_from'],
                                                 'skipped': note.get('skipped', [])}


def whitened(saved: Saved, fitted: 'Whitening', path: str | os.PathLike) -> Saved:
    """Whiten saved features with `fitted`, read from `path`; it must be of the same model."""
    check_same(path, fitted.made_from, 'the features', saved.made_from)
    return saved._replace(queries=fitted.apply(saved.queries),
                          database=fitted.apply(saved.database))


def pairs(saved: Saved, dataset: Dataset) -> np.ndarray:
    """Return P x 2 indices of database rows that show the same object: positives of one query."""
    from deep_retrieval import whitening
    row = {name: i for i, name in enumerate(saved.images)}
    groups = {tuple(sorted(row[name] for name in dataset.truth(query).positives if name in row))
              for query in saved.asked}
    return whitening.pairs_of(sorted(groups))   # the queries of one landmark form one group


def fit_whitening(saved: Saved, dataset: Dataset, kind: str = 'pca', dims: int | None = None,
                  shrinkage: float = 0.0) -> 'Whitening':
    """Learn a whitening from the descriptors of a dataset's images.

    Parameters
    ----------
    saved : Saved
    dataset : Dataset
        The dataset of these features.
    kind : 'pca', or 'pairs' to learn from pairs of images of one query
    dims : int, optional
        Dimensions to keep; by default the descriptors' rank.
    shrinkage : float
        For 'pairs', see `Whitening.fit_pairs`.

    Returns
    -------
    Whitening
        It records the model of the features, so that descriptors of other models are refused.
    """
    from deep_retrieval.whitening import Whitening
    if kind == 'pca':
        return Whitening.fit_pca(saved.database, dims, model(saved))
    return Whitening.fit_pairs(saved.database, pairs(saved, dataset), dims, shrinkage,
                               model(saved))


def model(saved: Saved) -> dict:
    """Return the model of these features, to be recorded in a whitening learned from them."""
    return {key: saved.made_from.get(key) for key in MODEL}
