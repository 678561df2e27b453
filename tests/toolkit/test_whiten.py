"""whiten: against what whitening means, worked out with plain covariances."""

import numpy as np
import pytest
from deep_retrieval.whitening import Whitening, pairs_of


def rows_of(count, dim, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, dim)) @ rng.standard_normal((dim, dim))
            + rng.standard_normal(dim)).astype(np.float32)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def project(whitening, rows):
    return (rows.astype(float) - whitening.mean) @ whitening.matrix


@pytest.mark.parametrize('dims', [1, 3, 8, None])
def test_pca_is_centred_and_white(dims):
    rows = rows_of(50, 8)
    whitening = Whitening.fit_pca(rows, dims)
    projected = project(whitening, rows)
    dims = dims or 8
    np.testing.assert_allclose(projected.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(projected.T).reshape(dims, dims), np.eye(dims), atol=1e-6)
    # the strongest directions: eigenvectors of the covariance, by falling eigenvalue
    values, vectors = np.linalg.eigh(np.cov(rows.astype(float).T))
    for i in range(dims):
        expected = vectors[:, -1 - i] / np.sqrt(values[-1 - i])
        column = whitening.matrix[:, i]
        np.testing.assert_allclose(column * np.sign(column @ expected), expected, rtol=1e-5,
                                   atol=1e-7)
    np.testing.assert_allclose(whitening.apply(rows), unit(projected), atol=1e-5)


@pytest.mark.parametrize('power', [0, 0.5, 1])
def test_the_power_of_the_deviations(power):
    rows = rows_of(50, 8)
    projected = project(Whitening.fit_pca(rows, 4, power=power), rows)
    variances = np.linalg.eigvalsh(np.cov(rows.astype(float).T))[::-1][:4]
    np.testing.assert_allclose(np.cov(projected.T), np.diag(variances ** (1 - power)), rtol=1e-5,
                               atol=1e-6 * variances[0])


def naive_pairs_whitening(rows, pairs):
    """The matrix by the definition: inverse of Cholesky's factor, then PCA of what it gives."""
    rows = rows.astype(float)
    mean = np.mean([rows[a] for a, _ in pairs], axis=0)
    C = sum(np.outer(rows[a] - rows[b], rows[a] - rows[b]) for a, b in pairs) / len(pairs)
    P = np.linalg.inv(np.linalg.cholesky(C))
    projected = P @ (rows - mean).T
    values, vectors = np.linalg.eigh(projected @ projected.T)
    return mean, (vectors[:, ::-1].T @ P).T


def test_pairs():
    rows = rows_of(60, 5)
    pairs = [(i, (7 * i + 1) % 60) for i in range(60)]
    whitening = Whitening.fit_pairs(rows, pairs)
    mean, matrix = naive_pairs_whitening(rows, pairs)
    np.testing.assert_allclose(whitening.mean, mean, atol=1e-6)
    signs = np.sign((whitening.matrix * matrix).sum(axis=0))
    np.testing.assert_allclose(whitening.matrix * signs, matrix, rtol=1e-4, atol=1e-6)
    # what differs inside pairs is white
    projected = project(whitening, rows)
    differences = np.array([projected[a] - projected[b] for a, b in pairs])
    np.testing.assert_allclose(differences.T @ differences / 60, np.eye(5), atol=1e-6)
    fewer = Whitening.fit_pairs(rows, pairs, dims=2)
    np.testing.assert_allclose(fewer.matrix, whitening.matrix[:, :2])


def test_learning_from_pairs_undoes_what_they_differ_by():
    rng = np.random.default_rng(1)
    things = np.repeat(rng.standard_normal((40, 6)), 4, axis=0)
    noise = rng.standard_normal((160, 6)) * [20, 1, 0.1, 0.1, 0.1, 0.1]    # the same for all
    rows = things + noise

    def right(rows):    # nearest other row shows the same thing
        similar = unit(rows) @ unit(rows).T - 2 * np.eye(160)
        return np.mean(similar.argmax(axis=1) // 4 == np.arange(160) // 4)
    groups = [range(4 * i, 4 * i + 4) for i in range(20)]
    whitening = Whitening.fit_pairs(rows, pairs_of(groups))
    assert right(rows) < 0.5 and right(whitening.apply(rows)) > 0.9


def test_pairs_of_groups():
    assert pairs_of([[3, 1, 2], [5], [], [7, 8]]).tolist() == [
        [3, 1], [3, 2], [1, 2], [7, 8]]
    assert pairs_of([]).shape == (0, 2)


def test_dimensions_above_the_rank():
    rows = rows_of(10, 30)
    with pytest.raises(ValueError, match='10 dimensions .* 10 rows of 30 have rank 9'):
        Whitening.fit_pca(rows, 10)
    assert Whitening.fit_pca(rows).matrix.shape == (30, 9)
    flat = rows_of(50, 8)
    flat[:, 3] = flat[:, 5]     # a dimension that says nothing new
    with pytest.raises(ValueError, match='have rank 7'):
        Whitening.fit_pca(flat, 8)
    with pytest.raises(ValueError, match='49 pairs span 7 of 8 .*shrinkage'):
        Whitening.fit_pairs(flat, [(i, i + 1) for i in range(49)])
    shrunk = Whitening.fit_pairs(flat, [(0, 1), (2, 3)], shrinkage=0.5)
    assert np.isfinite(shrunk.matrix).all()


@pytest.mark.parametrize('call, words', [
    (lambda rows: Whitening.fit_pairs(rows, []), 'pairs are needed'),
    (lambda rows: Whitening.fit_pairs(rows, [(0, 10)]), 'row 10 of 10'),
    (lambda rows: Whitening.fit_pairs(rows, [(0, 0)]), 'span 0 of 4'),
    (lambda rows: Whitening.fit_pairs(rows, [(0, 1)], shrinkage=2), 'shrinkage is 2'),
    (lambda rows: Whitening.fit_pca(rows[0]), r'shape \(4,\)'),
    (lambda rows: Whitening.fit_pca(np.where(rows == rows[3, 2], np.nan, rows)), 'row 3 '),
    (lambda rows: Whitening.fit_pca(rows).apply(rows[:, :3]), 'takes 4 .* have 3')])
def test_mistakes(call, words):
    with pytest.raises(ValueError, match=words):
        call(rows_of(10, 4))


def test_saving(tmp_path):
    path = tmp_path / 'w.npz'
    whitening = Whitening.fit_pca(rows_of(20, 4), 3, {'weights': 'abc'})
    whitening.save(path)
    first = path.read_bytes()
    loaded = Whitening.load(path)
    assert (loaded.matrix == whitening.matrix).all() and (loaded.mean == whitening.mean).all()
    assert loaded.kind == 'pca' and loaded.made_from == {'weights': 'abc'}
    whitening.save(path)
    assert path.read_bytes() == first
    for bad in (b'', b'hello', first[:-40]):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match='w.npz: is damaged or is not a whitening'):
            Whitening.load(path)
    about = '{"kind": ["pca"], "made_from": {}}'
    np.savez(path, **{'0/mean': np.zeros(3), '0/matrix': np.zeros((4, 2))}, about=about)
    with pytest.raises(ValueError, match='is not a whitening: mean'):
        Whitening.load(path)
    np.savez(path, **{'0/mean': np.array([{}], object), '0/matrix': np.zeros((1, 2))}, about=about)
    with pytest.raises(ValueError, match='is not a whitening'):    # needs a pickle
        Whitening.load(path)
