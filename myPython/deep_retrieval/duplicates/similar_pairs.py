"""Find all pairs of images with similar descriptors, in memory that does not grow with N^2.

    features = open_features('tmp/features')
    summary = write_mapped('mapped.txt', features, Decimal('0.6'))

The similarity is the cosine, x.y / sqrt(x.x y.y), of float32 rows. Candidates are found by float32
products of blocks, with a margin larger than the rounding errors, so that no pair is missed. The
similarity of each candidate is then computed in float64 in a fixed order of additions. Hence it is
the same for (x, y) and (y, x), in every block, with any number of threads, on the CPU and on a GPU,
and exactly 1 for equal rows. It is rounded down to the decimals of the file (see mapped_files.py);
hits are sorted by this score.
"""

import hashlib
import json
import os
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import torch

from deep_retrieval import progress
from deep_retrieval.duplicates import DECIMALS, mapped_files
from deep_retrieval.duplicates.pair_runs import PairRuns
from deep_retrieval.feature_shards import FeatureFolder
from deep_retrieval.features import Features, NamedRows

BLOCK = 2048        # rows; a block of products has 16 MB
PANEL = 4 * BLOCK   # rows that stay in memory while they are compared with all later ones
GPU_BLOCK = 2 * BLOCK
CHUNK = 1 << 20     # products searched for candidates at once
RECHECKED = 1024    # candidates whose similarities are computed at once
MOST_DECIMALS = 9   # scores are kept as 32-bit integers


class Summary(NamedTuple):
    """Numbers of images compared, of images with a hit, and of pairs."""

    images: int
    anchors: int
    pairs: int


def write_mapped(path: str | os.PathLike, features: Features | FeatureFolder | NamedRows,
                 threshold: Decimal | str, decimals: int = DECIMALS,
                 find: Callable | None = None) -> Summary:
    """Write a mapped file with all pairs whose similarity is >= threshold.

    Every image with a hit is an anchor, sorted by name; its hits are sorted by decreasing score,
    then by name. The pairs found so far are kept in the folder `path`.parts, from which an
    interrupted search resumes.

    Parameters
    ----------
    path : str or PathLike
    features : Features, FeatureFolder or NamedRows
    threshold : Decimal
        Minimum similarity (cosine).
    decimals : int
        Decimals of the scores, which are rounded down.
    find : Exact or Approximate
        The search method; by default `Exact()`.

    Raises
    ------
    ValueError
        A row has no direction, two rows have the same name, or the threshold has more decimals
        than the scores.
    """
    threshold = Decimal(threshold)
    if not 0 <= decimals <= MOST_DECIMALS:
        raise ValueError(f'scores can have 0 to {MOST_DECIMALS} decimals, not {decimals}')
    if threshold != round(threshold, decimals):
        raise ValueError(f'a threshold of {threshold} needs scores with more than {decimals} '
                         'decimals')
    find = find or Exact()
    squares, digest = check(features)
    order = sorted(range(len(features)), key=features.names.__getitem__)
    places = np.empty(len(order), np.uint32)    # rank of each row in the order of names
    places[order] = np.arange(len(order))
    key = {'features': digest, 'threshold': str(threshold.normalize()), 'decimals': decimals,
           'find': find.key()}
    with PairRuns(f'{os.fspath(path)}.parts', key, len(order)) as runs:
        for part, i, j, values in find(features, squares, float(threshold), runs.done):
            runs.add(part, places[i], places[j], floor(values, decimals))
        names = [features.names[i] for i in order]
        lines = progress.bar(_lines(names, runs, decimals), unit='line', desc='writing')
        anchors = mapped_files.write(path, lines, decimals)
        runs.remove()
    return Summary(len(names), anchors, runs.pairs)


def device_of(gpu: int) -> str:
    """Return PyTorch's name of a GPU, or 'cpu' if that GPU does not exist."""
    return f'cuda:{gpu}' if 0 <= gpu < torch.cuda.device_count() else 'cpu'


def check(features: Features | FeatureFolder | NamedRows) -> tuple[np.ndarray, str]:
    """Check that rows can be compared.

    Returns
    -------
    squares : N float64
        Squared norms of the rows.
    digest : str
        Hash of rows and names.

    Raises
    ------
    ValueError
        A row is zero or has a value that is not finite, or two rows have the same name.
    """
    squares, digest = np.empty(len(features)), hashlib.sha256()
    for start in progress.bar(range(0, len(features), BLOCK), unit='block', desc='rows'):
        rows = features.rows(start, start + BLOCK)
        digest.update(np.ascontiguousarray(rows))
        found = squares[start:start + len(rows)] = _squares(rows)
        for k in np.flatnonzero(~(np.isfinite(found) & (found > 0)))[:1]:
            what = 'is zero' if found[k] == 0 else 'has a value that is not finite'
            row = getattr(features, 'numbers', range(len(features)))[start + k]
            raise ValueError(f'{features.path}: row {row} ({features.names[start + k]}) {what}, so '
                             'that it has no direction')
    if len(set(features.names)) < len(features.names):
        raise ValueError(f'{features.path}: two rows have the same name')
    digest.update(json.dumps(features.names).encode())
    return squares, digest.hexdigest()


