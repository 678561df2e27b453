"""Vectors scaled and whitened by PCA, in memory or beyond it, and kept without pickles.

    pca = fit(lambda: (block.regions(16) for block in branches.blocks()), count, dim=512)
    white = pca(vectors)    # N x 512
    save('tmp/pca.npz', [pca], {'weights': sha256(weights)})

The PCA is scikit-learn's, behind its StandardScaler; vectors of more than MEMORY bytes go through
IncrementalPCA, block by block.
"""

import json
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.preprocessing import StandardScaler

from deep_retrieval.files import write_aside

MEMORY = 2 << 30        # bytes of float64 vectors; fitting takes about three times as many
LEAST_VARIANCE = 1e-10  # of a direction, where a column has 1; below is rounding
SHARE = 1 / 2           # components a vector with `fewer`; published are 2048 of 5118 images


class Whitening(NamedTuple):
    """A scaler and a PCA: called with N x D vectors it returns N x dim, of variance 1 each."""

    mean: np.ndarray        # D, the scaler's
    scale: np.ndarray       # D
    centre: np.ndarray      # D, the PCA's mean
    components: np.ndarray  # dim x D
    variance: np.ndarray    # dim

    def __call__(self, vectors):
        if vectors.shape[1] != len(self.mean):
            raise ValueError(f'the PCA was fitted to vectors of {len(self.mean)} numbers, and '
                             f'these have {vectors.shape[1]}: it belongs to other maps')
        scaled = (vectors - self.mean) / self.scale - self.centre
        return scaled @ self.components.T / np.sqrt(self.variance)


def fit(blocks, count, dim=None, what='vectors', flag='--dim', incremental=False, fewer=False):
    """A Whitening fitted to the rows of many arrays.

    blocks : function that returns an iterator over the arrays, n x D
    count : their rows in all
    dim : components; by default as many as the vectors have directions
    what, flag : what a row is and how `dim` is given, for messages
    incremental : take the arrays one by one even where they fit in memory
    fewer : instead of an error take fewer components, 1 for 2 vectors and no more than their rank
    Raises ValueError where the vectors do not allow `dim` components.
    """
    width = next(iter(blocks())).shape[1]
    take_rank = fewer or dim is None
    dim = dim or min(width, count - 1)
    if fewer:
        dim = max(1, min(dim, width, int(count * SHARE)))
    if dim > width:
        raise ValueError(f'{flag} {dim}: a PCA of {what} of {width} numbers gives {width} at most')
    if not 1 <= dim < count:
        raise ValueError(f'{dim} components need more than {dim} {what}, but there are only '
                         f'{count}: give {flag} {count - 1} or less, or --fewer')
    if incremental or 8 * count * width > MEMORY:
        scaler, pca = _fit_incremental(blocks, dim)
    else:
        vectors = np.vstack(list(blocks())).astype(np.float64)
        scaler = StandardScaler(copy=False).fit(vectors)
        with np.errstate(invalid='ignore'):     # vectors that are all the same: told below
            pca = PCA(dim, whiten=True, svd_solver='full').fit(scaler.transform(vectors))
    rank = int((pca.explained_variance_ > LEAST_VARIANCE).sum())
    if rank < (1 if take_rank else dim):
        raise ValueError(f'{dim} components are more than the rank of the {count} {what}, {rank}: '
                         f'give {flag} {rank} or less, or --fewer')
    return Whitening(scaler.mean_, scaler.scale_, pca.mean_, pca.components_[:rank],
                     pca.explained_variance_[:rank])


def _fit_incremental(blocks, dim):
    scaler, pca = StandardScaler(), IncrementalPCA(dim, whiten=True)
    for vectors in blocks():
        scaler.partial_fit(vectors.astype(np.float64))
    for vectors in _gathered(blocks(), max(2 * dim, 1024)):
        pca.partial_fit(scaler.transform(vectors))
    return scaler, pca


def _gathered(blocks, least):
    """The arrays joined to such of at least `least` rows, as IncrementalPCA needs them."""
    waiting, count, full = [], 0, None
    for vectors in blocks:
        waiting.append(vectors)
        count += len(vectors)
        if count >= least:
            if full is not None:
                yield full
            full, waiting, count = np.vstack(waiting).astype(np.float64), [], 0
    rest = ([full] if full is not None else []) + waiting
    yield np.vstack(rest).astype(np.float64)    # what is left over is too little for itself


def save(path, pcas, about):
    """Write Whitenings to an .npz, with the dict `about` of what they were made from."""
    arrays = {f'{i}/{name}': array for i, pca in enumerate(pcas)
              for name, array in pca._asdict().items()}
    note = np.array(json.dumps(about, sort_keys=True))
    write_aside(path, lambda file: np.savez(file, about=note, **arrays))


def load(path, about):
    """The Whitenings in an .npz. ValueError where they were made from something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        found = json.loads(str(arrays.pop('about')))
        pcas = [Whitening(*(arrays[f'{i}/{name}'] for name in Whitening._fields))
                for i in range(len(arrays) // len(Whitening._fields))]
    except OSError:
        raise
    except Exception:
        raise ValueError(f'{path}: holds no PCA that a *_retrieval.py saved') from None
    other = sorted(name for name in {*found, *about} if found.get(name) != about.get(name))
    if other:
        raise ValueError(f'{path}: this PCA was made with other {", ".join(other)}')
    return pcas
