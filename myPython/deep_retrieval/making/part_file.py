"""The part of a file that is being fetched, and a note of what it is a part of.

    part = Part('paris_1-v1.tgz')       # paris_1-v1.tgz.part and paris_1-v1.tgz.part.json
"""

import contextlib
import json
import os

from deep_retrieval.files import write_aside
from deep_retrieval.store import sha256


class Part:
    """The part of the file `path`; `note` is a dict with its url, validator and total bytes."""

    def __init__(self, path):
        self.whole, self.path, self._note = path, f'{path}.part', f'{path}.part.json'

    @property
    def length(self):
        """Bytes that are there."""
        try:
            return os.path.getsize(self.path)
        except OSError:
            return 0

    @property
    def note(self):
        try:
            with open(self._note, encoding='utf-8') as file:
                note = json.load(file)
            return note if isinstance(note, dict) else {}
        except (OSError, ValueError):
            return {}

    def begin(self, **note):
        """Begin anew."""
        self.forget()
        write_aside(self._note, lambda file: file.write(json.dumps(note).encode()))

    def open(self, start):
        """The file, to write from byte `start` on."""
        file = open(self.path, 'r+b' if start else 'wb')
        file.truncate(start)
        file.seek(start)
        return file

    def check(self, check=None, size=None, hash=None):
        """Raise ValueError unless the file has these bytes, this sha256, and passes check(path)."""
        if size is not None and self.length != size:
            raise ValueError(f'has {self.length} bytes, not {size}')
        if hash is not None and self.sha256() != hash.lower():
            raise ValueError(f'has another sha256 than {hash}')
        if check is not None:
            try:
                check(self.path)
            except ValueError as error:
                raise ValueError(str(error).removeprefix(f'{self.path}: ')) from None

    def sha256(self):
        return sha256(self.path)

    def finish(self):
        """Give the file its name."""
        os.replace(self.path, self.whole)
        self.forget()

    def forget(self):
        """Remove part and note."""
        for path in (self.path, self._note):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
