"""Rankings improved from the descriptors alone: alpha-weighted expansion and diffusion.

    queries = reranking.alpha_expand_queries(queries, database, n=5, alpha=2)
    graph = reranking.make_graph(database, k=50, gamma=5)
    indices, scores = reranking.rank_by_diffusion(queries, database, graph, query_k=5, alpha=0.5,
                                                  gamma=5)

Descriptors are the rows of 2-D arrays, of unit length; similarity is the inner product. Both are
exact: neighbours by comparison with every row, diffusion by its linear system, solved to `tol`.
"""

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import cg
from tqdm import tqdm

from deep_retrieval import ranking
from deep_retrieval.vectors import normalize

BLOCK = 4096    # rows at a time of those whose neighbours are looked for


def alpha_expand_queries(queries, database, n, alpha):
    """Alpha-weighted query expansion (Radenovic et al., Fine-tuning CNN image retrieval, 2018).

    A query becomes itself (weight 1) and its n nearest images, each weighted by its similarity to
    the power of alpha (those below 0 by 0), scaled to unit length. alpha 0: all weigh 1, as in
    average query expansion.

    queries: Q x D. database: N x D. n: 0 to N. Returns Q x D float32. ValueError for another n, and
    for an alpha below 0.
    """
    _check_at_least_0('alpha', alpha)
    if not 0 <= n <= len(database):
        raise ValueError(f'n is {n}, but must be 0 to {len(database)}, the number of images')
    nearest, similarities = ranking.top_k(queries, database, n)
    weights = _power(similarities, alpha)
    expanded = np.array(queries, np.float32)
    database = np.asarray(database, np.float32)
    for column in range(n):
        expanded += weights[:, column, None] * database[nearest[:, column]]
    return normalize(expanded)


def rank_by_diffusion(queries, database, graph, query_k, alpha, gamma, tol=1e-6):
    """Rank the whole database for each query by diffusion, the best first.

    The arguments are those of `diffuse`. Images that diffusion does not reach score 0 and come
    last; ties are ordered by similarity to the query. Returns indices (Q x N int64) and scores in
    that order (Q x N float32).
    """
    scores = diffuse(queries, database, graph, query_k, alpha, gamma, tol)
    by_similarity, _ = ranking.rank(queries, database)
    places = np.argsort(-np.take_along_axis(scores, by_similarity, axis=1), axis=1, kind='stable')
    indices = np.take_along_axis(by_similarity, places, axis=1)
    return indices, np.take_along_axis(scores, indices, axis=1)


def make_graph(database, k, gamma):
    """The normalised affinities of the mutual k-nearest-neighbour graph (Iscen et al., CVPR 2017).

    W_ij = max(similarity, 0)^gamma where i is among the k nearest of j and j among those of i,
    i != j, and else 0; S = D^-1/2 W D^-1/2 with D the sums of W's rows. Rows without a mutual
    neighbour are 0.

    database: N x D. k: 1 to N - 1. Returns S, N x N sparse (CSR, float64).
    """
    _check_at_least_0('gamma', gamma)
    count = len(database)
    if not 1 <= k < count:
        raise ValueError(f'k is {k}, but must be 1 to {count - 1}, the number of other images')
    # k + 1: a row is normally its own nearest
    nearest, similarities = _nearest(database, k + 1)
    rows = np.repeat(np.arange(count), k + 1)
    columns, values = nearest.ravel(), _power(similarities.ravel().astype(np.float64), gamma)
    keep = _others(rows, columns, k)
    W = scipy.sparse.csr_array((values[keep], (rows[keep], columns[keep])), shape=(count, count))
    # the smaller of the two directions: 0 where one is missing, else alike but for rounding
    W = W.minimum(W.T)
    W.eliminate_zeros()
    degrees = W.sum(axis=1)
    i, j = W.tocoo().coords
    W.data /= np.sqrt(degrees[i] * degrees[j])
    return W


def _nearest(database, k):
    """The k nearest rows of each row, N x k, and their similarities: as ranking.top_k, but faster.

    Where rows are equally near, others of them may be taken.
    """
    import faiss
    ranking.similarities(database[:0], database)    # refuses what is not finite
    database = np.ascontiguousarray(database, np.float32)
    parts = [faiss.knn(database[start:start + BLOCK], database, k,
                       metric=faiss.METRIC_INNER_PRODUCT)
             for start in tqdm(range(0, len(database), BLOCK), unit='block', desc='graph',
                               disable=None, delay=2)]
    similarities, nearest = (np.concatenate(part) for part in zip(*parts))
    return nearest, similarities


def _others(rows, columns, k):
    """Which of a row's k + 1 nearest are its k nearest others: without itself, or the last."""
    keep = rows != columns
    whole = keep.reshape(-1, k + 1)
    whole[whole.all(axis=1), -1] = False    # copies of a row can push it out of its own list
    return keep


def diffuse(queries, database, graph, query_k, alpha, gamma, tol=1e-6):
    """What reaches each image from each query: f of (I - alpha S) f = y, by conjugate gradients.

    A query, which the graph has no node for, enters through its `query_k` nearest images: y is
    max(similarity, 0)^gamma there and 0 elsewhere. alpha: 0 to below 1, the share that goes on to
    neighbours at each step; with 0, f is y. tol: of the residual, relative to y's length.

    In a connected graph f holds (y . v) v / (1 - alpha), where v, the roots of the sums D at unit
    length, is the same for all queries: the nearer alpha comes to 1, and the fewer images there
    are, the more every query ranks by v. 0.99, the paper's, is for thousands of images.

    Returns Q x N float32. RuntimeError where the solution does not come within `tol`.
    """
    if not 0 <= alpha < 1:
        raise ValueError(f'alpha is {alpha}, but must be 0 to below 1')
    count = len(database)
    if graph.shape != (count, count):
        raise ValueError(f'the graph has {graph.shape[0]} nodes, but the database {count} rows')
    nearest, similarities = ranking.top_k(queries, database, query_k)
    starts = _power(similarities.astype(np.float64), gamma)
    matrix = scipy.sparse.eye_array(count, format='csr') - alpha * graph
    scores = np.zeros((len(nearest), count), np.float32)
    bar = tqdm(zip(nearest, starts, scores), total=len(scores), unit='query', desc='diffusion',
               disable=None, delay=2)
    for places, values, out in bar:
        y = np.zeros(count)
        y[places] = values
        f, failed = cg(matrix, y, rtol=tol, atol=0)
        if failed:
            raise RuntimeError(f'diffusion came not within {tol} in {failed} steps: take a larger '
                               'tolerance, or a smaller alpha')
        out[:] = f
    return scores


def _power(similarities, exponent):
    # 0 ** 0 is 1: without the mask an exponent of 0 would weigh what is below 0
    return np.where(similarities > 0, np.maximum(similarities, 0) ** exponent, 0)


def _check_at_least_0(name, value):
    if not value >= 0:
        raise ValueError(f'{name} is {value}, but must be at least 0')
