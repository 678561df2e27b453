"""Whitening of descriptors, by PCA or learned from pairs of images.

    whitening = Whitening.fit_pca(rows, dims=512)
    whitening = Whitening.fit_pairs(rows, pairs, dims=512)      # pairs: P x 2 indices of rows
    whitening.save('whitening.npz')
    rows = Whitening.load('whitening.npz').apply(rows)

For vectors that do not fit into memory, see `studies.pca.fit`.
"""

import dataclasses
import io
import json
import os
from collections.abc import Iterable, Sequence

import numpy as np

from deep_retrieval import store
from deep_retrieval.vectors import normalize

ARRAYS = ('mean', 'matrix')
RANK = 1e-6     # relative to the largest singular value; smaller ones are float32 rounding errors


@dataclasses.dataclass(frozen=True)
class Whitening:
    """An affine map of descriptors, `(row - mean) @ matrix`.

    Attributes
    ----------
    mean : D
    matrix : D x dims
    kind : str
        'pca' or 'pairs'.
    made_from : dict
        What the descriptors were made from.
    """

    mean: np.ndarray
    matrix: np.ndarray
    kind: str = 'pca'
    made_from: dict = dataclasses.field(default_factory=dict)

    @classmethod
    def fit_pca(cls, rows: np.ndarray, dims: int | None = None,
                made_from: dict | None = None, power: float = 1) -> 'Whitening':
        """Fit by PCA: the principal directions, each divided by a power of its standard deviation.

        Parameters
        ----------
        rows : N x D
        dims : int, optional
            Directions to keep, the strongest first; by default as many as the rank.
        made_from : dict, optional
        power : float
            1 makes all directions equally strong, 0 leaves them as they are.

        Raises
        ------
        ValueError
            The rank of the rows, at most N - 1, is less than `dims`.
        """
        rows = _rows(rows)
        mean = rows.mean(axis=0)
        values, directions = _spectrum(rows - mean)
        dims = _check_dims(dims, len(values), len(rows), rows.shape[1])
        matrix = directions[:, :dims] * (np.sqrt(len(rows) - 1) / values[:dims]) ** power
        return cls(mean, matrix, 'pca', made_from or {})

    @classmethod
    def fit_pairs(cls, rows: np.ndarray, pairs: np.ndarray, dims: int | None = None,
                  shrinkage: float = 0, made_from: dict | None = None) -> 'Whitening':
        """Learn from pairs of rows that show the same object.

        The differences of pairs are whitened: with C the mean of (a - b)(a - b)^T over the pairs
        (a, b), and L its Cholesky factor, C = L L^T, rows become L^-1 (row - mean), where the mean
        is that of the first rows of the pairs. A PCA of these, without whitening, then orders the
        directions (Mikolajczyk and Matas, ICCV 2007; Radenovic et al., ECCV 2016).

        Parameters
        ----------
        rows : N x D
        pairs : P x 2 indices of rows
        dims : int, optional
            Directions to keep; by default as many as the rank.
        shrinkage : float
            Share of C, 0 to 1, that is replaced by the identity times the mean variance. With a
            value above 0, fewer than D pairs are enough.
        made_from : dict, optional

        Raises
        ------
        ValueError
            The rank of the differences is less than D without shrinkage, the rank of the rows is
            less than `dims`, or a parameter is out of range.
        """
        import scipy.linalg
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
            raise ValueError(f'the differences of {len(pairs)} pairs span {rank} of {dim} '
                             'dimensions: take more pairs, or a shrinkage above 0')
        covariance = differences.T @ differences / len(pairs)
        identity = np.trace(covariance) / dim * np.eye(dim)
        factor = scipy.linalg.cholesky((1 - shrinkage) * covariance + shrinkage * identity,
                                       lower=True)
        inverse = scipy.linalg.solve_triangular(factor, np.eye(dim), lower=True)
        values, directions = _spectrum((rows - mean) @ inverse.T)
        dims = _check_dims(dims, len(values), len(rows), dim)
        return cls(mean, inverse.T @ directions[:, :dims], 'pairs', made_from or {})

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return `(rows - mean) @ matrix`, N x dims; ValueError for rows of another D."""
        if np.shape(rows)[1] != len(self.mean):
            raise ValueError(f'the whitening takes {len(self.mean)} dimensions, and the '
                             f'descriptors have {np.shape(rows)[1]}')
        return (rows - self.mean) @ self.matrix

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Return whitened descriptors of unit length, N x dims float32."""
        return normalize(self(rows)).astype(np.float32)

    def save(self, path: str | os.PathLike) -> None:
        """Write an .npz file, without pickles."""
        save_all(path, [self], self.made_from)

    @classmethod
    def load(cls, path: str | os.PathLike) -> 'Whitening':
        """Read a file written by `save`; ValueError for another file."""
        found, _ = load_all(path)
        if len(found) != 1:
            raise ValueError(f'{path}: is not a whitening, but {len(found)}')
        return found[0]


def save_all(path: str | os.PathLike, whitenings: list[Whitening], made_from: dict) -> None:
    """Write several whitenings to one .npz file, with what they were made from."""
    arrays = {f'{i}/{name}': getattr(whitening, name) for i, whitening in enumerate(whitenings)
              for name in ARRAYS}
    about = {'kind': [whitening.kind for whitening in whitenings], 'made_from': made_from}
    data = io.BytesIO()
    np.savez(data, **arrays, about=np.array(json.dumps(about, sort_keys=True)))
    store.write(path, data.getvalue())


def load_all(path: str | os.PathLike) -> tuple[list[Whitening], dict]:
    """Read a file written by `save_all`: the whitenings, and what they were made from.

    Raises
    ------
    ValueError
        The file is damaged or of another kind.
    """
    with store.reading(path, 'a whitening'), np.load(path, allow_pickle=False) as stored:
        about = json.loads(str(stored['about']))
        made_from = about['made_from']
        found = [Whitening(*(stored[f'{i}/{name}'] for name in ARRAYS), kind, made_from)
                 for i, kind in enumerate(about['kind'])]
    for mean, matrix in ((some.mean, some.matrix) for some in found):
        if mean.ndim != 1 or matrix.ndim != 2 or len(matrix) != len(mean) or not (
                np.isfinite(mean).all() and np.isfinite(matrix).all()):
            raise ValueError(f'{path}: is not a whitening: mean {mean.shape}, matrix '
                             f'{matrix.shape}')
    return found, made_from


def pairs_of(groups: Iterable[Sequence[int]]) -> np.ndarray:
    """Return P x 2: all pairs (a, b), a before b, inside each group of row indices."""
    pairs = [(a, b) for group in groups for i, a in enumerate(group) for b in group[i + 1:]]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _rows(rows):
    # in float64, since small directions are divided by their size
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f'descriptors are the rows of a matrix, not of shape {rows.shape}')
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise ValueError(f'row {broken[0]} holds a value that is not finite')
    return rows


def _spectrum(rows):
    """Return the singular values above rounding, descending, and their directions (D x rank).

    The sign of each direction is chosen so that its largest entry is positive.
    """
    if len(rows) > rows.shape[1]:       # a D x D matrix has the same values and directions
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
