"""Find most pairs of similar images with a faiss index: some are missed, but scores are exact.

    write_mapped('mapped.txt', features, Decimal('0.6'), find=Approximate(probes=16))

K-means assigns rows to cells, and each row is compared with those in its `probes` nearest cells (an
inverted file of faiss, IVF flat). All rows are held in memory twice.
"""

import numpy as np
import torch

from deep_retrieval import optional, progress
from deep_retrieval.duplicates.similar_pairs import BLOCK, RECHECKED, cosines, margin

TRAINED = 64    # rows per cell to train k-means on
SEED = 0


class Approximate:
    """Find pairs with an index; called like `similar_pairs.Exact`.

    A part of the work is a block of queries.

    Parameters
    ----------
    probes : int
        Cells to search per row.
    """

    def __init__(self, probes: int = 16):
        self.probes = probes
        self._faiss = optional.need('faiss', 'search')

    def key(self) -> dict:
        """Return the settings that the pairs depend on, besides the features."""
        return {'approximate': self.probes, 'faiss': self._faiss.__version__}

    def __call__(self, features, squares, threshold, done=0):
        raw = np.empty((len(features), features.dim), np.float32)
        for start in range(0, len(raw), BLOCK):
            raw[start:start + BLOCK] = features.rows(start, start + BLOCK)
        unit = (raw / np.sqrt(squares)[:, None]).astype(np.float32)
        index = self._index(unit)
        raw, squares = torch.from_numpy(raw), torch.from_numpy(squares)
        low = threshold - margin(features.dim)
        starts = range(0, len(raw), BLOCK)
        for part, start in enumerate(progress.bar(starts, unit='block', desc='pairs')):
            if part >= done:
                ends, _, found = index.range_search(unit[start:start + BLOCK], low)
                i = np.repeat(np.arange(len(ends) - 1) + start, np.diff(ends).astype(np.int64))
                # a pair may be found from one side or both
                pairs = np.unique(np.sort([i, found], axis=0)[:, i != found], axis=1)
                yield part, *_recheck(raw, squares, threshold, *torch.from_numpy(pairs))

    def _index(self, unit):
        """Return an index of all rows, trained on a sample; a cell has about sqrt(N) / 4 rows."""
        faiss, (count, dim) = self._faiss, unit.shape
        cells = max(1, min(int(4 * count ** 0.5), count // TRAINED))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells,
                                   faiss.METRIC_INNER_PRODUCT)
        index.cp.seed, index.nprobe = SEED, min(self.probes, cells)
        some = np.random.default_rng(SEED).permutation(count)[:cells * TRAINED]
        index.train(unit[np.sort(some)])
        for start in range(0, count, BLOCK):
            index.add(unit[start:start + BLOCK])
        return index


def _recheck(raw, squares, threshold, i, j):
    """Return arrays i, j and cosines of the pairs whose cosine is >= threshold."""
    values = torch.cat([cosines(raw[a], raw[b], squares[a], squares[b])
                        for a, b in zip(i.split(RECHECKED), j.split(RECHECKED), strict=True)])
    hit = values >= threshold
    return [value[hit].numpy() for value in (i, j, values)]
