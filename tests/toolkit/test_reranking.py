"""Expansion and diffusion: against loops, dense linear algebra and numbers worked out by hand."""

import numpy as np
import pytest
import scipy.sparse
from deep_retrieval import metrics, ranking
from deep_retrieval.ranking import diffusion


def clustered(count, dim, seed, clusters=5, spread=0.6):
    """Unit rows around a few centres."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((clusters, dim))[rng.integers(0, clusters, count)]
    rows = rows + spread * rng.standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def naive_expansion(query, database, n, alpha):
    order = sorted(range(len(database)), key=lambda i: -float(query @ database[i]))[:n]
    total = query.astype(float)
    for i in order:
        similarity = float(query @ database[i])
        if similarity > 0:
            total = total + similarity ** alpha * database[i]
    return total / np.linalg.norm(total)


def naive_affinity(database, k, gamma):
    """W of the mutual k-NN graph, by sorting each row."""
    count = len(database)
    similar = database.astype(float) @ database.T.astype(float)
    near = [sorted((j for j in range(count) if j != i), key=lambda j: -similar[i, j])[:k]
            for i in range(count)]
    W = np.zeros((count, count))
    for i in range(count):
        for j in near[i]:
            if i in near[j]:
                W[i, j] = similar[i, j] ** gamma if similar[i, j] > 0 else 0
    return W


def naive_graph(database, k, gamma):
    W = naive_affinity(database, k, gamma)
    degrees = W.sum(1)
    scale = np.array([1 / np.sqrt(degree) if degree else 1 for degree in degrees])
    return scale[:, None] * W * scale


@pytest.mark.parametrize('n', [0, 1, 4, 30])
@pytest.mark.parametrize('alpha', [0, 1, 3, 2.5])
def test_alpha_expansion(n, alpha):
    queries, database = clustered(6, 8, seed=0), clustered(30, 8, seed=1)
    found = ranking.alpha_expand_queries(queries, database, n, alpha)
    expected = [naive_expansion(query, database, n, alpha) for query in queries]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_alpha_expansion_by_hand():
    # (1, 0) meets (0.6, 0.8) with 0.6^2 = 0.36 and (0, 1) with 0: (1.216, 0.288) to unit length
    found = ranking.alpha_expand_queries([[1, 0]], [[0, 1], [0.6, 0.8], [-1, 0]], n=3, alpha=2)
    np.testing.assert_allclose(found, [np.array([1.216, 0.288]) / np.hypot(1.216, 0.288)], 1e-6)


def test_alpha_0_is_average_query_expansion():
    database = np.abs(clustered(30, 8, seed=2))     # no similarity below 0
    queries = database[:4]
    ours = ranking.alpha_expand_queries(queries, database, 5, alpha=0)
    average = ranking.expand_queries(queries, database, 5)
    np.testing.assert_allclose(
        ours, average / np.linalg.norm(average, axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize('k, gamma', [(1, 3), (4, 1), (10, 3), (39, 0), (39, 2)])
def test_the_graph(k, gamma):
    database = clustered(40, 6, seed=3)
    graph = diffusion.make_graph(database, k, gamma)
    assert scipy.sparse.issparse(graph) and (graph != graph.T).nnz == 0
    np.testing.assert_allclose(graph.toarray(), naive_graph(database, k, gamma), atol=1e-6)


def test_the_graph_by_hand():
    # 0 and 1 are each other's nearest; 2's nearest is 1, but not the other way round
    database = np.array([[1, 0], [0.8, 0.6], [0, 1]])
    graph = diffusion.make_graph(database, k=1, gamma=3).toarray()
    np.testing.assert_allclose(graph, [[0, 1, 0], [1, 0, 0], [0, 0, 0]], atol=1e-6)


def test_copies_of_a_row_are_neighbours_too():
    database = np.array([[1, 0]] * 4 + [[0, 1]])
    graph = diffusion.make_graph(database, k=2, gamma=1).toarray()
    assert not graph.diagonal().any() and graph[4].sum() == 0
    assert ((graph > 0).sum(axis=1) <= 2).all() and (graph > 0).any()


@pytest.mark.parametrize('alpha', [0, 0.5, 0.99])
@pytest.mark.parametrize('query_k', [1, 4])
def test_diffusion_solves_the_system(alpha, query_k):
    queries, database = clustered(5, 6, seed=4), clustered(60, 6, seed=5)
    S = naive_graph(database, k=7, gamma=3)
    found = diffusion.diffuse(queries, database, diffusion.make_graph(database, 7, 3), query_k,
                              alpha, gamma=3, tol=1e-9)
    for query, f in zip(queries, found):
        similar = query.astype(float) @ database.T.astype(float)
        y = np.zeros(60)
        for i in np.argsort(-similar)[:query_k]:
            y[i] = max(similar[i], 0) ** 3
        np.testing.assert_allclose(f, np.linalg.solve(np.eye(60) - alpha * S, y), rtol=1e-4,
                                   atol=1e-6)


def test_diffusion_by_hand():
    # Two images that are neighbours: S = [[0, 1], [1, 0]]. The query enters at the first with 1:
    # f = (I - S/2)^-1 (1, 0) = (4/3, 2/3).
    database = np.array([[1, 0, 0], [0.8, 0.6, 0], [0, 0, 1]])
    graph = diffusion.make_graph(database, k=1, gamma=1)
    found = diffusion.diffuse([[1, 0, 0]], database, graph, query_k=1, alpha=0.5, gamma=1)
    np.testing.assert_allclose(found, [[4 / 3, 2 / 3, 0]], atol=1e-5)


def test_what_diffusion_does_not_reach_comes_last_by_similarity():
    database = np.array([[1, 0, 0], [0.8, 0.6, 0], [0.1, 0, 0.99], [0.3, -0.95, 0]])
    graph = diffusion.make_graph(database, k=1, gamma=1)
    indices, scores = diffusion.rank_by_diffusion([[1, 0, 0]], database, graph, 1, 0.9, 1)
    assert indices.tolist() == [[0, 1, 3, 2]] and scores[0, 2:].tolist() == [0, 0]


def test_an_alpha_near_1_ranks_by_the_graph_alone():
    """f becomes (y . v) v / (1 - alpha), v the roots of the rows' sums of W: alike for all."""
    queries, database = np.abs(clustered(5, 6, seed=4)), np.abs(clustered(60, 6, seed=5))
    v = np.sqrt(naive_affinity(database, 40, 3).sum(1))
    assert v.all()
    graph = diffusion.make_graph(database, 40, 3)
    near, far = (diffusion.diffuse(queries, database, graph, 4, alpha, 3, tol=1e-9)
                 for alpha in (1 - 1e-6, 0.5))
    np.testing.assert_allclose(near / np.linalg.norm(near, axis=1, keepdims=True),
                               np.tile(v / np.linalg.norm(v), (5, 1)), atol=1e-4)
    assert len({tuple(np.argsort(-row)[:5]) for row in far}) > 1


