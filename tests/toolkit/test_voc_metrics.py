"""VOC's average precision and precision at R: against loops over each place, and by hand."""


import numpy as np
import pytest
from deep_retrieval import metrics
from deep_retrieval.datasets import Dataset, Query, Truth
from deep_retrieval.evaluate import score
from naive_scores import naive_precision, naive_voc


def test_by_hand():
    # x a x b: precision 1/2 at recall 1/3, and 2/4 = 1/2 at recall 2/3; the third is not ranked
    assert metrics.average_precision_voc2010([0, 1, 0, 1], 3) == pytest.approx((1 / 2 + 1 / 2) / 3)
    # x x a b c: precisions 1/3, 2/4, 3/5, made monotone 3/5 each
    assert metrics.average_precision_voc2010([0, 0, 1, 1, 1], 3) == pytest.approx(3 / 5)
    # of the first three places one holds a positive
    assert metrics.precision_at_r([0, 0, 1, 1, 1], 3) == pytest.approx(1 / 3)
    assert metrics.precision_at_r([1, 1], 4) == pytest.approx(2 / 4)


def test_it_differs_from_compute_ap():
    """x a b: compute_ap has trapezoids, (0 + 1/2)/4 + (1/2 + 2/3)/4 = 10/24; VOC 2010 has 2/3."""
    assert metrics.average_precision_oxford('xab', 'ab') == pytest.approx(10 / 24)
    assert metrics.average_precision_voc2010([0, 1, 1], 2) == pytest.approx(2 / 3)


def test_at_the_ends():
    for metric in (metrics.average_precision_voc2010, metrics.precision_at_r):
        assert metric([1, 1, 0], 2) == 1
        assert metric([0, 0], 2) == metric([], 2) == 0
        with pytest.raises(ValueError, match='at least one positive'):
            metric([0, 0], 0)
        with pytest.raises(ValueError, match='2 places hold a positive, but there are 1'):
            metric([1, 1], 1)
        with pytest.raises(ValueError, match=r'not of shape \(1, 2\)'):
            metric([[1, 1]], 2)


def test_against_naive_loops():
    rng = np.random.default_rng(0)
    for _ in range(200):
        relevance = (rng.random(rng.integers(0, 30)) < rng.random()).tolist()
        positives = max(1, sum(relevance) + int(rng.integers(0, 4)))
        assert metrics.average_precision_voc2010(relevance, positives) == pytest.approx(
            float(naive_voc(relevance, positives)), abs=1e-12)
        assert metrics.precision_at_r(relevance, positives) == pytest.approx(
            float(naive_precision(relevance, positives)), abs=1e-12)


def test_rankings_with_ties_and_junk():
    """From descriptors to scores. Small whole numbers: similarities are exact, and often equal."""
    rng = np.random.default_rng(1)
    dataset = Dataset()
    dataset.path, dataset.images = '', [f'image {i}' for i in range(60)]
    names, truth = dataset.images, {}
    stored = rng.integers(-2, 3, (60, 3)).astype(np.float32)
    asked = rng.integers(-2, 3, (300, 3)).astype(np.float32)
    dataset.queries = queries = [Query(f'query {i}', '') for i in range(len(asked))]
    for query in queries:
        some = rng.permutation([*names, 'of another dataset', 'and another'])
        positives, junk = rng.integers(1, 15), rng.integers(0, 10)
        # the two overlap at times: junk is then skipped
        truth[query.name] = Truth(frozenset(some[:positives]),
                                  frozenset(some[positives - 1:positives - 1 + junk]))
    dataset.truth = lambda query: truth[query.name]
    answers = score(dataset, asked, stored).answers
    assert [answer.query for answer in answers] == queries
    tied = 0
    for query, vector, answer in zip(queries, asked, answers):
        similarities = [float(sum(a * b for a, b in zip(vector, row))) for row in stored]
        order = sorted(range(60), key=lambda i: (-similarities[i], i))
        tied += len(set(similarities)) < 60
        positives, junk = truth[query.name]
        R = len(positives)
        listed = [i for i in order if names[i] not in junk]
        relevance = [names[i] in positives for i in listed]
        assert answer.average_precision == pytest.approx(float(naive_voc(relevance, R)), abs=1e-12)
        assert answer.precision == pytest.approx(float(naive_precision(relevance, R)), abs=1e-12)
        assert [(rank, hit.name, hit.similarity) for rank, hit in answer.wrong.items()] == [
            (order.index(i) + 1, names[i], similarities[i])
            for i in listed[:R] if names[i] not in positives]
        assert [(hit.name, hit.mark) for hit in answer.top] == [
            (names[i], 'junk' if names[i] in junk else
             'positive' if names[i] in positives else 'negative') for i in order[:10]]
    assert tied == 300
