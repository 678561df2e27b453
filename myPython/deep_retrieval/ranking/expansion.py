"""Query expansion and database-side expansion: average descriptors with their nearest images."""

import numpy as np

from deep_retrieval.ranking.similarity import (
    BLOCK,
    check_range,
    checked,
    checked_rows,
    nearest,
    top_k,
)
from deep_retrieval.vectors import normalize


def expand_database(database: np.ndarray, k: int, block: int = BLOCK) -> np.ndarray:
    """Return the database after database-side expansion.

    Each row becomes the weighted mean of the first k + 1 rows of its own ranking, normally itself
    and its k nearest neighbours, with weights 1, k/k, (k-1)/k, ... 1/k. The means are not
    normalized again (Gordo et al., End-to-end Learning of Deep Visual Representations for Image
    Retrieval, 2017).

    Parameters
    ----------
    database : N x D
    k : int
        Number of neighbours, 0 (a copy) to N - 1.

    Returns
    -------
    ndarray, N x D float32

    Raises
    ------
    ValueError
        The database is empty, a row is not finite, or k is out of range.

    Examples
    --------
    With k = 1, a row and its nearest neighbour both have weight 1:

    >>> expand_database([[1, 0], [0.75, 0.5], [0, -1]], k=1)
    array([[ 0.875,  0.25 ],
           [ 0.875,  0.25 ],
           [ 0.5  , -0.5  ]], dtype=float32)
    """
    database = checked_rows('database', database)
    if not len(database):
        raise ValueError('cannot expand a database without rows')
    check_range('k', k, 0, len(database) - 1, 'the number of other database rows')
    if k == 0:
        return database.copy()
    weights = np.concatenate([[1], np.arange(k, 0, -1) / k])
    weights = (weights / weights.sum()).astype(np.float32)
    expanded = np.zeros_like(database)
    for rows, found, _ in nearest(database, database, k + 1, block):
        for column, weight in enumerate(weights):  # one neighbour at a time needs only block x D
            expanded[rows] += weight * database[found[:, column]]
    return expanded


def expand_queries(queries: np.ndarray, database: np.ndarray, k: int,
                   block: int = BLOCK) -> np.ndarray:
    """Return the queries after average query expansion: each averaged with its k nearest images.

    The means are not normalized again (Chum et al., Total Recall, ICCV 2007).

    Parameters
    ----------
    queries : Q x D
    database : N x D
    k : int
        Number of images, 0 (a copy) to N.

    Returns
    -------
    ndarray, Q x D float32

    Raises
    ------
    ValueError
        A row is not finite, the dimensions differ, or k is out of range.

    Examples
    --------
    >>> expand_queries([[1, 0]], [[0.75, 0.5], [0, 1]], k=1)
    array([[0.875, 0.25 ]], dtype=float32)
    """
    queries, database = checked(queries, database)
    found, _ = top_k(queries, database, k, block)
    expanded = queries.copy()
    for column in range(k):
        expanded += database[found[:, column]]
    return expanded / np.float32(k + 1)


def alpha_expand_queries(queries: np.ndarray, database: np.ndarray, n: int,
                         alpha: float) -> np.ndarray:
    """Return the queries after alpha-weighted query expansion.

    A query becomes the sum of itself (weight 1) and its n nearest images, each weighted by its
    similarity to the power of alpha (0 if the similarity is negative), scaled to unit length. With
    alpha = 0 all weights are 1, as in average query expansion (Radenovic et al., Fine-tuning CNN
    Image Retrieval with No Human Annotation, 2018).

    Parameters
    ----------
    queries : Q x D
    database : N x D
    n : int
        Number of images, 0 to N.
    alpha : float
        Exponent of the similarities, at least 0.

    Returns
    -------
    ndarray, Q x D float32

    Raises
    ------
    ValueError
        As in `expand_queries`, or alpha is negative.
    """
    check_at_least_0('alpha', alpha)
    if not 0 <= n <= len(database):
        raise ValueError(f'n is {n}, but must be 0 to {len(database)}, the number of images')
    found, similarities = top_k(queries, database, n)
    weights = power(similarities, alpha)
    expanded = np.array(queries, np.float32)
    database = np.asarray(database, np.float32)
    for column in range(n):
        expanded += weights[:, column, None] * database[found[:, column]]
    return normalize(expanded)


def power(similarities: np.ndarray, exponent: float) -> np.ndarray:
    """Raise similarities to a power; those that are not positive become 0.

    >>> power(np.array([0.5, -0.5]), 2)
    array([0.25, 0.  ])
    """
    # 0 ** 0 is 1: without the mask, an exponent of 0 would give weight to negative similarities
    return np.where(similarities > 0, np.maximum(similarities, 0) ** exponent, 0)


def check_at_least_0(name: str, value: float) -> None:
    """Raise ValueError for a negative value."""
    if not value >= 0:
        raise ValueError(f'{name} is {value}, but must be at least 0')
