"""Ranking by descriptors, query expansion and average precision: arrays in, numbers out.

Descriptors are the rows of 2-D arrays, similarity is the inner product in float32. Nothing here
forms the N x N matrix of a whole database: work goes by blocks of `block` rows. Ties are between
equal similarities; those of two equal rows may differ in their last bit, by the block they fall in.

    indices, similarities = ranking.rank(queries, ranking.expand_database(database, k=20))
    ap = ranking.average_precision(indices[0], positives={3, 17}, junk={8})
"""
from typing import NamedTuple

import numpy as np

BLOCK = 256  # rows at a time; 5 MB of similarities to 5 000 images


class Hit(NamedTuple):
    """An image that was found: its name, its similarity, and what the ground truth says of it."""

    name: str
    similarity: float
    mark: str | None = None


def similarities(queries, database):
    """Inner products of all queries with all database rows.

    queries: Q x D. database: N x D. Returns Q x N float32. ValueError when an array is not 2-D,
    holds a value that is not finite, or the two differ in D.
    """
    queries, database = _descriptors(queries, database)
    return queries @ database.T


def rank(queries, database, block=BLOCK):
    """Rank the whole database for each query, the most similar row first, ties by lower index.

    Returns indices (Q x N int64) and their similarities in that order (Q x N float32).
    """
    return top_k(queries, database, len(database), block)


def top_k(queries, database, k, block=BLOCK):
    """The first k columns of `rank`, without sorting the rest.

    Returns indices (Q x k int64) and their similarities in that order (Q x k float32). At most
    block x N similarities are held at once. ValueError when k is not within 0..N.
    """
    queries, database = _descriptors(queries, database)
    _check_range('k', k, 0, len(database), 'the number of database rows')
    indices = np.empty((len(queries), k), np.int64)
    values = np.empty((len(queries), k), np.float32)
    for rows in _blocks(len(queries), block):
        found = queries[rows] @ database.T  # block x N
        indices[rows] = _first_k(found, k)
        values[rows] = np.take_along_axis(found, indices[rows], axis=1)
    return indices, values


def expand_database(database, k, block=BLOCK):
    """Database-side expansion (Gordo et al., End-to-end Learning of Deep Visual Representations).

    Each row becomes the mean of the first k + 1 rows of its own ranking, normally itself and its
    k nearest others, weighted by 1, k/k, (k-1)/k, ... 1/k. The means are not normalized again.

    database: N x D. k: 0 (off: a copy) to N - 1. Returns N x D float32. ValueError for another k.
    """
    database = _descriptor_rows('database', database)
    if not len(database):
        raise ValueError('cannot expand a database without rows')
    _check_range('k', k, 0, len(database) - 1, 'the number of other database rows')
    if k == 0:
        return database.copy()
    weights = np.concatenate([[1], np.arange(k, 0, -1) / k])
    weights = (weights / weights.sum()).astype(np.float32)
    expanded = np.zeros_like(database)
    for rows in _blocks(len(database), block):
        nearest = _first_k(database[rows] @ database.T, k + 1)
        for column, weight in enumerate(weights):  # one neighbour at a time: block x D, not more
            expanded[rows] += weight * database[nearest[:, column]]
    return expanded


def expand_queries(queries, database, k, block=BLOCK):
    """Average query expansion (Chum et al., Total Recall): a query and its k nearest, averaged.

    queries: Q x D. database: N x D. k: 0 (off: a copy) to N. Returns the means, Q x D float32, not
    normalized again. ValueError for another k.
    """
    queries, database = _descriptors(queries, database)
    nearest, _ = top_k(queries, database, k, block)
    expanded = queries.copy()
    for column in range(k):
        expanded += database[nearest[:, column]]
    return expanded / np.float32(k + 1)


def _first_k(values, k):
    """Columns of the k largest values of each row, descending, ties by lower column: Q x k."""
    if k == values.shape[1]:
        return np.argsort(-values, axis=1, kind='stable')
    found = np.empty((len(values), k), np.int64)
    if k == 0:
        return found
    smallest = np.partition(values, -k, axis=1)[:, -k]  # the k-th largest value of each row
    for row, value, out in zip(values, smallest, found):
        better = np.flatnonzero(row > value)
        # partitioning leaves it open which of the equal ones are kept
        equal = np.flatnonzero(row == value)[:k - len(better)]
        out[:] = np.concatenate([better[np.argsort(-row[better], kind='stable')], equal])
    return found


def _blocks(count, block):
    """Slices of `block` rows that cover `count` rows."""
    if block < 1:
        raise ValueError(f'block is {block}, but at least one row at a time is needed')
    return [slice(start, start + block) for start in range(0, count, block)]


def _descriptors(queries, database):
    """Both arrays as float32, checked one by one and against each other."""
    queries = _descriptor_rows('queries', queries)
    database = _descriptor_rows('database', database)
    if queries.shape[1] != database.shape[1]:
        raise ValueError('queries and database differ in dimension: '
                         f'{queries.shape} and {database.shape}')
    return queries, database


def _descriptor_rows(name, rows):
    """An array as N x D float32; ValueError naming the array, and the row that is not finite."""
    rows = np.asarray(rows, np.float32)
    if rows.ndim != 2:
        raise ValueError(f'{name}: descriptors are rows of a 2-D array, not of shape {rows.shape}')
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise ValueError(f'{name}: row {broken[0]} holds a value that is not finite')
    return rows


def _check_range(name, value, low, high, why):
    if not low <= value <= high:
        raise ValueError(f'{name} is {value}, but must be {low} to {high}, {why}')
