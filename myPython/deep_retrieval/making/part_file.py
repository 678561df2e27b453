"""The part of a file that was fetched so far, with a note about the whole file.

    part = Part('paris_1-v1.tgz')       # paris_1-v1.tgz.part and paris_1-v1.tgz.part.json
"""

import contextlib
import os
from collections.abc import Callable
from typing import BinaryIO

from deep_retrieval import store


class Part:
    """The part of the file `path`, in `PATH.part`."""

    def __init__(self, path: str):
        self.whole, self.path, self._note = path, f'{path}.part', f'{path}.part.json'

    @property
    def length(self) -> int:
        """Number of bytes fetched so far."""
        try:
            return os.path.getsize(self.path)
        except OSError:
            return 0

    @property
    def note(self) -> dict:
        """Return what is known about the whole file: url, validator and total size; {} if nothing.
        """
        try:
            return store.read_json(self._note)
        except (OSError, ValueError):
            return {}

    def begin(self, **note) -> None:
        """Start again with an empty part and this note."""
        self.forget()
        store.write_json(self._note, note)

    def open(self, start: int) -> BinaryIO:
        """Open the part to write from byte `start` on."""
        file = open(self.path, 'r+b' if start else 'wb')
        file.truncate(start)
        file.seek(start)
        return file

    def check(self, check: Callable | None = None, size: int | None = None,
              hash: str | None = None) -> None:
        """Raise ValueError unless the part has this size and SHA-256, and check(path) accepts it.
        """
        if size is not None and self.length != size:
            raise ValueError(f'has {self.length} bytes, not {size}')
        if hash is not None and self.sha256() != hash.lower():
            raise ValueError(f'has another SHA-256 than {hash}')
        if check is not None:
            try:
                check(self.path)
            except ValueError as error:
                raise ValueError(str(error).removeprefix(f'{self.path}: ')) from None

    def sha256(self) -> str:
        """Return the SHA-256 of the part, in hex."""
        return store.sha256(self.path)

    def finish(self) -> None:
        """Rename the part to the final file."""
        os.replace(self.path, self.whole)
        self.forget()

    def forget(self) -> None:
        """Remove the part and its note."""
        for path in (self.path, self._note):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
