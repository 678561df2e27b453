"""Ranking by diffusion on the graph of the images' mutual nearest neighbours.

    graph = make_graph(database, k=50, gamma=5)
    indices, scores = rank_by_diffusion(queries, database, graph, query_k=5, alpha=0.5, gamma=5)

Descriptors are the rows of 2-D arrays, of unit length. Both steps are exact: neighbours are found
by exhaustive search, and diffusion solves its linear system to the tolerance `tol`.
"""

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import cg

from deep_retrieval import optional, progress
from deep_retrieval.ranking.expansion import check_at_least_0, power
from deep_retrieval.ranking.similarity import checked_rows, rank, top_k

BLOCK = 4096    # rows whose neighbours are searched at once


def rank_by_diffusion(queries: np.ndarray, database: np.ndarray, graph: scipy.sparse.csr_array,
                      query_k: int, alpha: float, gamma: float,
                      tol: float = 1e-6) -> tuple[np.ndarray, np.ndarray]:
    """Rank the whole database for each query by diffusion, best first.

    Images that diffusion does not reach have score 0 and come last. Ties are ordered by similarity
    to the query. Parameters and errors are those of `diffuse`.

    Returns
    -------
    indices : Q x N int64
    scores : Q x N float32, in that order
    """
    scores = diffuse(queries, database, graph, query_k, alpha, gamma, tol)
    by_similarity, _ = rank(queries, database)
    places = np.argsort(-np.take_along_axis(scores, by_similarity, axis=1), axis=1, kind='stable')
    indices = np.take_along_axis(by_similarity, places, axis=1)
    return indices, np.take_along_axis(scores, indices, axis=1)


def make_graph(database: np.ndarray, k: int, gamma: float) -> scipy.sparse.csr_array:
    """Return the normalized affinities of the mutual k-nearest-neighbour graph.

    W_ij = max(similarity, 0)^gamma if i != j are among the k nearest neighbours of each other, and
    0 otherwise; S = D^-1/2 W D^-1/2, where the diagonal matrix D has the row sums of W (Iscen et
    al., CVPR 2017). Rows without a mutual neighbour are 0.

    Parameters
    ----------
    database : N x D
    k : int
        Number of neighbours, 1 to N - 1.
    gamma : float
        Exponent of the similarities, at least 0.

    Returns
    -------
    csr_array, N x N float64
        S.

    Raises
    ------
    ValueError
        A parameter is out of range, or a row is not finite.
    """
    check_at_least_0('gamma', gamma)
    count = len(database)
    if not 1 <= k < count:
        raise ValueError(f'k is {k}, but must be 1 to {count - 1}, the number of other images')
    # k + 1: a row is normally its own nearest neighbour
    nearest, similarities = _nearest(database, k + 1)
    rows = np.repeat(np.arange(count), k + 1)
    columns, values = nearest.ravel(), power(similarities.ravel().astype(np.float64), gamma)
    keep = _others(rows, columns, k)
    W = scipy.sparse.csr_array((values[keep], (rows[keep], columns[keep])), shape=(count, count))
    # minimum of both directions: 0 if one is missing, otherwise they are equal up to rounding
    W = W.minimum(W.T)
    W.eliminate_zeros()
    degrees = W.sum(axis=1)
    i, j = W.tocoo().coords
    W.data /= np.sqrt(degrees[i] * degrees[j])
    return W


def _nearest(database, k):
    """Return the k nearest rows of each row, N x k, and their similarities, faster than `top_k`.

    Ties may be resolved differently.
    """
    faiss = optional.need('faiss', 'search')
    database = np.ascontiguousarray(checked_rows('database', database))
    parts = [faiss.knn(database[start:start + BLOCK], database, k,
                       metric=faiss.METRIC_INNER_PRODUCT)
             for start in progress.bar(range(0, len(database), BLOCK), unit='block', desc='graph')]
    similarities, nearest = (np.concatenate(part) for part in zip(*parts, strict=True))
    return nearest, similarities


def _others(rows, columns, k):
    """Which of the k + 1 nearest are the k nearest others: all but itself, or but the last."""
    keep = rows != columns
    whole = keep.reshape(-1, k + 1)
    whole[whole.all(axis=1), -1] = False    # enough copies of a row push it out of its own list
    return keep


def diffuse(queries: np.ndarray, database: np.ndarray, graph: scipy.sparse.csr_array, query_k: int,
            alpha: float, gamma: float, tol: float = 1e-6) -> np.ndarray:
    """Return the diffusion scores of all images for each query: f with (I - alpha S) f = y.

    A query is not a node of the graph. It is represented by its `query_k` nearest images: there, y
    is max(similarity, 0)^gamma, and 0 elsewhere. The system is solved by conjugate gradients.

    Parameters
    ----------
    queries : Q x D
    database : N x D
    graph : N x N sparse
        S, as `make_graph` returns it.
    query_k : int
        Number of images that represent a query, 0 to N.
    alpha : float
        Share that is passed on to neighbours at each step, 0 <= alpha < 1; for 0, f = y.
    gamma : float
        Exponent of the similarities.
    tol : float
        Largest residual, relative to the length of y.

    Returns
    -------
    ndarray, Q x N float32

    Raises
    ------
    ValueError
        A parameter is out of range, or the graph belongs to another database.
    RuntimeError
        The solver does not reach `tol`.

    Notes
    -----
    In a connected graph, f includes the term (y . v) v / (1 - alpha), where v (the square roots of
    D, normalized) is the same for all queries. The closer alpha is to 1, and the fewer images there
    are, the more this term dominates every ranking. The paper's 0.99 suits thousands of images.
    """
    if not 0 <= alpha < 1:
        raise ValueError(f'alpha is {alpha}, but must be 0 to below 1')
    count = len(database)
    if graph.shape != (count, count):
        raise ValueError(f'the graph has {graph.shape[0]} nodes, but the database {count} rows')
    nearest, similarities = top_k(queries, database, query_k)
    starts = power(similarities.astype(np.float64), gamma)
    matrix = scipy.sparse.eye_array(count, format='csr') - alpha * graph
    scores = np.zeros((len(nearest), count), np.float32)
    bar = progress.bar(zip(nearest, starts, scores, strict=True), total=len(scores), unit='query',
                       desc='diffusion')
    for places, values, out in bar:
        y = np.zeros(count)
        y[places] = values
        f, failed = cg(matrix, y, rtol=tol, atol=0)
        if failed:
            raise RuntimeError(f'diffusion did not reach {tol} in {failed} steps: use a larger '
                               'tolerance or a smaller alpha')
        out[:] = f
    return scores
