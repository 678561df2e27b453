"""All pairs of images whose descriptors are similar enough, in memory that is independent of N^2.

    features = open_features('tmp/features')
    summary = write_mapped('mapped.txt', features, Decimal('0.6'))

The similarity is the cosine, x.y / sqrt(x.x y.y), of float32 rows. Products of blocks in float32
find the candidates, with a margin above their greatest rounding error, so that none is missed.
Each one's similarity is then computed in float64 in an order that is fixed: it is the same for
x, y and y, x, in every block, with any number of threads, on the CPU and on a GPU, and 1 for equal
rows. It is rounded down to so many decimals (see mapped_files.py), by which hits are sorted.
"""

import hashlib
import json
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from deep_retrieval.duplicates import mapped_files
from deep_retrieval.duplicates.pair_runs import PairRuns

BLOCK = 2048        # rows; a block of products has 16 MB
PANEL = 4 * BLOCK   # rows that stay while all later ones pass by
GPU_BLOCK = 2 * BLOCK
CHUNK = 1 << 20     # products looked through for hits at once
RECHECKED = 1024    # candidates whose similarity is computed at once
MOST_DECIMALS = 9   # scores are kept as 32-bit integers


class Summary(NamedTuple):
    """What was found: images compared, those with a hit, and pairs (of two images, each once)."""

    images: int
    anchors: int
    pairs: int


def write_mapped(path, features, threshold, decimals=mapped_files.DECIMALS, find=None):
    """Write a mapped file of all pairs at or above a threshold (Decimal); returns a Summary.

    features : `names`, `dim`, len() and rows(start, stop) -> float32, as a FeatureFolder has them
    find : Exact() by default, or approximate_pairs.Approximate()
    An image with a hit is an anchor, by name; its hits go by falling score, then by name. Found
    pairs are kept in the folder `path`.parts, from which an interrupted search goes on. ValueError
    for a row without direction, for names that are not different, and more decimals of the
    threshold than scores have.
    """
    threshold = Decimal(threshold)
    if not 0 <= decimals <= MOST_DECIMALS:
        raise ValueError(f'scores can have 0 to {MOST_DECIMALS} decimals, not {decimals}')
    if threshold != round(threshold, decimals):
        raise ValueError(f'a threshold of {threshold} needs scores of more than {decimals} '
                         'decimals')
    find = find or Exact()
    squares, digest = check(features)
    order = sorted(range(len(features)), key=features.names.__getitem__)
    places = np.empty(len(order), np.uint32)    # of each row, among the names in order
    places[order] = np.arange(len(order))
    key = {'features': digest, 'threshold': str(threshold.normalize()), 'decimals': decimals,
           'find': find.key()}
    runs = PairRuns(f'{path}.parts', key, len(order))
    for part, i, j, values in find(features, squares, float(threshold), runs.done):
        runs.add(part, places[i], places[j], floor(values, decimals))
    names = [features.names[i] for i in order]
    lines = tqdm(_lines(names, runs, decimals), unit='line', delay=2, disable=None, desc='writing')
    anchors = mapped_files.write(path, lines, decimals)
    runs.remove()
    return Summary(len(names), anchors, runs.pairs)


def device_of(gpu):
    """The device of a GPU's number, or the CPU where it is not there."""
    return f'cuda:{gpu}' if 0 <= gpu < torch.cuda.device_count() else 'cpu'


def _lines(names, runs, decimals):
    scale = 10 ** decimals
    for numbers, starts, others, scores in runs.grouped():
        pairs = list(zip([names[k] for k in others.tolist()], (scores / scale).tolist()))
        for number, start, end in zip(numbers.tolist(), starts.tolist(), starts[1:].tolist()):
            yield names[number], pairs[start:end]


def check(features):
    """Squared norms of all rows, N float64, and a hash of rows and names.

    ValueError, naming the row, where one is zero or has a number that is not finite, and where two
    have one name.
    """
    squares, digest = np.empty(len(features)), hashlib.sha256()
    for start in tqdm(range(0, len(features), BLOCK), unit='block', delay=2, disable=None,
                      desc='rows'):
        rows = features.rows(start, start + BLOCK)
        digest.update(np.ascontiguousarray(rows))
        found = squares[start:start + len(rows)] = _squares(rows)
        for k in np.flatnonzero(~(np.isfinite(found) & (found > 0)))[:1]:
            what = 'is zero' if found[k] == 0 else 'has a number that is not finite'
            row = getattr(features, 'numbers', range(len(features)))[start + k]
            raise ValueError(f'{features.path}: row {row} ({features.names[start + k]}) {what}: it '
                             'has no direction')
    if len(set(features.names)) < len(features.names):
        raise ValueError(f'{features.path}: two rows have one name')
    digest.update(json.dumps(features.names).encode())
    return squares, digest.hexdigest()


