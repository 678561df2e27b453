"""Features in an .npy file with a text that names their rows, read as a FeatureFolder is.

    features = named_rows.open_features('tmp/features.npy', 'tmp/features.txt')
    features.names, features.dim, features.rows(0, 4096)

Lines of the text are `NAME ROW`, as convert_image2features.py writes them in any order, or
`ROW<TAB>NAME`. Rows that it does not name, those of damaged images, are left out.
"""

import os
import re

import numpy as np

from deep_retrieval.duplicates import mapped_files


class NamedRows:
    """The named rows of an .npy file, mapped into memory, in the order of the file.

    names, numbers : of the rows; numbers are those in the file
    """

    def __init__(self, path, names_path):
        self.path = str(path)
        try:
            self._array = np.load(path, mmap_mode='r', allow_pickle=False)
        except (ValueError, EOFError):
            raise ValueError(f'{path}: is no .npy file of numbers, or is truncated') from None
        if self._array.ndim != 2 or self._array.dtype.kind != 'f' or not self._array.size:
            raise ValueError(f'{path}: features are N x D floating point numbers, not '
                             f'{self._array.dtype} of shape {self._array.shape}')
        named = sorted(read_list(names_path, len(self._array)).items())
        self.numbers = np.array([row for row, _ in named])
        self.names = [name for _, name in named]
        self.dim = self._array.shape[1]

    def __len__(self):
        return len(self.names)

    def rows(self, start=0, stop=None):
        """The rows from `start` to before `stop`, bounded as a slice's: float32, N x dim."""
        return np.asarray(self._array[self.numbers[start:stop]], np.float32)


def open_features(path, names_path=None):
    """The features in a folder of shards, or in an .npy file; its names by default beside it."""
    if os.path.isdir(path):
        from deep_retrieval.feature_shards import FeatureFolder
        return FeatureFolder(path)
    return NamedRows(path, names_path or f'{os.path.splitext(path)[0]}.txt')


def read_list(path, count):
    """{row: name} of a list of `count` rows; ValueError, naming file and line, for a fault."""
    lines = list(mapped_files.lines(path))
    first = all(re.match(r'\d+\t.', line) for _, line in lines)
    found, names = {}, set()
    for place, line in lines:
        row, _, name = line.partition('\t') if first else line.rpartition(' ')[::-1]
        if not (name and row.isascii() and row.isdigit()):
            raise ValueError(f'{place}: is neither `NAME ROW` nor `ROW<TAB>NAME`')
        if int(row) >= count:
            raise ValueError(f'{place}: there is no row {row}: the features have {count}, '
                             'from 0 on')
        if int(row) in found or name in names:
            raise ValueError(f'{place}: names a row or an image a second time')
        found[int(row)] = name
        names.add(name)
    if not found:
        raise ValueError(f'{path}: names no row')
    return found
