"""ranking: against naive loops over single vectors, and numbers worked by hand."""
import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from deep_retrieval import metrics, ranking

BLOCKS = [1, 7, 1000]


def whole_numbers(rows, dim, seed):
    """Descriptors whose inner products are exact in float32: any order of sums, and many ties."""
    return np.random.default_rng(seed).integers(-2, 3, (rows, dim)).astype(np.float32)


def naive_ranking(query, database):
    """(similarity, index) of all rows, by Python's stable sort."""
    found = [(sum(float(a) * float(b) for a, b in zip(query, row)), index)
             for index, row in enumerate(database)]
    return sorted(found, key=lambda pair: -pair[0])


def naive_expansion(database, k):
    expanded = []
    for row in database:
        order = [index for _, index in naive_ranking(row, database)][:k + 1]
        weights = [1.0] + [(k - j) / k for j in range(k)]
        expanded.append(sum(weight * database[index].astype(float)
                            for weight, index in zip(weights, order)) / sum(weights))
    return np.array(expanded)


def naive_average_precision(ranked, positives, junk):
    """Exact: a trapezoid one positive wide at each place that holds a positive."""
    listed = []
    for item in ranked:
        if item not in junk and item not in listed:
            listed.append(item)
    precisions = [Fraction(1)]
    for place in range(1, len(listed) + 1):
        hits = len(set(listed[:place]) & set(positives))
        precisions.append(Fraction(hits, place))
    width = Fraction(1, len(set(positives)))
    return sum((width * (precisions[i] + precisions[i + 1]) / 2
                for i, item in enumerate(listed) if item in positives), Fraction(0))


def test_similarities():
    queries = np.array([[1, 2], [0, -1]])
    database = np.array([[3, 4], [5, 6], [0, 0.5]])
    found = ranking.similarities(queries, database)
    assert found.dtype == np.float32
    assert found.tolist() == [[11, 17, 1], [-4, -6, -0.5]]


@pytest.mark.parametrize('block', BLOCKS)
def test_rank_equals_stable_sort(block):
    queries, database = whole_numbers(15, 4, seed=1), whole_numbers(60, 4, seed=2)
    indices, values = ranking.rank(queries, database, block=block)
    assert indices.shape == values.shape == (15, 60)
    for query, index, value in zip(queries, indices, values):
        expected = naive_ranking(query, database)
        assert list(zip(value.tolist(), index.tolist())) == expected


@pytest.mark.parametrize('block', BLOCKS)
@pytest.mark.parametrize('k', [0, 1, 2, 13, 59, 60])
def test_top_k_equals_start_of_the_whole_sort(k, block):
    queries, database = whole_numbers(15, 3, seed=3), whole_numbers(60, 3, seed=4)
    indices, values = ranking.top_k(queries, database, k, block=block)
    assert indices.shape == values.shape == (15, k)
    for query, index, value in zip(queries, indices, values):
        assert list(zip(value.tolist(), index.tolist())) == naive_ranking(query, database)[:k]


def test_all_tied_come_by_index():
    indices, values = ranking.top_k(np.ones((2, 3)), np.ones((50, 3)), 5)
    assert indices.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert (values == 3).all()


def test_rank_of_real_descriptors():
    rng = np.random.default_rng(5)
    queries, database = rng.standard_normal((4, 32)), rng.standard_normal((40, 32))
    indices, values = ranking.rank(queries, database, block=3)
    assert (np.diff(values, axis=1) <= 0).all()
    for query, index, value in zip(queries, indices, values):
        expected = naive_ranking(query, database)
        assert index.tolist() == [place for _, place in expected]
        np.testing.assert_allclose(value, [found for found, _ in expected], atol=1e-5)