def _squares(rows):
    rows = torch.from_numpy(rows).double()
    return torch.cat([tree_sum(part * part) for part in rows.split(RECHECKED)]).numpy()


def tree_sum(values):
    """Sums of the rows of a tensor, M x D, halves added to halves: an order that D alone fixes.

    A library's sum or product is free in its order, which may hang on the number of rows.
    """
    while values.shape[1] > 1:
        half = values.shape[1] // 2
        rest = values[:, 2 * half:]
        values = values[:, :half] + values[:, half:2 * half]
        if rest.shape[1]:
            values[:, :1] += rest
    return values[:, 0]


def cosines(x, y, x_squares, y_squares):
    """Cosines of the rows of x with those of y (M x D tensors, float32), and 1 at most: float64.

    x_squares, y_squares : the rows' squared norms, M float64
    """
    products = tree_sum(x.double() * y.double())
    # a square root of a square is exact: so equal rows have 1
    return (products / (x_squares * y_squares).sqrt()).clamp(max=1)


def floor(scores, decimals):
    """The greatest integers k for which k / 10^decimals, as float64, is not above the scores."""
    scale = 10 ** decimals
    units = np.floor(scores * scale).astype(np.int64)
    units += (units + 1) / scale <= scores
    units -= units / scale > scores
    return units.astype(np.int32)


def margin(dim):
    """How far a float32 product of unit rows can lie from their cosine.

    That is dim unit roundoffs for a sum in any order (Higham, Accuracy and Stability of Numerical
    Algorithms, 3.1), and some for rows that are unit but for rounding.
    """
    return (dim + 16) * 2.0 ** -24


class Exact:
    """Search by multiplying all rows with all: yields (part, i, j, cosines) with i < j.

    A part is a product of two blocks: those of the upper triangle, by panels of rows.
    """

    def __init__(self, device='cpu'):
        self.device = torch.device(device)
        self.block = BLOCK if self.device.type == 'cpu' else GPU_BLOCK

    def key(self):
        return {'exact': self.block}

    def parts(self, count):
        """(first row, first column) of each product; all of a column's in a panel in a run."""
        panel = self.block * (PANEL // BLOCK)
        return [(row, column) for first in range(0, count, panel)
                for column in range(first, count, self.block)
                for row in range(first, min(first + panel, column + 1), self.block)]

    def __call__(self, features, squares, threshold, done=0):
        squares = torch.from_numpy(squares).to(self.device)
        low = threshold - margin(features.dim)
        parts, rows, column = self.parts(len(features)), {}, None
        panel = self.block * (PANEL // BLOCK)
        for part, (r, c) in enumerate(tqdm(parts, unit='block', delay=2, disable=None,
                                           desc='pairs')):
            if part < done:
                continue
            if column is None or column.start != c:
                column = Rows(features, squares, c, self.block)
            if r not in rows:
                # only the panel's own stay
                rows = {k: v for k, v in rows.items() if k // panel == r // panel}
                rows[r] = column if r == c else Rows(features, squares, r, self.block)
            yield part, *self._hits(rows[r], column, low, threshold)

    def _hits(self, rows, columns, low, threshold):
        found = [], [], []
        for i, j in _above(rows.unit @ columns.unit.T, low):
            if rows.start == columns.start:
                upper = i < j
                i, j = i[upper], j[upper]
            for i, j in zip(i.split(RECHECKED), j.split(RECHECKED)):
                values = cosines(rows.raw[i], columns.raw[j], rows.squares[i], columns.squares[j])
                hit = values >= threshold
                for kept, value in zip(found, (i[hit] + rows.start, j[hit] + columns.start,
                                               values[hit])):
                    kept.append(value.cpu().numpy())
        return [np.concatenate(parts) if parts else np.empty(0, kind)
                for parts, kind in zip(found, (np.int64, np.int64, np.float64))]


class Rows:
    """Some rows on the device: as they are, of unit length, and their squared norms."""

    def __init__(self, features, squares, start, count):
        self.start = start
        self.raw = torch.from_numpy(features.rows(start, start + count)).to(squares.device)
        self.squares = squares[start:start + len(self.raw)]
        self.unit = (self.raw.double() * self.squares.rsqrt()[:, None]).float()


def _above(products, low):
    """Yield the places (i, j) of the products that are `low` at least, CHUNK of these at once."""
    rows = (products.amax(1) >= low).nonzero()[:, 0]
    for some in rows.split(max(1, CHUNK // products.shape[1])):
        i, j = (products[some] >= low).nonzero(as_tuple=True)
        yield some[i], j
