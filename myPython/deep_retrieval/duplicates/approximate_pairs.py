"""Similar pairs by an index of faiss: their scores are exact, but not all of them are found.

    write_mapped('mapped.txt', features, Decimal('0.6'), find=Approximate(probes=16))

Rows are put into cells by k-means, and each is compared with those of the `probes` cells nearest to
it (faiss, IVF flat). All rows are held in memory, twice.
"""

import numpy as np
import torch
from tqdm import tqdm

from deep_retrieval.duplicates.similar_pairs import BLOCK, RECHECKED, cosines, margin

TRAINED = 64    # rows a cell that k-means learns from
SEED = 0


class Approximate:
    """Search as similar_pairs.Exact does it, but with an index: a part is a block of queries."""

    def __init__(self, probes=16):
        self.probes = probes

    def key(self):
        import faiss
        return {'approximate': self.probes, 'faiss': faiss.__version__}

    def __call__(self, features, squares, threshold, done=0):
        raw = np.empty((len(features), features.dim), np.float32)
        for start in range(0, len(raw), BLOCK):
            raw[start:start + BLOCK] = features.rows(start, start + BLOCK)
        unit = (raw / np.sqrt(squares)[:, None]).astype(np.float32)
        index = self._index(unit)
        raw, squares = torch.from_numpy(raw), torch.from_numpy(squares)
        low = threshold - margin(features.dim)
        for part, start in enumerate(tqdm(range(0, len(raw), BLOCK), unit='block', delay=2,
                                          disable=None, desc='pairs')):
            if part >= done:
                ends, _, found = index.range_search(unit[start:start + BLOCK], low)
                i = np.repeat(np.arange(len(ends) - 1) + start, np.diff(ends).astype(np.int64))
                # a pair may be found from either side, or from both
                pairs = np.unique(np.sort([i, found], axis=0)[:, i != found], axis=1)
                yield part, *_recheck(raw, squares, threshold, *torch.from_numpy(pairs))

    def _index(self, unit):
        """An index of all rows, trained on some; so many cells that one has about sqrt(N) / 4."""
        import faiss
        count, dim = unit.shape
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
    """The pairs (i, j) that are at or above the threshold, with their cosines: arrays."""
    values = torch.cat([cosines(raw[a], raw[b], squares[a], squares[b])
                        for a, b in zip(i.split(RECHECKED), j.split(RECHECKED))])
    hit = values >= threshold
    return [value[hit].numpy() for value in (i, j, values)]
