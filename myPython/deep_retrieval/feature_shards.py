"""A folder of descriptors in shards, which several processes may fill and any may read.

    folder = FeatureFolder('tmp/features')
    for start in range(0, len(folder), 4096):
        rows = folder.rows(start, start + 4096)     # float32, unit length
        names = folder.names[start:start + 4096]

`manifest.json` says what the features were made from. Shard i is `shard_0000i.json`, the `names` of
its images, and `shard_0000i.npy`, their descriptors (N x D float32). The first is there as soon as
the shard is planned, so that no image is taken twice; when the second is whole, the first gets
`bad`: the images that have no row, and why. Neither numbers nor names change later.
"""

import errno
import fcntl
import json
import os
import re
from contextlib import contextmanager
from typing import NamedTuple, Optional

import numpy as np

from deep_retrieval.files import write_aside

MANIFEST, LOCK = 'manifest.json', '.lock'
SHARD_SIZE = 512    # images; of D = 2048 a shard has 4 MB
UNIT = 1e-5         # a norm this near to 1 is one


class Shard(NamedTuple):
    """What the json of a shard says: `bad` and `sizes` are None until its rows are there."""

    names: list
    bad: Optional[dict] = None      # name -> why it has no row
    sizes: Optional[list] = None    # bytes of the images' files

    def good(self):
        """The names that have a row, in the order of the rows."""
        return [name for name in self.names if name not in self.bad]


class FeatureFolder:
    """The descriptors in a folder as one matrix of unit rows, read from disk as they are asked for.

    names : paths of the images below the folder they came from, one a row, with slashes
    dim : numbers in a row
    bad : images that have no row -> why
    made_from : what the manifest says
    missing : numbers of the shards that are planned but not there; unless `partial`, ValueError
    """

    def __init__(self, path, partial=False):
        self.path = str(path)
        self.made_from = read_manifest(self.path)
        shards = read_shards(self.path)
        self.missing = [i for i, shard in shards.items() if not is_done(self.path, i, shard)]
        if self.missing and not partial:
            raise ValueError(f'{self.path}: {len(self.missing)} of {len(shards)} shards are not '
                             'there yet; go on with convert_images2shards.py')
        there = [i for i in shards if i not in set(self.missing)]
        self.bad = {name: why for i in there for name, why in shards[i].bad.items()}
        parts = {i: names for i in there if (names := shards[i].good())}
        self.names = [name for names in parts.values() for name in names]
        if not self.names:
            raise ValueError(f'{self.path}: has no features')
        self._numbers = list(parts)
        self._starts = np.cumsum([0, *map(len, parts.values())])
        self.dim = self._open(0).shape[1]

    def __len__(self):
        return len(self.names)

    def rows(self, start=0, stop=None):
        """The rows from `start` to before `stop`, bounded as a slice's: float32, N x dim."""
        start, stop, _ = slice(start, stop).indices(len(self))
        rows = np.empty((max(0, stop - start), self.dim), np.float32)
        first = int(np.searchsorted(self._starts, start, 'right')) - 1
        while start < stop:
            begin, end = self._starts[first], min(stop, self._starts[first + 1])
            rows[len(rows) - (stop - start):][:end - start] = (
                self._open(first)[start - begin:end - begin])
            start, first = end, first + 1
        return rows

    def _open(self, part):
        # opened each time: a map of every shard would need more open files than a process may have
        path = stem(self.path, self._numbers[part]) + '.npy'
        count = self._starts[part + 1] - self._starts[part]
        try:
            rows = np.load(path, mmap_mode='r')
        except (ValueError, EOFError):
            rows = None
        if (rows is None or rows.ndim != 2 or len(rows) != count or rows.dtype != np.float32
                or rows.shape[1] != getattr(self, 'dim', rows.shape[1])):
            raise ValueError(f'{path}: is damaged; remove it and go on with '
                             'convert_images2shards.py')
        return rows


