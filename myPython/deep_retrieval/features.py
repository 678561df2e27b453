"""Descriptors of many images with a common interface, in memory or in an .npy file.

The interface: `names` (one per row), `dim`, `len()`, `rows(start, stop)` (float32), `made_from`
(dict, empty if unknown), `bad` (images without a row, and why), `folder` (of the images, or None)
and `path` (for messages). `feature_shards.py` implements it for folders of shards, and
`saved_features.open_features` opens all kinds of saved features.
"""

import glob
import os
import re
from collections.abc import Collection

import numpy as np

from deep_retrieval import store
from deep_retrieval.feature_shards import FeatureFolder

MODEL = ('weights', 'proto', 'end', 'mean', 'scale', 'colour')  # equal for comparable descriptors


class Features:
    """Descriptors in memory.

    Parameters
    ----------
    path : str
        Name for error messages.
    names : list of N str
    values : N x D float32
    made_from : dict
    bad : dict of name to reason
        Images that have no row.
    folder : str, optional
        The folder that names are relative to.
    """

    def __init__(self, path, names, values, made_from=None, bad=None, folder=None):
        check_rows(path, values, names)
        self.path, self.names = str(path), list(names)
        self.made_from, self.bad = dict(made_from or {}), dict(bad or {})
        self.folder = folder
        self._values, self.dim = values, values.shape[1]

    def __len__(self):
        return len(self.names)

    def rows(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return rows[start:stop], float32."""
        return self._values[start:stop]

    def __repr__(self):
        return f'{type(self).__name__}({len(self)} x {self.dim})'


class NamedRows:
    """The named rows of an .npy file, mapped into memory, in the order of the file.

    Lines of the list are `NAME ROW`, as written by convert_image2features.py, or `ROW<TAB>NAME`, in
    any order. Rows without a name, such as those of damaged images, are left out.

    Attributes
    ----------
    names, numbers : names of the rows, and their indices in the file
    """

    made_from, bad, folder = {}, {}, None

    def __init__(self, path, names_path):
        self.path = str(path)
        if not os.path.exists(path):
            raise FileNotFoundError(2, 'there is no such file', self.path)
        with store.reading(path, 'an .npy file of numbers'):
            self._array = np.load(path, mmap_mode='r', allow_pickle=False)
        if self._array.ndim != 2 or self._array.dtype.kind != 'f' or not self._array.size:
            raise ValueError(f'{path}: features must be N x D floating point numbers, not '
                             f'{self._array.dtype} of shape {self._array.shape}')
        named = sorted(read_list(names_path, len(self._array)).items())
        self.numbers = np.array([row for row, _ in named])
        self.names = [name for _, name in named]
        self.dim = self._array.shape[1]

    def __len__(self):
        return len(self.names)

    def rows(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return rows[start:stop], N x dim float32."""
        return np.asarray(self._array[self.numbers[start:stop]], np.float32)


def read_list(path: str | os.PathLike, count: int) -> dict[int, str]:
    """Read {row: name} from a list of names for `count` rows.

    Raises
    ------
    ValueError
        A line is malformed, names a missing row, or repeats a row or an image. The message names
        file and line.
    """
    from deep_retrieval.duplicates import mapped_files
    lines = list(mapped_files.lines(path))
    first = all(re.match(r'\d+\t.', line) for _, line in lines)
    found, names = {}, set()
    for place, line in lines:
        row, _, name = line.partition('\t') if first else line.rpartition(' ')[::-1]
        if not (name and row.isascii() and row.isdigit()):
            raise ValueError(f'{place}: is neither `NAME ROW` nor `ROW<TAB>NAME`')
        if int(row) >= count:
            raise ValueError(f'{place}: there is no row {row}; the features have {count}, counted '
                             'from 0')
        if int(row) in found or name in names:
            raise ValueError(f'{place}: repeats a row or an image')
        found[int(row)] = name
        names.add(name)
    if not found:
        raise ValueError(f'{path}: names no rows')
    return found


def find_file(path: str | os.PathLike) -> str:
    """Return the features `STEM_HASH_PART.npy` for a path `STEM_PART.npy` that does not exist.

    The hash identifies model and dataset, so features of different ones have different names.

    Raises
    ------
    ValueError
        There are features of several models or datasets.
    """
    path = os.fspath(path)
    match = re.fullmatch(r'(.*)_(queries|queries_full|dataset)\.npy', path)
    if os.path.exists(path) or not match:
        return path
    stem, part = match.groups()
    found = sorted(other for other in glob.glob(f'{glob.escape(stem)}_*_{part}.npy')
                   if re.fullmatch(r'_[0-9a-f]{8}_', other[len(stem):-len(f'{part}.npy')]))
    if len(found) > 1:
        stems = ', '.join(other.removesuffix(f'_{part}.npy') for other in found)
        raise ValueError(f'{stem}: there are features of several models or datasets; give one of '
                         f'{stems}')
    return found[0] if found else path


def check_described(name: str, features: object) -> None:
    """Raise TypeError unless the argument `name` has the interface of this module."""
    if not all(hasattr(features, attribute) for attribute in ('names', 'rows', 'made_from')):
        raise TypeError(f'{name} is of type {type(features).__name__}, but must be described '
                        'images: pass what `describe` or `open_features` returns')


def check_same(path: str | os.PathLike, made_from: dict, other_path: str | os.PathLike,
               other: dict, keys: tuple = MODEL) -> None:
    """Raise ValueError unless two manifests agree on all `keys`, by default those of the model."""
    different = [key for key in keys if made_from.get(key) != other.get(key)]
    if different:
        raise ValueError(f'{path}: its descriptors were made with another {", ".join(different)} '
                         f'than those of {other_path}')


def check_comparable(queries: Features | FeatureFolder | NamedRows,
                     features: Features | FeatureFolder | NamedRows) -> None:
    """Raise ValueError unless queries can be compared with features: one model, L and scales."""
    check_same(queries.path, _as_described(queries.made_from), features.path,
               _as_described(features.made_from), (*MODEL, 'L', 'scales'))


def _as_described(made_from):
    # test.py's features say S, those of `describe` scales
    return {'scales': [made_from['S']], **made_from} if 'S' in made_from else made_from


def check_rows(path: str | os.PathLike, rows: np.ndarray, names: list[str],
               skipped: Collection[str] = (), start: int = 0) -> None:
    """Raise ValueError unless each name has a row, and each row is finite.

    rows : N x D
    names : list of N str
    skipped : names whose rows need not be finite
    start : index of the first row in the file
    """
    if len(rows) != len(names):
        raise ValueError(f'{path}: has {len(rows)} rows for {len(names)} images')
    broken = [i for i in np.flatnonzero(~np.isfinite(rows).all(axis=1))
              if names[i] not in skipped]
    if broken:
        raise ValueError(f'{path}: row {start + broken[0]} ({names[broken[0]]}) has a value that '
                         'is not finite')
