"""A folder of descriptors in shards, which several processes can write and read.

    folder = FeatureFolder('tmp/features')
    for start in range(0, len(folder), 4096):
        rows = folder.rows(start, start + 4096)     # float32, unit length
        names = folder.names[start:start + 4096]

`manifest.json` says what the features were made from. Shard i has the `names` of its images in
`shard_0000i.json` and their descriptors (N x D float32) in `shard_0000i.npy`. The json is written
when the shard is planned, so that no image is processed twice. When the .npy is complete, the json
is written again with the images that have no row (`bad`) and the SHA-256 of the .npy. Rows with
another hash, left by a run that was killed in between, are ignored. The numbers and names of a
shard never change.
"""

import os
import re
from typing import NamedTuple

import numpy as np

from deep_retrieval import store
from deep_retrieval.vectors import unit

MANIFEST = 'manifest.json'
SHARD_SIZE = 512    # images; with D = 2048 a shard has 4 MB


class Shard(NamedTuple):
    """The contents of a shard's json; all fields except `names` are None until it has rows.

    names : names of the images
    bad : name -> reason why it has no row
    sizes : file sizes of the images in bytes
    sha256 : hash of the .npy
    """

    names: list
    bad: dict | None = None
    sizes: list | None = None
    sha256: str | None = None

    def good(self) -> list:
        """Names of the images that have a row, in the order of the rows."""
        return [name for name in self.names if name not in self.bad]


class FeatureFolder:
    """The descriptors in a folder as one matrix of unit rows, read from disk on demand.

    Parameters
    ----------
    path : the folder
    partial : bool
        Accept a folder with unfinished shards.

    Attributes
    ----------
    names : list of str
        Paths of the images relative to their folder, one per row, with slashes.
    dim : int
    bad : dict of name to reason
        Images that have no row.
    made_from : dict
        What the features were made from, according to the manifest.
    folder : str or None
        The folder of the images.
    missing : list of int
        Shards that are planned but not finished.

    Raises
    ------
    ValueError
        It is not a folder of features, a shard is missing or damaged, or there are no rows.
    """

    def __init__(self, path, partial=False):
        self.path = str(path)
        self.made_from = read_manifest(self.path)
        self.folder = store.Manifest.inside(self.path).note().get('folder')
        shards = read_shards(self.path)
        self.missing = [i for i, shard in shards.items() if not is_done(self.path, i, shard)]
        if self.missing and not partial:
            raise ValueError(f'{self.path}: {len(self.missing)} of {len(shards)} shards are not '
                             'finished; run convert_images2shards.py again to resume')
        there = [i for i in shards if i not in set(self.missing)]
        self.bad = {name: why for i in there for name, why in shards[i].bad.items()}
        parts = {i: names for i in there if (names := shards[i].good())}
        self.names = [name for names in parts.values() for name in names]
        if not self.names:
            raise ValueError(f'{self.path}: has no features')
        self._numbers, self._hashes = list(parts), [shards[i].sha256 for i in parts]
        self._starts = np.cumsum([0, *map(len, parts.values())])
        self.dim = self._open(0).shape[1]

    def __len__(self):
        return len(self.names)

    def __repr__(self):
        return f'{type(self).__name__}({self.path}: {len(self)} x {self.dim})'

    def rows(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return rows[start:stop], with the rules of slices: N x dim float32."""
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
        # opened each time: keeping every shard mapped could exceed the limit of open files
        path = stem(self.path, self._numbers[part]) + '.npy'
        count = self._starts[part + 1] - self._starts[part]
        try:
            rows = np.load(path, mmap_mode='r', allow_pickle=False)
        except (ValueError, EOFError):
            rows = None
        if (rows is None or rows.ndim != 2 or len(rows) != count or rows.dtype != np.float32
                or rows.shape[1] != getattr(self, 'dim', rows.shape[1])
                or not store.has_sha256(path, self._hashes[part])):
            raise ValueError(f'{path}: is damaged; remove it and run convert_images2shards.py '
                             'again to resume')
        return rows


def save(path: str | os.PathLike, names: list[str], features: np.ndarray,
         shard_size: int = SHARD_SIZE, made_from: dict | None = None) -> None:
    """Write features (N x D) to a folder of shards; rows are scaled to unit length.

    Raises
    ------
    ValueError
        Names are repeated, a row is zero or not finite, or the folder already has features.
    """
    features = unit(features)
    if len(names) != len(features) or len(set(names)) != len(names):
        raise ValueError(f'{len(features)} rows need as many different names, not '
                         f'{len(set(names))}')
    if not np.isfinite(features).all():
        raise ValueError('a row of zeros, or with a value that is not finite, has no direction')
    with store.Locks(path) as locks, locks.held(0):
        if os.path.exists(os.path.join(path, MANIFEST)):
            raise ValueError(f'{path}: already has features')
        write_manifest(path, made_from or {})
        for i, start in enumerate(range(0, len(names), shard_size)):
            span = slice(start, start + shard_size)
            write_rows(path, i, Shard(list(names[span]), {}), features[span])


def stem(path: str | os.PathLike, number: int) -> str:
    """Return the path of a shard's files without extension."""
    return os.path.join(path, f'shard_{number:05d}')


def read_manifest(path: str | os.PathLike) -> dict:
    """Return what the features of a folder were made from."""
    found = store.Manifest.inside(path).read()
    if found is None:
        raise ValueError(f'{path}: is not a folder of features: it has no {MANIFEST}; '
                         'convert_images2shards.py makes one')
    return found


def write_manifest(path: str | os.PathLike, made_from: dict, folder: str | None = None) -> None:
    """Write the manifest of a folder of features; `folder` holds the images."""
    store.Manifest.inside(path).write(made_from, folder=folder)


def read_shards(path: str | os.PathLike) -> dict[int, Shard]:
    """Return all planned and finished shards by number."""
    matches = (re.fullmatch(r'shard_(\d+)\.json', name) for name in os.listdir(path))
    numbers = sorted(int(match[1]) for match in matches if match)
    return {number: _read_shard(path, number) for number in numbers}


def _read_shard(path, number):
    file = stem(path, number) + '.json'
    try:
        return Shard(**store.read_json(file))
    except TypeError:
        raise ValueError(f'{file}: does not describe a shard') from None


def is_done(path: str | os.PathLike, number: int, shard: Shard | None = None) -> bool:
    """Whether a planned shard has its rows, according to `shard` (read before) or its files now."""
    shard = shard or _read_shard(path, number)
    return shard.bad is not None and os.path.exists(stem(path, number) + '.npy')


def plan(path: str | os.PathLike, names: list[str], shard_size: int) -> dict[int, Shard]:
    """Plan shards for the names that are in no shard; return all shards. Hold lock 0 meanwhile."""
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


def write_plan(path: str | os.PathLike, number: int, names: list[str]) -> None:
    """Write which images a shard has; existing rows become invalid."""
    store.write_json(stem(path, number) + '.json', {'names': names})


def write_rows(path: str | os.PathLike, number: int, shard: Shard, rows: np.ndarray) -> None:
    """Write a shard: first the rows, one per good image, then the json that makes them valid."""
    file = stem(path, number) + '.npy'
    store.write(file, lambda out: np.save(out, rows))
    store.write_json(stem(path, number) + '.json',
                     shard._replace(sha256=store.sha256(file))._asdict())