def tree_sum(values: torch.Tensor) -> torch.Tensor:
    """Sum each row of an M x D tensor by repeatedly adding one half to the other.

    The order of additions depends only on D. A library's sum or product may add in any order,
    which can depend on the number of rows.
    """
    while values.shape[1] > 1:
        half = values.shape[1] // 2
        rest = values[:, 2 * half:]
        values = values[:, :half] + values[:, half:2 * half]
        if rest.shape[1]:
            values[:, :1] += rest
    return values[:, 0]


def cosines(x: torch.Tensor, y: torch.Tensor, x_squares: torch.Tensor,
            y_squares: torch.Tensor) -> torch.Tensor:
    """Compute the cosine of each row of x with the same row of y, clipped to at most 1.

    Parameters
    ----------
    x, y : M x D float32 tensors
    x_squares, y_squares : M float64 tensors
        The squared norms of the rows.

    Returns
    -------
    M float64 tensor
    """
    products = tree_sum(x.double() * y.double())
    # the square root of a square is exact: equal rows give 1
    return (products / (x_squares * y_squares).sqrt()).clamp(max=1)


def floor(scores: np.ndarray, decimals: int) -> np.ndarray:
    """Return, for each score, the largest int32 k with k / 10^decimals <= score (in float64)."""
    scale = 10 ** decimals
    units = np.floor(scores * scale).astype(np.int64)
    units += (units + 1) / scale <= scores
    units -= units / scale > scores
    return units.astype(np.int32)


def margin(dim: int) -> float:
    """Bound the difference between the float32 product of two unit rows and their cosine.

    It is `dim` unit roundoffs for a sum in any order (Higham, Accuracy and Stability of Numerical
    Algorithms, 3.1), plus a few because the rows themselves are rounded.
    """
    return (dim + 16) * 2.0 ** -24


class Exact:
    """Find all pairs by multiplying all rows with all rows.

    A part of the work is the product of two blocks; only the upper triangle is computed, in panels
    of rows. Calling it yields (part, i, j, cosines), with arrays i < j.

    Parameters
    ----------
    device : str
        A device of PyTorch.
    """

    def __init__(self, device: str = 'cpu'):
        self.device = torch.device(device)
        self.block = BLOCK if self.device.type == 'cpu' else GPU_BLOCK

    def key(self) -> dict:
        """Return the settings that the numbering of the parts depends on."""
        return {'exact': self.block}

    def parts(self, count: int) -> list[tuple[int, int]]:
        """List (first row, first column) of each product: by panel, then by column, then by row."""
        panel = self.block * (PANEL // BLOCK)
        return [(row, column) for first in range(0, count, panel)
                for column in range(first, count, self.block)
                for row in range(first, min(first + panel, column + 1), self.block)]

    def __call__(self, features, squares, threshold, done=0):
        squares = torch.from_numpy(squares).to(self.device)
        low = threshold - margin(features.dim)
        parts, rows, column = self.parts(len(features)), {}, None
        panel = self.block * (PANEL // BLOCK)
        for part, (r, c) in enumerate(progress.bar(parts, unit='block', desc='pairs')):
            if part < done:
                continue
            if column is None or column.start != c:
                column = _Rows(features, squares, c, self.block)
            if r not in rows:
                # keep only the rows of this panel
                rows = {k: v for k, v in rows.items() if k // panel == r // panel}
                rows[r] = column if r == c else _Rows(features, squares, r, self.block)
            yield part, *self._hits(rows[r], column, low, threshold)

    def _hits(self, rows, columns, low, threshold):
        found = [], [], []
        for i, j in _above(rows.unit @ columns.unit.T, low):
            if rows.start == columns.start:
                upper = i < j
                i, j = i[upper], j[upper]
            for a, b in zip(i.split(RECHECKED), j.split(RECHECKED), strict=True):
                values = cosines(rows.raw[a], columns.raw[b], rows.squares[a], columns.squares[b])
                hit = values >= threshold
                for kept, value in zip(found, (a[hit] + rows.start, b[hit] + columns.start,
                                               values[hit]), strict=True):
                    kept.append(value.cpu().numpy())
        return [np.concatenate(parts) if parts else np.empty(0, kind)
                for parts, kind in zip(found, (np.int64, np.int64, np.float64), strict=True)]


class _Rows:
    """Some rows on the device: unchanged, at unit length, and their squared norms."""

    def __init__(self, features, squares, start, count):
        self.start = start
        self.raw = torch.from_numpy(features.rows(start, start + count)).to(squares.device)
        self.squares = squares[start:start + len(self.raw)]
        self.unit = (self.raw.double() * self.squares.rsqrt()[:, None]).float()


def _above(products, low):
    """Yield the indices (i, j) of products >= low, from CHUNK products at a time."""
    rows = (products.amax(1) >= low).nonzero()[:, 0]
    for some in rows.split(max(1, CHUNK // products.shape[1])):
        i, j = (products[some] >= low).nonzero(as_tuple=True)
        yield some[i], j


def _squares(rows):
    rows = torch.from_numpy(rows).double()
    return torch.cat([tree_sum(part * part) for part in rows.split(RECHECKED)]).numpy()


def _lines(names, runs, decimals):
    scale = 10 ** decimals
    for numbers, starts, others, scores in runs.grouped():
        pairs = list(zip([names[k] for k in others.tolist()], (scores / scale).tolist(),
                         strict=True))
        ends = starts.tolist()
        for number, start, end in zip(numbers.tolist(), ends[:-1], ends[1:], strict=True):
            yield names[number], pairs[start:end]
