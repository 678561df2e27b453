"""Collect more scored pairs of numbers than fit in memory: on disk, sorted, and resumable.

    with PairRuns('mapped.txt.parts', key={'features': ...}, count=100_000) as runs:
        for part in range(runs.done, parts):
            runs.add(part, i, j, scores)                # arrays of one length
        for numbers, starts, others, scores in runs.grouped():
            ...                                         # ascending; starts split others and scores

Work is done in parts 0, 1, 2, ... The folder has runs (sorted pieces, as in an external sort) whose
names say which parts they cover, so an interrupted search resumes after the last one. The result
depends only on the pairs, not on the boundaries of the runs.
"""

import bisect
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import numpy as np

from deep_retrieval import store

RECORD = np.dtype([('number', '<u4'), ('other', '<u4'), ('score', '<i4')])
BUDGET = 1 << 21    # pairs held in memory before they are written, 24 bytes each (both directions)
SECONDS = 60        # of work that an interruption may lose
NOTE = 'key.json'
_RUN = re.compile(r'run_(\d+)_(\d+)\.npy')
_OURS = re.compile(rf'{_RUN.pattern}|{re.escape(NOTE)}|{re.escape(".lock")}')

logger = logging.getLogger(__name__)


class PairRuns:
    """Pairs in a folder; those of an interrupted search are kept if it had the same key.

    Parameters
    ----------
    path : str
    key : dict
        What the pairs depend on; JSON values.
    count : int
        The numbers are 0 to count - 1.

    Attributes
    ----------
    done : int
        Number of parts that are done.
    pairs : int
        Number of pairs yielded by `grouped`, where both directions count once.

    Raises
    ------
    ValueError
        The folder has other files, or another process is writing it.
    """

    def __init__(self, path, key, count):
        self.path, self.count = str(path), count
        self.pairs, self._stack = 0, ExitStack()
        with self._stack:
            store.check_folder(self.path, _OURS, what='an interrupted search for pairs')
            locks = self._stack.enter_context(store.Locks(self.path))
            if not self._stack.enter_context(locks.held(0, wait=False)):
                raise store.StoreError(f'{self.path}: another process is writing it; wait until it '
                                       'has ended')
            self._begin(key)
            self._stack = self._stack.pop_all()
        self.done = self._first = self._parts_done()
        self._held, self._size, self._since = [], 0, time.monotonic()
        if self.done:
            logger.info('%s: resuming after part %d', self.path, self.done)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stack.close()

    def add(self, part: int, i: np.ndarray, j: np.ndarray, scores: np.ndarray) -> None:
        """Add the pairs of a part, each once in either direction: integer arrays of equal length.
        """
        if len(i):
            self._held.append((i, j, scores))
            self._size += len(i)
        self.done = part + 1
        if self._size >= BUDGET or time.monotonic() - self._since >= SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the pairs that are held in memory."""
        if self.done > self._first:
            i, j, scores = (np.concatenate(parts) for parts in zip(*self._held, strict=True)
                            ) if self._held else ([], [], [])
            run = np.empty(2 * len(i), RECORD)
            run['number'], run['other'] = np.append(i, j), np.append(j, i)
            run['score'] = np.append(scores, scores)
            run = run[np.argsort(run['number'], kind='stable')]
            name = f'run_{self._first:09d}_{self.done - 1:09d}.npy'
            store.write(os.path.join(self.path, name), lambda file: np.save(file, run))
        self._held, self._size, self._first = [], 0, self.done
        self._since = time.monotonic()

    def grouped(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield all pairs in both directions, sorted, in pieces of bounded size.

        A pair that was added more than once is yielded once.

        Yields
        ------
        numbers, starts, others, scores : integer arrays
            numbers[k] is paired with others[starts[k]:starts[k + 1]], by decreasing score, then by
            number.
        """
        self.flush()
        runs = [self._load(name) for name, *_ in self._runs()]
        sizes = np.zeros(self.count, np.int64)
        for run in runs:
            for start in range(0, len(run), BUDGET):
                numbers = run['number'][start:start + BUDGET]
                sizes[:numbers.max() + 1] += np.bincount(numbers)
        ends, places = np.cumsum(sizes), [0] * len(runs)
        low = found = 0
        while low < self.count:
            # at least one number, however many pairs it has
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

    def remove(self) -> None:
        """Delete the folder, after its pairs were saved elsewhere."""
        shutil.rmtree(self.path)

    def _begin(self, key):
        """Keep the runs that belong to the key, and delete the others."""
        store.clean(self.path)
        note = store.Manifest.inside(self.path, NOTE)
        if note.state(key) == 'same':
            return
        # delete the note first: without it, runs that survive a kill belong to no search
        with suppress(FileNotFoundError):
            os.unlink(note.path)
        for name, *_ in self._runs():
            os.unlink(os.path.join(self.path, name))
        note.write(key)

    def _runs(self):
        """Return (name, first part, last part) of each run, in order."""
        found = (_RUN.fullmatch(name) for name in os.listdir(self.path))
        return sorted((match[0], int(match[1]), int(match[2])) for match in found if match)

    def _parts_done(self):
        """Return how many parts the runs cover without a gap."""
        done = 0
        for name, first, last in self._runs():
            if first == done:
                done = last + 1
            else:
                os.unlink(os.path.join(self.path, name))
        return done

    def _load(self, name):
        path = os.path.join(self.path, name)
        with store.reading(path, 'a run of pairs'):
            return np.load(path, mmap_mode='r', allow_pickle=False)


def _sorted(records):
    """Return the records of some numbers, each pair once, as `grouped` yields them."""
    # number and score in one key; the score is negated, so that ascending keys sort it descending
    first = (records['number'].astype(np.uint64) << np.uint64(32)
             | (0x7fffffff - records['score'].astype(np.int64)).astype(np.uint64))
    order = np.lexsort((records['other'], first))
    records, first = records[order], first[order]
    new = np.ones(len(records), bool)
    new[1:] = (first[1:] != first[:-1]) | (records['other'][1:] != records['other'][:-1])
    records = records[new]
    numbers, starts = np.unique(records['number'], return_index=True)
    return numbers, np.append(starts, len(records)), records['other'], records['score']
