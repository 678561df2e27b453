"""Faiss indices of descriptors: build, save, and search by inner product.

    stored = faiss_index.build(features, kind='ivfpq')
    faiss_index.save('tmp/index', stored)
    hits = faiss_index.find(faiss_index.load('tmp/index'), queries, k=10)   # [[Hit, ...], ...]

`flat` compares a query with every row. `ivfpq` assigns rows to cells by k-means, compresses each to
a code of a few bytes (Jegou et al., Product quantization for nearest neighbor search, 2011), and
compares a query with the codes in its `probes` nearest cells. With `refine` it also keeps the rows,
and rescores the best candidates with them. The manifest PATH.json beside PATH.faiss has the names
of the rows, what they were made from, and the hash of the index.
"""

import os
from typing import NamedTuple

import numpy as np

from deep_retrieval import optional, progress, store
from deep_retrieval.feature_shards import FeatureFolder
from deep_retrieval.features import Features, NamedRows, check_rows, check_same
from deep_retrieval.ranking import Hit
from deep_retrieval.search import INDEX_KINDS as KINDS

BLOCK = 16384       # rows at a time
BITS = 8            # per part of a code: 256 centroids
TRAINED = 64        # training rows of k-means per cell, and per centroid of the codes
CANDIDATES = 10     # candidates per hit in a refined index


class Index(NamedTuple):
    """A faiss index, the names of its rows, its kind and options, and what rows were made from."""

    faiss: object
    names: list
    kind: dict
    made_from: dict


def build(features: Features | FeatureFolder | NamedRows, kind: str = 'flat',
          cells: int | None = None, code_bytes: int | None = None, refine: bool = False,
          seed: int = 0) -> Index:
    """Build an index of features.

    Parameters
    ----------
    features : Features, FeatureFolder or NamedRows
    kind : {'flat', 'ivfpq'}
    cells : int, optional
        Number of cells of ivfpq; by default about 4 sqrt(N).
    code_bytes : int, optional
        Bytes per row of ivfpq, a divisor of the dimension; by default an eighth of it.
    refine : bool
        Also keep the rows, to rescore candidates.
    seed : int
        Random seed of k-means and its sample.

    Raises
    ------
    ValueError
        A row is not finite, there are too few rows, or `code_bytes` is not a divisor.
    """
    if kind not in KINDS:
        raise ValueError(f'unknown kind of index {kind!r}; known are {", ".join(KINDS)}')
    faiss = _faiss()
    count, dim = len(features), features.dim
    about = {'kind': kind}
    if kind == 'flat':
        made = faiss.IndexFlatIP(dim)
    else:
        about |= {'cells': _cells(count, cells), 'code_bytes': _code_bytes(dim, code_bytes),
                  'refine': refine, 'seed': seed}
        made = _ivfpq(faiss, dim, about)
        sample = np.random.default_rng(seed).permutation(count)
        sample = np.sort(sample[:TRAINED * max(about['cells'], 2 ** BITS)])
        made.train(_take(features, sample))
        if refine:
            made = faiss.IndexRefineFlat(made)
    for start in progress.bar(range(0, count, BLOCK), unit='block', desc='index'):
        made.add(_checked(features, start, start + BLOCK))
    return Index(made, list(features.names), about, features.made_from)


def find(stored: Index, queries: Features | FeatureFolder | NamedRows, k: int = 10,
         probes: int = 16) -> list[list[Hit]]:
    """Find the images most similar to each query, most similar first.

    Parameters
    ----------
    stored : Index
    queries : Features, FeatureFolder or NamedRows
        Made by the same model.
    k : int
        Number of hits per query; fewer are returned if fewer are found.
    probes : int
        Number of cells that ivfpq searches.

    Raises
    ------
    ValueError
        The queries were made by another model, or differ in dimension.
    """
    check_same(queries.path, queries.made_from, 'the index', stored.made_from)
    places, scores = search(stored, queries.rows(), min(k, len(stored.names)), probes)
    return [[Hit(stored.names[place], score) for place, score in zip(*row, strict=True)
             if place >= 0] for row in zip(places, scores.tolist(), strict=True)]


