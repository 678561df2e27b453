"""LMDB databases, and prefetching in a background thread (util/db.hpp).

Caffe's keys are `%08d_name`, so that their order is the order of the list.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
import weakref
from contextlib import contextmanager
from itertools import chain, islice, repeat

import torch

from .errors import CaffeError
from .files import aside_of
from .log import log
from .optional import need

COMMIT_EVERY = 100      # records per transaction, held in memory until it is committed
MAP_SIZE = 1 << 40      # bytes that a new LMDB may grow to; only used pages take disk space
CHECK = os.path.join(os.path.dirname(__file__), 'check_lmdb.py')

# (device, inode) -> environment: a process must not open an LMDB twice, but two nets may read the
# same one
_open = weakref.WeakValueDictionary()
_sound = set()      # LMDBs that passed `check_lmdb`: (device, inode, size, modification time)


def check_backend(name):
    """Raise CaffeError unless it is 'lmdb'."""
    if name.lower() != 'lmdb':
        raise CaffeError(f'the backend {name} is not supported; convert_imageset writes LMDB, '
                         'which a Data layer reads with `backend: LMDB`')


class Database:
    """An open LMDB: iterate over its (key, value) pairs, or `cycle` over them endlessly.

    A value is a buffer that is valid until the next step. Raises CaffeError naming the path if
    there is no LMDB, or if it is empty, truncated or damaged.
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        with self._naming():
            self._environment = self._open(os.path.join(self.path, 'data.mdb'))
            self._count = self._environment.stat()['entries']
        if not self._count:
            raise CaffeError(f'{self.path}: has no records')

    def _open(self, file):
        lmdb = need('lmdb', 'lmdb')
        status = os.stat(file)
        place = status.st_dev, status.st_ino
        environment = _open.get(place)
        if environment is None:
            check_lmdb(self.path)
            environment = lmdb.open(self.path, readonly=True, create=False, lock=False)
            _open[place] = environment
        return environment

    def __len__(self):
        return self._count

    def __iter__(self):
        with self._naming(), self._environment.begin(buffers=True) as transaction:
            yield from transaction.cursor()

    def cycle(self, random=None, start=0, step=1):
        """Yield (key, value) endlessly, in key order or reshuffled by `random` on each pass.

        Only every `step`-th pair of this endless sequence is yielded, beginning with pair `start`.
        """
        if random is not None:
            return self._shuffled(random, start, step)
        return islice(chain.from_iterable(repeat(self)), start, None, step)

    def _shuffled(self, random, start, step):
        with self._naming(), self._environment.begin(buffers=True) as transaction:
            keys = [bytes(key) for key in transaction.cursor().iternext(values=False)]
            # records that other processes yield are not read
            for key in islice(cycle(keys, random), start, None, step):
                yield key, transaction.get(key)

    @contextmanager
    def _naming(self):
        """Turn an error of the system or of LMDB into a CaffeError that names the path."""
        lmdb = need('lmdb', 'lmdb')
        try:
            yield
        except OSError as error:
            raise CaffeError(f'{self.path}: cannot be read as an LMDB (data.mdb: '
                             f'{error.strerror})') from None
        except lmdb.Error as error:
            raise CaffeError(f'{self.path}: cannot be read as an LMDB ({error})') from None


def check_lmdb(path: str) -> None:
    """Raise CaffeError if reading the LMDB `path` would crash this process.

    The LMDB is read once in a separate process; the result is kept until the file changes.
    """
    status = os.stat(os.path.join(path, 'data.mdb'))
    state = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    if state in _sound:
        return
    gigabytes = state[2] >> 30
    if gigabytes:
        log(f'Checking {path}, {gigabytes} GB')     # takes as long as reading all of it
    done = subprocess.run([sys.executable, CHECK, path], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors='replace')
    if done.returncode:
        reason = (f'the LMDB is damaged ({signal.Signals(-done.returncode).name} while reading it)'
                  if done.returncode < 0 else done.stderr.strip().splitlines()[-1])
        raise CaffeError(f'{path}: {reason}; copy it from elsewhere or recreate it')
    _sound.add(state)


def cycle(items, random=None, start=0):
    """Yield the items of a list endlessly from `start` on, reshuffled by `random` on each pass."""
    while True:
        order = (range(len(items)) if random is None
                 else torch.randperm(len(items), generator=random).tolist())
        for index in order[start:]:
            yield items[index]
        start = 0


def show_key(key):
    """A key as text for a message."""
    return bytes(key).decode('utf-8', 'backslashreplace')


def write_database(path, records):
    """Write (key, value) pairs of bytes to a new LMDB, under a temporary name until it is complete.

    Returns the number of pairs. Raises CaffeError if `path` exists.
    """
    lmdb = need('lmdb', 'lmdb')
    path = os.fspath(path).rstrip('/')
    if os.path.lexists(path):
        raise CaffeError(f'{path}: exists already; remove it or choose another name')
    try:
        with aside_of(path, folder=True) as aside:
            # not in use yet, so it is flushed to disk only at the end
            with lmdb.open(aside, map_size=MAP_SIZE, sync=False) as environment:
                count = _fill(environment, records)
                environment.sync(True)
            os.unlink(os.path.join(aside, 'lock.mdb'))
            os.rename(aside, path)
        return count
    except lmdb.Error as error:
        raise CaffeError(f'{path}: cannot be written ({error})') from None
    except OSError as error:
        raise CaffeError(f'{path}: {error.strerror}') from None


def _fill(environment, records):
    records = iter(records)
    count = 0
    while batch := list(islice(records, COMMIT_EVERY)):
        with environment.begin(write=True) as transaction:
            for key, value in batch:
                transaction.put(key, value)
        count += len(batch)
    return count


class Prefetch:
    """Reads ahead from an endless iterator in a background thread; keeps its order.

    `next` re-raises an error of the iterator. The thread ends when this object is deleted.
    """

    def __init__(self, items, depth):
        self._ready = queue.Queue(depth)
        self._error = None
        stop = threading.Event()
        # neither the thread nor the iterator may refer to self, or it would never be deleted
        thread = threading.Thread(target=_read_ahead, args=(items, self._ready, stop), daemon=True)
        thread.start()
        weakref.finalize(self, _end, thread, self._ready, stop)

    def next(self):
        """Return the next item, waiting for it if necessary."""
        if self._error is None:
            item, self._error = self._ready.get()
        if self._error is not None:
            raise self._error
        return item


def _read_ahead(items, ready, stop):
    try:
        for item in items:
            ready.put((item, None))
            if stop.is_set():
                return
    except Exception as error:      # of any kind: the main thread raises it
        ready.put((None, error))


def _end(thread, ready, stop):
    stop.set()
    while thread.is_alive():
        while not ready.empty():    # the thread may be waiting to put an item
            ready.get()
        if thread is threading.current_thread():    # garbage collection ran in it
            return
        thread.join(0.01)