def near_ties(count, dim, seed):
    """A query and unit rows, many of them equal or so close that float32 cannot tell."""
    rng = np.random.default_rng(seed)
    query = rng.standard_normal(dim)
    centres = rng.standard_normal((count // 4, dim)) + query
    rows = centres[rng.integers(0, len(centres), count)] + 1e-7 * rng.standard_normal((count, dim))
    rows[rng.integers(0, count, count // 4)] = centres[0]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return (query / np.linalg.norm(query)).astype(np.float32)[None], rows.astype(np.float32)


@pytest.mark.parametrize('dim', [3, 128, 2048])
def test_near_ties_are_decided_by_exact_similarities(dim):
    """The order of exact inner products, rounded to float32; equal ones by index."""
    query, database = near_ties(200, dim, seed=15)
    exact = [math.fsum(float(a) * float(b) for a, b in zip(query[0], row)) for row in database]
    exact = np.array(exact).astype(np.float32)
    expected = sorted(range(200), key=lambda i: (-exact[i], i))
    assert len(set(exact.tolist())) < 200       # there are ties, and
    assert len(np.unique(database, axis=0)) < 200       # equal rows
    for block in BLOCKS:
        queries = np.repeat(query, 9, axis=0)
        indices, values = ranking.rank(queries, database, block=block)
        assert indices.tolist() == [expected] * 9
        for k in (1, 10, 150):
            found, some = ranking.top_k(queries, database, k, block=block)
            assert found.tolist() == [expected[:k]] * 9
            np.testing.assert_allclose(some, values[:, :k], atol=1e-6)
    # the same rows in another order give the same names in the same order, except for ties
    moved = np.random.default_rng(16).permutation(200)
    again = moved[ranking.rank(query, database[moved])[0][0]]
    assert exact[again].tolist() == exact[expected].tolist()


def test_equal_rows_have_equal_similarities_wherever_they_are():
    rng = np.random.default_rng(17)
    database = rng.standard_normal((300, 2048)).astype(np.float32)
    database /= np.linalg.norm(database, axis=1, keepdims=True)
    copies = [0, 7, 8, 100, 255, 256, 257, 299]
    database[copies] = database[0]
    for block in BLOCKS:
        indices, values = ranking.rank(database, database, block=block)
        places = np.isin(indices, copies)
        assert (indices[places].reshape(300, 8) == copies).all()
        assert (np.ptp(values[places].reshape(300, 8), axis=1) == 0).all()


@pytest.mark.parametrize('block', BLOCKS)
@pytest.mark.parametrize('k', [1, 2, 5, 29])
def test_expand_database(k, block):
    database = whole_numbers(30, 3, seed=6)  # rows repeat, and often are not their own nearest
    expanded = ranking.expand_database(database, k, block=block)
    assert expanded.dtype == np.float32
    np.testing.assert_allclose(expanded, naive_expansion(database, k), rtol=1e-5, atol=1e-6)


def test_expand_database_by_hand():
    # Of row 0: itself (weight 1), row 1 (similarity 0.6, weight 2/2), row 2 (0, weight 1/2);
    # over 2.5: ((1 + 0.6) / 2.5, (0.8 + 0.5) / 2.5) = (0.64, 0.52).
    database = np.array([[1, 0], [0.6, 0.8], [0, 1], [-1, 0]])
    expanded = ranking.expand_database(database, 2)
    np.testing.assert_allclose(expanded[0], [0.64, 0.52], atol=1e-6)


def test_expand_database_never_holds_the_square():
    database = np.random.default_rng(14).standard_normal((3000, 8)).astype(np.float32)
    tracemalloc.start()
    ranking.expand_database(database, 3, block=50)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3e6  # bytes; 3000 x 3000 float32 would be 36e6


def test_expand_queries():
    queries, database = whole_numbers(12, 3, seed=7), whole_numbers(30, 3, seed=8)
    for k in (1, 4, 30):
        expected = []
        for query in queries:
            nearest = [database[index] for _, index in naive_ranking(query, database)[:k]]
            expected.append(sum(nearest, query) / (k + 1))
        for block in BLOCKS:
            expanded = ranking.expand_queries(queries, database, k, block=block)
            assert expanded.dtype == np.float32
            np.testing.assert_allclose(expanded, expected, rtol=1e-6)


def test_expansion_by_none_is_off():
    queries, database = whole_numbers(3, 4, seed=9), whole_numbers(5, 4, seed=10)
    same = ranking.expand_database(database, 0)
    assert (same == database).all() and same is not database
    same = ranking.expand_queries(queries, database, 0)
    assert (same == queries).all() and same is not queries


def test_inputs_are_left_alone():
    queries, database = whole_numbers(3, 4, seed=11), whole_numbers(5, 4, seed=12)
    before = queries.copy(), database.copy()
    ranking.rank(queries, database)
    ranking.expand_database(database, 2)
    ranking.expand_queries(queries, database, 2)
    assert (queries == before[0]).all() and (database == before[1]).all()


def test_empty_inputs():
    none, some = np.empty((0, 4)), np.ones((3, 4))
    assert ranking.similarities(none, some).shape == (0, 3)
    assert ranking.similarities(some, none).shape == (3, 0)
    assert [found.shape for found in ranking.rank(none, some)] == [(0, 3)] * 2
    assert [found.shape for found in ranking.rank(some, none)] == [(3, 0)] * 2
    assert ranking.expand_queries(none, some, 2).shape == (0, 4)
    with pytest.raises(ValueError, match='database without rows'):
        ranking.expand_database(none, 0)


def test_k_out_of_range():
    some = np.ones((3, 4))
    with pytest.raises(ValueError, match='k is 3, but must be 0 to 2'):
        ranking.expand_database(some, 3)
    with pytest.raises(ValueError, match='k is -1, but must be 0 to 2'):
        ranking.expand_database(some, -1)
    with pytest.raises(ValueError, match='k is 4, but must be 0 to 3'):
        ranking.expand_queries(some, some, 4)
    with pytest.raises(ValueError, match='k is 4, but must be 0 to 3'):
        ranking.top_k(some, some, 4)
    with pytest.raises(ValueError, match='block is 0'):
        ranking.top_k(some, some, 1, block=0)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named(value):
    good, bad = np.ones((5, 4)), np.ones((5, 4))
    bad[3, 1] = value
    with pytest.raises(ValueError, match='database: row 3 .* not finite'):
        ranking.rank(good, bad)
    with pytest.raises(ValueError, match='queries: row 3 .* not finite'):
        ranking.expand_queries(bad, good, 1)
    with pytest.raises(ValueError, match='database: row 3 .* not finite'):
        ranking.expand_database(bad, 1)


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r'\(2, 512\) and \(3, 2048\)'):
        ranking.similarities(np.ones((2, 512)), np.ones((3, 2048)))
    with pytest.raises(ValueError, match=r'2-D array, not of shape \(2048,\)'):
        ranking.rank(np.ones(2048), np.ones((3, 2048)))


def test_average_precision_by_hand():
    # Junk j is absent, so the places are x a b. Trapezoids, each half a positive wide:
    # a: (0 + 1/2)/2 * 1/2 = 1/8;  b: (1/2 + 2/3)/2 * 1/2 = 7/24;  together 10/24.
    ap = metrics.average_precision_oxford(['x', 'a', 'j', 'b'], ['a', 'b'], ['j'])
    assert ap == pytest.approx(10 / 24, abs=1e-15)
    # Four positives, two never ranked. a: (1 + 1)/2 * 1/4 = 1/4;  b, third after x:
    # (1/2 + 2/3)/2 * 1/4 = 7/48;  together 19/48.
    assert metrics.average_precision_oxford('axb', 'abyz') == pytest.approx(19 / 48, abs=1e-15)


def test_average_precision_at_the_ends():
    assert metrics.average_precision_oxford('abcx', 'abc') == 1
    assert metrics.average_precision_oxford('xyz', 'abc') == 0
    assert metrics.average_precision_oxford([], 'abc') == 0
    # the first place counts: as of a x, recall is 1 at the first place
    assert metrics.average_precision_oxford('axaa', 'a') == 1
    # a is junk and positive: skipped, but recall divides by it
    assert metrics.average_precision_oxford('ab', 'ab', 'a') == 0.5
    with pytest.raises(ValueError, match='at least one positive'):
        metrics.average_precision_oxford('abc', [])


def test_average_precision_of_indices():
    ranked = np.array([4, 0, 2, 1, 3])
    assert metrics.average_precision_oxford(
        ranked, {0, 1}, {4}) == metrics.average_precision_oxford('eacbd', 'ab', 'e')


def test_average_precision_against_a_naive_loop():
    rng = np.random.default_rng(13)
    for _ in range(200):
        ranked = rng.integers(0, 40, rng.integers(0, 50)).tolist()
        positives = rng.integers(0, 50, rng.integers(1, 15)).tolist()
        junk = rng.integers(0, 50, rng.integers(0, 10)).tolist()
        expected = naive_average_precision(ranked, positives, junk)
        found = metrics.average_precision_oxford(ranked, positives, junk)
        assert found == pytest.approx(float(expected), abs=1e-12)
