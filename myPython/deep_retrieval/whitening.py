"""Whitening of descriptors: by PCA, or learned from pairs of images that show the same.

    whitening = whiten.learn_pca(rows, dims=512)
    whitening = whiten.learn_pairs(rows, pairs, dims=512)       # pairs: P x 2 indices of rows
    rows = whiten.apply(whitening, rows)
    whiten.save('whitening.npz', whitening)

A whitened descriptor is `(row - mean) @ matrix`, scaled to unit length.
"""

import json
from typing import NamedTuple

import numpy as np
import scipy.linalg

from deep_retrieval.files import write_aside
from deep_retrieval.vectors import normalize

ARRAYS = ('mean', 'matrix')
RANK = 1e-6     # of the largest singular value: below it lies what rounding to float32 leaves


class Whitening(NamedTuple):
    """mean: D. matrix: D x dims. kind: pca or pairs. made_from: dict of what the rows came from."""

    mean: np.ndarray
    matrix: np.ndarray
    kind: str
    made_from: dict


def learn_pca(rows, dims=None, made_from=None):
    """PCA whitening: the principal directions, each divided by its standard deviation.

    rows: N x D. dims: directions kept, the strongest first; None for as many as the rank. Returns a
    Whitening. ValueError where the rows' rank, N - 1 at most, is less than `dims`.
    """
    rows = _rows(rows)
    mean = rows.mean(axis=0)
    values, directions = _spectrum(rows - mean)
    dims = _check_dims(dims, len(values), len(rows), rows.shape[1])
    matrix = directions[:, :dims] * np.sqrt(len(rows) - 1) / values[:dims]
    return Whitening(mean, matrix, 'pca', made_from or {})


def learn_pairs(rows, pairs, dims=None, shrinkage=0, made_from=None):
    """Learned whitening (Mikolajczyk and Matas, ICCV 2007; Radenovic et al., ECCV 2016).

    What differs inside a pair is whitened: with C the mean of (a - b)(a - b)^T over the pairs
    (a, b) and L its Cholesky factor, C = L L^T, rows become L^-1 (row - mean), the mean being that
    of the pairs' first rows. PCA of these, not whitened, then orders the directions.

    rows: N x D. pairs: P x 2 indices of rows. dims: directions kept; None for as many as the rank.
    shrinkage: share of C, 0 to 1, that gives way to the identity of its mean variance: with it
    fewer pairs than D will do. ValueError where the differences' rank is below D without it, and
    where the rows' rank is less than `dims`.
    """
    rows, pairs = _rows(rows), np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise ValueError('pairs are needed, P x 2 indices of rows')
    if pairs.min() < 0 or pairs.max() >= len(rows):
        raise ValueError(f'the pairs name row {pairs.max()} of {len(rows)}')
    if not 0 <= shrinkage <= 1:
        raise ValueError(f'shrinkage is {shrinkage}, but must be 0 to 1')
    first, second = rows[pairs[:, 0]], rows[pairs[:, 1]]
    mean, differences = first.mean(axis=0), first - second
    dim = rows.shape[1]
    rank = len(_spectrum(differences)[0])
    if rank == 0 or rank < dim and not shrinkage:
        raise ValueError(f'the differences of {len(pairs)} pairs span {rank} of {dim} dimensions: '
                         'take more pairs, or a shrinkage above 0')
    covariance = differences.T @ differences / len(pairs)
    covariance = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / dim * np.eye(dim)
    factor = scipy.linalg.cholesky(covariance, lower=True)
    inverse = scipy.linalg.solve_triangular(factor, np.eye(dim), lower=True)
    values, directions = _spectrum((rows - mean) @ inverse.T)
    dims = _check_dims(dims, len(values), len(rows), dim)
    return Whitening(mean, inverse.T @ directions[:, :dims], 'pairs', made_from or {})


def apply(whitening, rows):
    """Whitened descriptors of unit length, N x dims float32. ValueError for another D."""
    if np.shape(rows)[1] != len(whitening.mean):
        raise ValueError(f'the whitening takes {len(whitening.mean)} dimensions, and the '
                         f'descriptors have {np.shape(rows)[1]}')
    return normalize((rows - whitening.mean) @ whitening.matrix).astype(np.float32)


def pairs_of(groups):
    """P x 2: all pairs (a, b), a before b, inside each group of row indices."""
    pairs = [(a, b) for group in groups for i, a in enumerate(group) for b in group[i + 1:]]
    return np.array(pairs, np.int64).reshape(-1, 2)


def save(path, whitening):
    """Write a Whitening as .npz, without pickles."""
    arrays = {name: getattr(whitening, name) for name in ARRAYS}
    about = json.dumps({'kind': whitening.kind, 'made_from': whitening.made_from})
    write_aside(path, lambda file: np.savez(file, **arrays, about=np.array(about)))


def load(path):
    """The Whitening in a file. ValueError, in one line, for another file."""
    try:
        with np.load(path) as stored:
            mean, matrix = (stored[name] for name in ARRAYS)
            about = json.loads(str(stored['about']))
        whitening = Whitening(mean, matrix, about['kind'], about['made_from'])
    except OSError:
        raise
    except Exception as error:      # a damaged archive can fail in any way
        raise ValueError(f'{path}: is no whitening: {error}') from None
    if mean.ndim != 1 or matrix.ndim != 2 or len(matrix) != len(mean) or not (
            np.isfinite(mean).all() and np.isfinite(matrix).all()):
        raise ValueError(f'{path}: is no whitening: mean {mean.shape}, matrix {matrix.shape}')
    return whitening


def _rows(rows):
    # float64: small directions are divided by their size
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f'descriptors are the rows of a matrix, not of shape {rows.shape}')
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise ValueError(f'row {broken[0]} holds a value that is not finite')
    return rows


def _spectrum(rows):
    """Singular values above rounding, falling, and their directions as columns (D x rank).

    Of a direction and its opposite the one is taken whose largest entry is positive.
    """
    if len(rows) > rows.shape[1]:       # the same values and directions, from D x D
        rows = np.linalg.qr(rows, mode='r')
    _, values, directions = np.linalg.svd(rows, full_matrices=False)
    rank = int((values > RANK * values[0]).sum())
    directions = directions[:rank].T
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0)
    return values[:rank], directions * np.sign(largest)


def _check_dims(dims, rank, count, dim):
    if dims is None:
        dims = rank
    if not 1 <= dims <= rank:
        raise ValueError(f'{dims} dimensions were asked for, but {count} rows of {dim} have rank '
                         f'{rank}')
    return dims
