"""A file of finished batches of rows, from which an interrupted run resumes."""

import json
import os
import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .atomic import StoreError, is_at, named
from .lock import lock, unlock

if TYPE_CHECKING:
    import numpy as np

HEAD = struct.Struct('<qqI')    # rows and dimensions of a batch, and its checksum


class Journal:
    """A file to which finished batches are appended; an incomplete batch is dropped.

    The first line is the key as JSON; a file with another key is emptied. Each batch is a head
    (rows, dimensions, CRC-32), the int64 numbers of its rows and their float32 values.

    Parameters
    ----------
    path : str
    key : dict
        What the rows depend on; JSON values.

    Attributes
    ----------
    rows : dict of int to D float32
        All rows in the file, by number.

    Raises
    ------
    StoreError
        On entry, if another process is writing the journal.
    """

    def __init__(self, path: str, key: dict):
        self.path = os.fspath(path)
        self._line = json.dumps(key, sort_keys=True).encode() + b'\n'
        self.rows = {}

    def __enter__(self):
        os.makedirs(os.path.dirname(self.path) or '.', exist_ok=True)
        self._file = self._open()
        try:
            self._file.seek(0)
            if self._file.read(len(self._line)) != self._line:
                self._file.truncate(0)
                self._write(self._line)
            else:
                self._file.truncate(self._read())
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *error):
        self._close()

    def append(self, indices: Sequence[int], values: 'np.ndarray') -> None:
        """Add a batch: B row numbers, and B x D float32."""
        import numpy as np
        values = np.asarray(values, '<f4')
        body = np.asarray(indices, '<i8').tobytes() + values.tobytes()
        self._write(HEAD.pack(*values.shape, zlib.crc32(body)) + body)
        self.rows.update(zip(indices, values, strict=True))

    def matrix(self, count: int) -> 'np.ndarray':
        """Return the rows 0 to count - 1 as count x D float32; missing rows are NaN."""
        import numpy as np
        dim = len(next(iter(self.rows.values()), ()))
        features = np.full((count, dim), np.nan, np.float32)
        for i, row in self.rows.items():
            features[i] = row
        return features

    def remove(self) -> None:
        """Delete the file, after its rows were saved elsewhere."""
        os.unlink(self.path)

    def _open(self):
        """Open and lock the file, again if the process that held it before has removed it."""
        while True:
            file = open(self.path, 'a+b')
            if not lock(file.fileno(), wait=False):
                file.close()
                raise StoreError(f'{self.path}: another process is writing it; wait until it has '
                                 'ended')
            if is_at(file.fileno(), os.path.realpath(self.path)):
                return file
            file.close()

    def _close(self):
        descriptor = os.dup(self._file.fileno())
        try:
            with named(self.path):
                self._file.close()
        finally:
            unlock(descriptor)

    def _write(self, data):
        with named(self.path):
            self._file.write(data)
            self._file.flush()

    def _read(self):
        """Read the complete batches into `rows`; return the position of their end."""
        import numpy as np
        size = os.fstat(self._file.fileno()).st_size
        while True:
            end = self._file.tell()
            head = self._file.read(HEAD.size)
            if len(head) < HEAD.size:
                return end
            count, dim, checksum = HEAD.unpack(head)
            length = count * (8 + 4 * dim)
            if min(count, dim) < 0 or length > size - end - HEAD.size:
                return end
            body = self._file.read(length)
            if zlib.crc32(body) != checksum:
                return end
            indices = np.frombuffer(body, '<i8', count)
            values = np.frombuffer(body, '<f4', offset=8 * count).reshape(count, dim)
            self.rows.update(zip(indices.tolist(), values, strict=True))
