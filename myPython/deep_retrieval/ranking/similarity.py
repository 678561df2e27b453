"""Similarities of descriptors, and rankings by similarity.

Descriptors are the rows of 2-D arrays, and their similarity is the inner product. Rows are
processed in blocks, so the N x N matrix of a whole database is never in memory.

Rankings do not depend on the processor, the BLAS library or the block size: they are ordered by the
inner products in float64, rounded to float32, then by index. For speed, float64 is only used for
similarities that are nearly equal in float32. Equal rows always tie.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

BLOCK = 256         # rows at a time; 5 MB of similarities to 5 000 images
CHUNK = 256         # dimensions that are summed in float32 for whole rankings


class Hit(NamedTuple):
    """An image that was found: its name, its similarity, and its mark by the ground truth."""

    name: str
    similarity: float
    mark: str | None = None


def similarities(queries: np.ndarray, database: np.ndarray) -> np.ndarray:
    """Return the inner products of all queries with all rows of the database, in float32.

    Parameters
    ----------
    queries : Q x D
    database : N x D

    Returns
    -------
    ndarray, Q x N float32

    Raises
    ------
    ValueError
        An array is not 2-D or has a value that is not finite, or the dimensions differ.

    Examples
    --------
    >>> similarities([[1, 0]], [[0.6, 0.8], [1, 0]])
    array([[0.6, 1. ]], dtype=float32)
    """
    queries, database = checked(queries, database)
    return queries @ database.T


def rank(queries: np.ndarray, database: np.ndarray,
         block: int = BLOCK) -> tuple[np.ndarray, np.ndarray]:
    """Rank the whole database for each query, most similar row first, ties by lower index.

    Parameters
    ----------
    queries : Q x D
    database : N x D
    block : queries at a time

    Returns
    -------
    indices : Q x N int64
    similarities : Q x N float32, in that order

    >>> indices, values = rank([[1, 0]], [[0.6, 0.8], [1, 0], [0.6, -0.8]])
    >>> indices, values
    (array([[1, 0, 2]]), array([[1. , 0.6, 0.6]], dtype=float32))
    """
    return top_k(queries, database, len(database), block)


def top_k(queries: np.ndarray, database: np.ndarray, k: int,
          block: int = BLOCK) -> tuple[np.ndarray, np.ndarray]:
    """Return the first k columns of `rank` without sorting the rest.

    At most block x N similarities are in memory at once.

    Parameters
    ----------
    queries : Q x D
    database : N x D
    k : int
        Number of hits, 0 to N.

    Returns
    -------
    indices : Q x k int64
    similarities : Q x k float32, in that order

    Raises
    ------
    ValueError
        As in `similarities`, or k is out of range.
    """
    queries, database = checked(queries, database)
    check_range('k', k, 0, len(database), 'the number of database rows')
    indices = np.empty((len(queries), k), np.int64)
    values = np.empty((len(queries), k), np.float32)
    blocks(0, block)    # refuses a block of 0
    if k:
        for rows, found, some in nearest(queries, database, k, block):
            indices[rows], values[rows] = found, some
    return indices, values


def nearest(queries: np.ndarray, database: np.ndarray, k: int,
            block: int = BLOCK) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield (slice of queries, indices, similarities) of `top_k`, block by block, unchecked.

    k : 1 to N
    """
    # in a whole ranking many rows are nearly equal; more accurate products leave fewer to settle
    width = CHUNK if k == len(database) else max(1, queries.shape[1])
    # in unit roundoffs: those of the values, plus several times the error seen for such sums
    close = (2 + width ** 0.5 / 2) * 2.0 ** -24
    scale = _norms(queries) * _norms(database).max()
    for rows in blocks(len(queries), block):
        found = _products(queries[rows], database, width)   # block x N
        if k == len(database):
            order = np.argsort(-found, axis=1)
        else:
            kth = np.partition(found, -k, axis=1)[:, -k]
            least = kth - close * (np.abs(kth) + scale[rows] / 8)
        indices, values = [], []
        for i, row in enumerate(found):
            some = order[i] if k == len(database) else _above(row, least[i])
            query = queries[rows.start + i]
            some, similarities = _settle(query, database, some, row[some], close, scale[rows][i])
            indices.append(some[:k])
            values.append(similarities[:k])
        yield rows, np.array(indices), np.array(values, np.float32)


def blocks(count: int, block: int) -> list[slice]:
    """Return slices of `block` rows that cover `count` rows.

    >>> blocks(3, 2)
    [slice(0, 2, None), slice(2, 4, None)]
    """
    if block < 1:
        raise ValueError(f'block is {block}, but at least one row at a time is needed')
    return [slice(start, start + block) for start in range(0, count, block)]


def checked(queries: np.ndarray, database: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both arrays as float32, after checking each of them and their dimensions."""
    queries = checked_rows('queries', queries)
    database = checked_rows('database', database)
    if queries.shape[1] != database.shape[1]:
        raise ValueError('queries and database differ in dimension: '
                         f'{queries.shape} and {database.shape}')
    return queries, database


def checked_rows(name: str, rows: np.ndarray) -> np.ndarray:
    """Return an array as N x D float32; ValueError if it is not 2-D or a row is not finite."""
    rows = np.asarray(rows, np.float32)
    if rows.ndim != 2:
        raise ValueError(f'{name}: descriptors are rows of a 2-D array, not of shape {rows.shape}')
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise ValueError(f'{name}: row {broken[0]} holds a value that is not finite')
    return rows


def check_range(name: str, value: float, low: float, high: float, why: str) -> None:
    """Raise ValueError unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f'{name} is {value}, but must be {low} to {high}, {why}')


def _norms(rows):
    return np.sqrt(np.einsum('ij,ij->i', rows, rows))


def _products(queries, database, width):
    """Return inner products, summed in float32 over up to `width` dimensions, then in float64."""
    dim = queries.shape[1]
    if dim <= width:
        return queries @ database.T
    total = np.zeros((len(queries), len(database)))
    for start in range(0, dim, width):
        some = slice(start, start + width)
        total += queries[:, some] @ database[:, some].T
    return total


def _above(row, least):
    """Return the indices of the values >= least, largest value first."""
    indices = np.flatnonzero(row >= least)
    return indices[np.argsort(-row[indices])]


def _settle(query, database, indices, values, close, scale):
    """Return the ranking with nearly equal similarities reordered by their exact values."""
    # errors grow with the partial sums, which may be larger than the similarity
    near = values[:-1] - values[1:] <= close * (np.abs(values[:-1]) + scale / 8)
    if near.any():
        member = np.zeros(len(values), bool)
        member[:-1] |= near
        member[1:] |= near
        places = np.flatnonzero(member)
        rows = indices[places]
        # products of float32 are exact in float64, and the order of their sum is fixed
        exact = np.einsum('ij,j->i', database[rows], query, dtype=np.float64).astype(np.float32)
        # groups of nearly equal rows are far enough apart not to be mixed
        order = np.lexsort((rows, -exact))
        indices[places], values[places] = rows[order], exact[order]
    return indices, values
