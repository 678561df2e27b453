"""Combinations of maps and their PCA against scikit-learn, one image at a time."""

from pathlib import Path

import numpy as np
import pytest
from deep_retrieval.studies import MAPS, pca
from deep_retrieval.studies.combinations import COMBINATIONS, describe, fit_all, fit_last
from offline_case import NaivePca, branches, folder, naive, naive_experiment, unit  # noqa: F401
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler


@pytest.mark.parametrize('maps', sorted(MAPS))
@pytest.mark.parametrize('name, dim', [
    ('raw_concat', None), ('raw_master_concat', None), ('pca_concat', None), ('pca_concat', 20),
    ('pca_eltwise', 64), ('pca_eltwise', 10), ('rmac_eltwise', 12)])
def test_descriptors_equal_a_naive_computation(name, dim, maps, branches, naive):  # noqa: F811
    combination = COMBINATIONS[name](MAPS[maps])
    pcas = fit_all(combination, branches, dim)
    found = np.vstack([describe(combination, part, pcas) for part in branches])
    expected = naive_experiment(name, naive[0] + naive[1], MAPS[maps], dim)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize('maps', ['2', '4'])
def test_a_last_pca_reduces_the_descriptors(maps, branches, naive):  # noqa: F811
    combination = COMBINATIONS['pca_concat'](MAPS[maps])
    pcas = fit_all(combination, branches)
    last = fit_last(combination, branches, pcas, 7)
    found = np.vstack([describe(combination, part, pcas, last) for part in branches])
    rows = naive_experiment('pca_concat', naive[0] + naive[1], MAPS[maps])
    naive_pca = NaivePca(rows, 7)
    expected = np.array([unit(naive_pca(row)) for row in rows])
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize('name', COMBINATIONS)
def test_queries_are_scaled_as_the_database_is(name, branches, folder):  # noqa: F811
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
    found = pca.fit(blocks_of(vectors), 300, 4)
    np.testing.assert_array_equal(found.mean, wanted.mean)
    np.testing.assert_array_equal(found.matrix, wanted.matrix)


def test_components_that_the_vectors_do_not_allow():
    random = np.random.default_rng(0)
    flat = random.normal(size=(50, 3)) @ random.normal(size=(3, 10))      # rank 3
    with pytest.raises(ValueError, match='4 components are more than the rank of the 50 v.*, 3: '):
        pca.fit(blocks_of(flat), 50, 4)
    with pytest.raises(ValueError, match='9 components need more than 9 .* only 8: give --dim 7 '):
        pca.fit(blocks_of(random.normal(size=(8, 10))), 8, 9)
    with pytest.raises(ValueError, match='--dim 11: .* of 10 dimensions has at most 10'):
        pca.fit(blocks_of(flat), 50, 11)
    assert pca.fit(blocks_of(flat), 50).matrix.shape == (10, 3)
    assert pca.fit(blocks_of(flat), 50, 11, fewer=True).matrix.shape == (10, 3)
    square = random.normal(size=(14, 10))
    assert pca.fit(blocks_of(square), 14, 10, fewer=True).matrix.shape == (10, 7)
    with pytest.raises(ValueError, match='rank of the 50 vectors, 0'):
        pca.fit(blocks_of(np.ones((50, 4))), 50)


def test_the_whitening_is_the_scaler_and_then_the_pca():
    vectors = np.random.default_rng(1).normal(size=(60, 5)) * [1, 20, 3, 0.1, 5] + [9, 1, 0, 2, 4]
    scaler = StandardScaler().fit(vectors)
    expected = PCA(3, whiten=True, svd_solver='full').fit(scaler.transform(vectors))
    found = pca.fit(blocks_of(vectors), 60, 3)
    np.testing.assert_allclose(found(vectors), expected.transform(scaler.transform(vectors)),
                               atol=1e-10)


def test_a_saved_pca_is_read_back_without_pickles(tmp_path):
    fitted = pca.fit(blocks_of(np.random.default_rng(0).normal(size=(30, 4))), 30, 2)
    path = str(tmp_path / 'a.npz')
    pca.save(path, [fitted, fitted], {'weights': 'abc'})
    with np.load(path, allow_pickle=False) as file:
        assert file['1/matrix'].shape == (4, 2)
    for found in pca.load(path, {'weights': 'abc'}):
        assert (found.mean == fitted.mean).all() and (found.matrix == fitted.matrix).all()
    with pytest.raises(ValueError, match='a.npz: .* other weights'):
        pca.load(path, {'weights': 'other'})
    Path(path).write_bytes(b'no zip')
    with pytest.raises(ValueError, match='a.npz: has no PCA'):
        pca.load(path, {})
