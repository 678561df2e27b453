"""Whitenings fitted by PCA to vectors that need not fit into memory.

    pca = fit(lambda: (block.regions(16) for block in branches.blocks()), count, dim=512)
    white = pca(vectors)    # N x 512
    save('tmp/pca.npz', [pca], {'weights': sha256(weights)})

The PCA is scikit-learn's, after its StandardScaler. Vectors of more than MEMORY bytes are fitted
block by block with IncrementalPCA.
"""

import os
from collections.abc import Callable

import numpy as np

from deep_retrieval.whitening import Whitening, load_all, save_all

MEMORY = 2 << 30        # bytes of float64 vectors; fitting takes about three times as much
LEAST_VARIANCE = 1e-10  # of a direction, if columns have variance 1; less is rounding error
SHARE = 1 / 2           # components per vector with `fewer`; the paper has 2048 for 5118 images


def fit(blocks: Callable, count: int, dim: int | None = None, what: str = 'vectors',
        flag: str = '--dim', incremental: bool = False, fewer: bool = False) -> Whitening:
    """Return a Whitening fitted to the rows of many arrays, each column scaled to variance 1 first.

    Parameters
    ----------
    blocks : callable
        Returns an iterator over the arrays, n x D.
    count : int
        Total number of rows.
    dim : int, optional
        Number of components; by default the rank of the vectors.
    what, flag : str
        Names of the rows and of the flag of `dim`, for messages.
    incremental : bool
        Use the arrays one by one even if they fit into memory.
    fewer : bool
        Use fewer components instead of raising an error: one for every two vectors, and at most
        their rank.

    Raises
    ------
    ValueError
        The vectors do not allow `dim` components.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler
    width = next(iter(blocks())).shape[1]
    take_rank = fewer or dim is None
    dim = dim or min(width, count - 1)
    if fewer:
        dim = max(1, min(dim, width, int(count * SHARE)))
    if dim > width:
        raise ValueError(f'{flag} {dim}: a PCA of {what} of {width} dimensions has at most '
                         f'{width} components')
    if not 1 <= dim < count:
        raise ValueError(f'{dim} components need more than {dim} {what}, but there are only '
                         f'{count}: give {flag} {count - 1} or less, or --fewer')
    if incremental or 8 * count * width > MEMORY:
        scaler, pca = _fit_incremental(blocks, dim)
    else:
        vectors = np.vstack(list(blocks())).astype(np.float64)
        scaler = StandardScaler(copy=False).fit(vectors)
        with np.errstate(invalid='ignore'):     # all vectors may be equal, which is refused below
            pca = PCA(dim, whiten=True, svd_solver='full').fit(scaler.transform(vectors))
    rank = int((pca.explained_variance_ > LEAST_VARIANCE).sum())
    if rank < (1 if take_rank else dim):
        raise ValueError(f'{dim} components are more than the rank of the {count} {what}, {rank}: '
                         f'give {flag} {rank} or less, or --fewer')
    # combine the two affine maps
    scale = scaler.scale_[:, None] * np.sqrt(pca.explained_variance_[:rank])
    return Whitening(scaler.mean_ + pca.mean_ * scaler.scale_, pca.components_[:rank].T / scale)


def _fit_incremental(blocks, dim):
    from sklearn.decomposition import IncrementalPCA
    from sklearn.preprocessing import StandardScaler
    scaler, pca = StandardScaler(), IncrementalPCA(dim, whiten=True)
    for vectors in blocks():
        scaler.partial_fit(vectors.astype(np.float64))
    for vectors in _gathered(blocks(), max(2 * dim, 1024)):
        pca.partial_fit(scaler.transform(vectors))
    return scaler, pca


def _gathered(blocks, least):
    """Join the arrays to arrays of at least `least` rows, as IncrementalPCA requires."""
    waiting, count, full = [], 0, None
    for vectors in blocks:
        waiting.append(vectors)
        count += len(vectors)
        if count >= least:
            if full is not None:
                yield full
            full, waiting, count = np.vstack(waiting).astype(np.float64), [], 0
    rest = ([full] if full is not None else []) + waiting
    yield np.vstack(rest).astype(np.float64)    # the last rows are too few alone


def save(path: str | os.PathLike, pcas: list[Whitening], made_from: dict) -> None:
    """Write whitenings to an .npz file, with what they were made from."""
    save_all(path, pcas, made_from)


def load(path: str | os.PathLike, made_from: dict) -> list[Whitening]:
    """Read the whitenings in an .npz file.

    Raises
    ------
    ValueError
        The file is damaged, or the whitenings were made from something else.
    """
    try:
        pcas, found = load_all(path)
    except ValueError:
        raise ValueError(f'{path}: has no PCA saved by a *_retrieval.py') from None
    other = sorted(name for name in {*found, *made_from} if found.get(name) != made_from.get(name))
    if other:
        raise ValueError(f'{path}: this PCA was made with other {", ".join(other)}')
    return pcas
