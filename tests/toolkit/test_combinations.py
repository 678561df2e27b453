"""Combinations of maps and their PCA against scikit-learn, one image at a time."""

from pathlib import Path

import numpy as np
import pytest
from deep_retrieval.studies import MAPS, pca
from deep_retrieval.studies.combinations import COMBINATIONS, describe, fit_all, fit_last
from offline_case import NaivePca, branches, folder, naive, naive_experiment, unit  # noqa: F401


@pytest.mark.parametrize('maps', sorted(MAPS))
@pytest.mark.parametrize('name, dim', [
    ('raw_concat', None), ('raw_master_concat', None), ('pca_concat', None), ('pca_concat', 20),
    ('pca_eltwise', 64), ('pca_eltwise', 10), ('rmac_eltwise', 12)])
def test_descriptors_equal_a_naive_computation(name, dim, maps, branches, naive):
    combination = COMBINATIONS[name](MAPS[maps])
    pcas = fit_all(combination, branches, dim)
    found = np.vstack([describe(combination, part, pcas) for part in branches])
    expected = naive_experiment(name, naive[0] + naive[1], MAPS[maps], dim)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize('maps', ['2', '4'])
def test_a_last_pca_reduces_the_descriptors(maps, branches, naive):
    combination = COMBINATIONS['pca_concat'](MAPS[maps])
    pcas = fit_all(combination, branches)
    last = fit_last(combination, branches, pcas, 7)
    found = np.vstack([describe(combination, part, pcas, last) for part in branches])
    rows = naive_experiment('pca_concat', naive[0] + naive[1], MAPS[maps])
    naive_pca = NaivePca(rows, 7)
    expected = np.array([unit(naive_pca(row)) for row in rows])
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize('name', COMBINATIONS)
def test_queries_are_scaled_as_the_database_is(name, branches, folder):
    """A query that is an image of the database gets that image's descriptor."""
    combination = COMBINATIONS[name](MAPS['4'])
    pcas = fit_all(combination, branches, 10)
    queries, database = (describe(combination, part, pcas) for part in branches)
    rows = [branches[1].names.index(name) for name in branches[0].names]
    np.testing.assert_allclose(queries, database[rows], atol=1e-6)


# Fitting

def blocks_of(vectors):
    return lambda: iter(np.array_split(vectors, 7))


def test_an_incremental_fit_is_the_same_where_all_components_are_kept():
    vectors = np.random.default_rng(0).normal(size=(2500, 12)) @ np.diag(np.arange(1, 13)) + 5
    whole = pca.fit(blocks_of(vectors), 2500)
    parts = pca.fit(blocks_of(vectors), 2500, incremental=True)
    ours, theirs = parts(vectors), whole(vectors)
    # directions may point either way, which no similarity can tell
    np.testing.assert_allclose(ours @ ours[:50].T, theirs @ theirs[:50].T, atol=1e-5)
    np.testing.assert_allclose(np.cov(ours.T), np.eye(12), atol=1e-6)


def test_beyond_memory_the_fit_is_incremental(monkeypatch):
    vectors = np.random.default_rng(0).normal(size=(300, 6))
    wanted = pca.fit(blocks_of(vectors), 300, 4, incremental=True)
    monkeypatch.setattr(pca, 'MEMORY', 300 * 6 * 8 - 1)
    for ours, theirs in zip(pca.fit(blocks_of(vectors), 300, 4), wanted):
        np.testing.assert_array_equal(ours, theirs)


def test_components_that_the_vectors_do_not_allow():
    random = np.random.default_rng(0)
    flat = random.normal(size=(50, 3)) @ random.normal(size=(3, 10))      # rank 3
    with pytest.raises(ValueError, match='4 components are more than the rank of the 50 v.*, 3: '):
        pca.fit(blocks_of(flat), 50, 4)
    with pytest.raises(ValueError, match='9 components need more than 9 .* only 8: give --dim 7 '):
        pca.fit(blocks_of(random.normal(size=(8, 10))), 8, 9)
    with pytest.raises(ValueError, match='--dim 11: .* of 10 numbers gives 10 at most'):
        pca.fit(blocks_of(flat), 50, 11)
    assert len(pca.fit(blocks_of(flat), 50).components) == 3
    assert len(pca.fit(blocks_of(flat), 50, 11, fewer=True).components) == 3
    square = random.normal(size=(14, 10))
    assert len(pca.fit(blocks_of(square), 14, 10, fewer=True).components) == 7
    with pytest.raises(ValueError, match='rank of the 50 vectors, 0'):
        pca.fit(blocks_of(np.ones((50, 4))), 50)


def test_a_saved_pca_is_read_back_without_pickles(tmp_path):
    fitted = pca.fit(blocks_of(np.random.default_rng(0).normal(size=(30, 4))), 30, 2)
    path = str(tmp_path / 'a.npz')
    pca.save(path, [fitted, fitted], {'weights': 'abc'})
    with np.load(path, allow_pickle=False) as file:
        assert file['1/components'].shape == (2, 4)
    for found in pca.load(path, {'weights': 'abc'}):
        assert all((ours == theirs).all() for ours, theirs in zip(found, fitted))
    with pytest.raises(ValueError, match='a.npz: .* other weights'):
        pca.load(path, {'weights': 'other'})
    Path(path).write_bytes(b'no zip')
    with pytest.raises(ValueError, match='a.npz: holds no PCA'):
        pca.load(path, {})
