"""Pairs of numbers with scores, more of them than memory holds: kept on disk, read in order.

    with PairRuns('mapped.txt.parts', key={'features': ...}, count=100_000) as runs:
        for part in range(runs.done, parts):
            runs.add(part, i, j, scores)                # arrays of one length
        for numbers, starts, others, scores in runs.grouped():
            ...                                         # numbers rise; starts cut others and scores

Work is done in parts 0, 1, 2...; a folder of runs (sorted pieces on disk, as an external sort has
them) says up to which one it is done, so that an interrupted run goes on. What is read depends on
the pairs alone, not on where the runs were cut.
"""

import bisect
import json
import logging
import os
import re
import shutil
import time

import numpy as np

from deep_retrieval.files import write_aside

RECORD = np.dtype([('number', '<u4'), ('other', '<u4'), ('score', '<i4')])
BUDGET = 1 << 21    # pairs, of 24 bytes both ways, that are held before they go to the disk
SECONDS = 60        # of work that an interruption may cost
_RUN = re.compile(r'run_\d+_(\d+)\.npy')

logger = logging.getLogger(__name__)


class PairRuns:
    """Pairs in a folder that is gone on with where it belongs to `key`, else begun anew.

    key : dict of what the pairs depend on
    count : the numbers are 0 to count - 1
    done : parts that need not be done again
    pairs : how many `grouped` has given, both directions as one
    """

    def __init__(self, path, key, count):
        self.path, self.count = str(path), count
        self._key = json.dumps(key, sort_keys=True)
        self._held, self._size, self._since = [], 0, time.monotonic()
        self.pairs = 0
        self._begin()
        self.done = self._first = 1 + max((int(_RUN.fullmatch(name)[1]) for name in self._names()),
                                          default=-1)
        if self.done:
            logger.info('%s: resuming after part %d', self.path, self.done)

    def add(self, part, i, j, scores):
        """Take the pairs of a part, each once, whichever way: integer arrays of one length."""
        if len(i):
            self._held.append((i, j, scores))
            self._size += len(i)
        self.done = part + 1
        if self._size >= BUDGET or time.monotonic() - self._since >= SECONDS:
            self.flush()

    def flush(self):
        """Bring to the disk what is held."""
        if self.done > self._first:
            i, j, scores = (np.concatenate(parts) for parts in zip(*self._held, strict=True)
                            ) if self._held else ([], [], [])
            run = np.empty(2 * len(i), RECORD)
            run['number'], run['other'] = np.append(i, j), np.append(j, i)
            run['score'] = np.append(scores, scores)
            run = run[np.argsort(run['number'], kind='stable')]
            name = f'run_{self._first:09d}_{self.done - 1:09d}.npy'
            write_aside(os.path.join(self.path, name), lambda file: np.save(file, run))
        self._held, self._size, self._first = [], 0, self.done
        self._since = time.monotonic()

    def grouped(self):
        """Yield (numbers, starts, others, scores), bounded pieces, of all that was added.

        Number k is paired with others[starts[k]:starts[k + 1]], by falling score, then by number.
        A pair that was added more than once is there once.
        """
        self.flush()
        runs = [np.load(os.path.join(self.path, name), mmap_mode='r') for name in self._names()]
        sizes = np.zeros(self.count, np.int64)
        for run in runs:
            for start in range(0, len(run), BUDGET):
                numbers = run['number'][start:start + BUDGET]
                sizes[:numbers.max() + 1] += np.bincount(numbers)
        ends, places = np.cumsum(sizes), [0] * len(runs)
        low = found = 0
        while low < self.count:
            # one number at least, whatever it has
            before = ends[low - 1] if low else 0
            high = max(low + 1, int(np.searchsorted(ends, before + BUDGET, 'right')))
            pieces = []
            for k, run in enumerate(runs):
                end = bisect.bisect_left(run, high, places[k], key=lambda record: record['number'])
                pieces.append(run[places[k]:end])
                places[k] = end
            if ends[high - 1] > before:
                piece = _sorted(np.concatenate(pieces))
                found += len(piece[2])
                yield piece
            low = high
        self.pairs = found // 2

    def remove(self):
        """Delete the folder: everything in it stands elsewhere now."""
        shutil.rmtree(self.path)

    def _begin(self):
        note = os.path.join(self.path, 'key.json')
        os.makedirs(self.path, exist_ok=True)
        try:
            with open(note, encoding='utf-8') as file:
                if file.read() == self._key:
                    return
        except FileNotFoundError:
            if any(not name.endswith('.aside') for name in os.listdir(self.path)):
                raise ValueError(f'{self.path}: holds something else than a broken-off search for '
                                 'pairs; remove it') from None
        for name in self._names():
            os.unlink(os.path.join(self.path, name))
        write_aside(note, lambda file: file.write(self._key.encode()))

    def _names(self):
        return sorted(name for name in os.listdir(self.path) if _RUN.fullmatch(name))


def _sorted(records):
    """The records of some numbers, each pair once, as `grouped` yields them."""
    # both in one key: the score's sign is turned, so that it falls where the key rises
    first = (records['number'].astype(np.uint64) << np.uint64(32)
             | (0x7fffffff - records['score'].astype(np.int64)).astype(np.uint64))
    order = np.lexsort((records['other'], first))
    records, first = records[order], first[order]
    new = np.ones(len(records), bool)
    new[1:] = (first[1:] != first[:-1]) | (records['other'][1:] != records['other'][:-1])
    records = records[new]
    numbers, starts = np.unique(records['number'], return_index=True)
    return numbers, np.append(starts, len(records)), records['other'], records['score']