def search(stored: Index, queries: np.ndarray, k: int,
           probes: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Find the k rows nearest to each query.

    Parameters
    ----------
    stored : Index
    queries : Q x D
    k : int
    probes : int
        Number of cells that ivfpq searches.

    Returns
    -------
    places : Q x k int64
        Indices of rows, best first; -1 if the searched cells have too few rows.
    scores : Q x k float32
    """
    faiss = _faiss()
    queries = np.ascontiguousarray(queries, np.float32)
    if queries.ndim != 2 or queries.shape[1] != stored.faiss.d:
        raise ValueError(f'the index has rows of {stored.faiss.d} dimensions, and the queries are '
                         f'of shape {queries.shape}')
    if not 1 <= k <= stored.faiss.ntotal:
        raise ValueError(f'k is {k}, but must be 1 to {stored.faiss.ntotal}, the rows of the index')
    if stored.kind['kind'] == 'flat':
        scores, places = stored.faiss.search(queries, k)
        return places, scores
    parameters = faiss.SearchParametersIVF(nprobe=min(probes, stored.kind['cells']))
    if stored.kind['refine']:
        parameters = faiss.IndexRefineSearchParameters(
            k_factor=min(CANDIDATES, stored.faiss.ntotal / k), base_index_params=parameters)
    scores, places = stored.faiss.search(queries, k, params=parameters)
    return places, scores


def save(path: str, stored: Index) -> None:
    """Write an Index as PATH.faiss and its manifest PATH.json."""
    faiss = _faiss()

    def write(file):
        faiss.write_index(stored.faiss, faiss.PyCallbackIOWriter(file.write))
    store.Manifest.beside(f'{path}.faiss').write(
        stored.made_from, {f'{path}.faiss': write}, kind=stored.kind, names=stored.names)


def load(path: str) -> Index:
    """Read an Index written by `save`.

    Raises
    ------
    ValueError
        A file is missing or damaged, or the two do not match. The one-line message names the file.
    """
    faiss, file = _faiss(), f'{path}.faiss'
    manifest = store.Manifest.beside(file)
    for name in (file, manifest.path):
        if not os.path.exists(name):
            raise ValueError(f'{name}: there is no such file; search_index.py build makes it')
    note = manifest.note()
    manifest.verify(file)       # faiss trusts its input, so verify it first
    with store.reading(file, 'an index of faiss'):
        index = faiss.read_index(file)
    manifest.verify(file)       # another process may have replaced it meanwhile
    if manifest.note() != note:
        raise ValueError(f'{file}: another process has just replaced it')
    with store.reading(manifest.path, 'the manifest of an index'):
        return Index(index, note['names'], note['kind'], note['made_from'])


def _faiss():
    return optional.need('faiss', 'search')


def _ivfpq(faiss, dim, about):
    made = faiss.IndexIVFPQ(faiss.IndexFlatIP(dim), dim, about['cells'], about['code_bytes'],
                            BITS, faiss.METRIC_INNER_PRODUCT)
    for clustering in (made.cp, made.pq.cp):
        clustering.seed, clustering.min_points_per_centroid = about['seed'], 1
    return made


def _cells(count, cells):
    if count < 2 ** BITS:
        raise ValueError(f'ivfpq needs at least {2 ** BITS} rows to learn from, but there are '
                         f'{count}: use flat')
    cells = cells or max(1, min(int(4 * count ** 0.5), count // TRAINED))
    if cells > count:
        raise ValueError(f'{count} rows cannot fill {cells} cells')
    return cells


def _code_bytes(dim, code_bytes):
    code_bytes = code_bytes or max(1, dim // 8)
    if dim % code_bytes:
        raise ValueError(f'{code_bytes} bytes do not divide {dim} dimensions evenly; use a divisor')
    return code_bytes


def _take(features, places):
    """Return the rows at ascending indices."""
    parts = []
    for start in range(0, len(features), BLOCK):
        inside = places[(places >= start) & (places < start + BLOCK)] - start
        if len(inside):
            parts.append(_checked(features, start, start + BLOCK)[inside])
    return np.concatenate(parts)


def _checked(features, start, stop):
    rows = features.rows(start, stop)
    check_rows(features.path, rows, features.names[start:stop], start=start)
    return np.ascontiguousarray(rows, np.float32)