def save(path, names, features, shard_size=SHARD_SIZE, made_from=None):
    """Write a folder of these features (N x D), whose rows are brought to unit length.

    ValueError for names that are not different ones, for rows without a direction, and where the
    folder has features already.
    """
    features = unit(features)
    if len(names) != len(features) or len(set(names)) != len(names):
        raise ValueError(f'{len(features)} rows need as many different names, not '
                         f'{len(set(names))}')
    if not np.isfinite(features).all():
        raise ValueError('a row of zeros, or with a number that is not finite, has no direction')
    with Locks(path) as locks, locks.held(0):
        if os.path.exists(os.path.join(path, MANIFEST)):
            raise ValueError(f'{path}: has features already')
        write_manifest(path, made_from or {})
        for i, start in enumerate(range(0, len(names), shard_size)):
            span = slice(start, start + shard_size)
            write_rows(path, i, Shard(list(names[span]), {}), features[span])


def unit(rows):
    """Rows as float32 of unit length; those without a direction become NaN."""
    rows = np.asarray(rows, np.float32)
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    # rows that come from a normalizing layer keep their bits
    norms[np.abs(norms - 1) < UNIT] = 1
    norms[(norms == 0) | ~np.isfinite(norms)] = np.nan
    return (rows / norms).astype(np.float32)


def stem(path, number):
    """A shard's file without its ending."""
    return os.path.join(path, f'shard_{number:05d}')


def read_manifest(path):
    """What the features of a folder were made from, a dict."""
    file = os.path.join(path, MANIFEST)
    if not os.path.exists(file):
        raise ValueError(f'{path}: is no folder of features, for it has no {MANIFEST}; '
                         'convert_images2shards.py makes one')
    return _read_json(file)


def write_manifest(path, made_from):
    _write_json(os.path.join(path, MANIFEST), made_from)


def read_shards(path):
    """Number -> Shard for all that are planned or there, by number."""
    matches = (re.fullmatch(r'shard_(\d+)\.json', name) for name in os.listdir(path))
    numbers = sorted(int(match[1]) for match in matches if match)
    return {number: _read_shard(path, number) for number in numbers}


def _read_shard(path, number):
    try:
        return Shard(**_read_json(stem(path, number) + '.json'))
    except TypeError:
        raise ValueError(f'{stem(path, number)}.json: does not describe a shard') from None


def is_done(path, number, shard=None):
    """Whether a planned shard's rows are there: as `shard`, read before, has it, or by now."""
    shard = shard or _read_shard(path, number)
    return shard.bad is not None and os.path.exists(stem(path, number) + '.npy')


def plan(path, names, shard_size):
    """Plan shards of those names that no shard has; returns all shards. Hold lock 0 for it."""
    shards = read_shards(path)
    taken = {name for shard in shards.values() for name in shard.names}
    names = [name for name in names if name not in taken]
    number = 0
    for start in range(0, len(names), shard_size):
        while number in shards:
            number += 1
        shards[number] = Shard(names[start:start + shard_size])
        write_plan(path, number, shards[number].names)
    return dict(sorted(shards.items()))


def write_plan(path, number, names):
    """Say of which images a shard is; its rows do not count, if there are any."""
    _write_json(stem(path, number) + '.json', {'names': names})


def write_rows(path, number, shard, rows):
    """Write a shard: the rows, one a good image, and then what makes them count."""
    write_aside(stem(path, number) + '.npy', lambda file: np.save(file, rows))
    _write_json(stem(path, number) + '.json', shard._asdict())


class Locks:
    """Locks of a folder, made if need be: 0 for planning, i + 1 for writing shard i.

    They hold between processes and machines, and go with the process that has them.
    """

    def __init__(self, path):
        self._path = os.path.join(path, LOCK)

    def __enter__(self):
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        self._file = open(self._path, 'ab')
        return self

    def __exit__(self, *error):
        self._file.close()

    @contextmanager
    def held(self, number, wait=True):
        """Hold a lock; gives False where another process has it and `wait` is False."""
        held = True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, number)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise OSError(error.errno, f'{error.strerror}: cannot lock it; use a disk that '
                              'has locks', self._path) from None
            held = False
        try:
            yield held
        finally:
            if held:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)


def _read_json(path):
    try:
        with open(path, encoding='utf-8') as file:
            found = json.load(file)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f'{path}: is damaged: no JSON object')
    return found


def _write_json(path, value):
    text = json.dumps(value, indent=1) + '\n'
    write_aside(path, lambda file: file.write(text.encode()))