def test_diffusion_follows_a_manifold():
    """Two arcs: the far end of the query's own is nearer along the graph than the other arc is."""
    angles = np.linspace(0, 2.4, 40)
    own = np.stack([np.cos(angles), np.sin(angles), np.zeros(40)], axis=1)
    other = np.stack([np.cos(angles), np.zeros(40), np.sin(angles)], axis=1)[15:]
    database = np.concatenate([own, other])
    plain = ranking.rank(own[:1], database)[0][0]
    graph = diffusion.make_graph(database, k=4, gamma=3)
    diffused = diffusion.rank_by_diffusion(own[:1], database, graph, 2, 0.99, 3)[0][0]
    assert metrics.average_precision_oxford(diffused, range(40)) == 1
    assert metrics.average_precision_oxford(plain, range(40)) < 0.9


@pytest.mark.parametrize('call, words', [
    (lambda q, d: ranking.alpha_expand_queries(q, d, 3, -1), 'alpha is -1'),
    (lambda q, d: ranking.alpha_expand_queries(q, d, 31, 1), 'n is 31'),
    (lambda q, d: diffusion.make_graph(d, 30, 3), 'k is 30, but must be 1 to 29'),
    (lambda q, d: diffusion.make_graph(d, 0, 3), 'k is 0'),
    (lambda q, d: diffusion.make_graph(d, 3, -1), 'gamma is -1'),
    (lambda q, d: diffusion.diffuse(q, d, diffusion.make_graph(d, 3, 3), 3, 1, 3), 'alpha is 1'),
    (lambda q, d: diffusion.diffuse(q, d[:9], diffusion.make_graph(d, 3, 3), 3, 0.9, 3),
     '30 nodes.* 9 rows'),
    (lambda q, d: diffusion.make_graph(np.full_like(d, np.nan), 3, 3), 'not finite')])
def test_mistakes(call, words):
    with pytest.raises(ValueError, match=words):
        call(clustered(3, 6, seed=6), clustered(30, 6, seed=7))
