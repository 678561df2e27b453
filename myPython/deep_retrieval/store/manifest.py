"""Notes that say what a file or folder was made from, with hashes of the files they describe.

    note = Manifest.inside('tmp/features')
    if not note.check({'weights': sha256(weights), 'S': 800}, otherwise='redo'):
        ...                                                 # compute it
"""

from __future__ import annotations  # for Python 3.9 of Debian 11, which has genuine pycaffe

import hashlib
import json
import logging
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from .atomic import ASIDE, StoreError, discard, is_at, write

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

_hashes = {}    # (path, inode, size, time of change) -> sha256 of files hashed by this process


def read_json(path: str) -> dict:
    """Read a JSON object from a file; ValueError if it is anything else."""
    with _open(path) as file:
        try:
            found = json.load(file)
        except (ValueError, RecursionError):
            found = None
    if not isinstance(found, dict):
        raise StoreError(f'{path}: is damaged: not a JSON object')
    return found


def write_json(path: str, value: object) -> None:
    """Write a value as JSON, one entry per line."""
    write(path, _text(value))


def sha256(path: str) -> str:
    """Return the SHA-256 of a file, in hex."""
    with _open(path) as file:
        return _sha256(file)


def has_sha256(path: str, digest: str | None) -> bool:
    """Whether a file has this hash; an unchanged file is hashed once per process."""
    with _open(path) as file:
        return _sha256(file, known=True) == digest


class Manifest:
    """A note about a file or folder, a JSON object.

    The key 'made_from' is a dict of what it was made from. The key 'files' has the SHA-256 of the
    described files (for an .npy also shape and dtype), by their names relative to the note's
    folder. The note is written last: if a run is killed between a file and its note, the file does
    not match the note and is never used.

    Parameters
    ----------
    path : str
        The note.
    """

    def __init__(self, path: str):
        self.path = self.about = os.fspath(path)    # about: the path named in messages
        self._own = ()      # files that must be described

    @classmethod
    def beside(cls, file: str) -> Manifest:
        """Return the note STEM.json beside a file, which it always describes."""
        file = os.fspath(file)
        manifest = cls(os.path.splitext(file)[0] + '.json')
        manifest.about, manifest._own = file, (file,)
        return manifest

    @classmethod
    def inside(cls, folder: str, name: str = 'manifest.json') -> Manifest:
        """Return the note in a folder."""
        manifest = cls(os.path.join(folder, name))
        manifest.about = os.fspath(folder)
        return manifest

    def write(self, made_from: Mapping, files: Iterable[str] | Mapping[str, bytes | Callable] = (),
              **extra) -> None:
        """Write the note, after the files that it describes.

        Parameters
        ----------
        made_from : dict
            JSON values.
        files : iterable of str, or dict of str to content
            Files to describe. Those of a dict are written first, as by `write`; processes that do
            this with the same note wait for each other, so that file and note match.
        **extra
            Further entries of the note; JSON values.
        """
        contents = files if isinstance(files, Mapping) else dict.fromkeys(files)

        def fill(note):
            for file, content in contents.items():
                if content is not None:
                    write(file, content)
            found = {self._name(file): _describe(file) for file in [*self._own, *contents]}
            text = _text({'made_from': dict(made_from), **extra, 'files': found})
            note.write(text.encode())

        write(self.path, fill)

    def note(self) -> dict | None:
        """Return the whole note, None if there is none; StoreError if it is damaged."""
        try:
            note = read_json(self.path)
        except FileNotFoundError:
            return None
        files = note.get('files')
        if not isinstance(note.get('made_from'), dict) or not isinstance(files, dict) or not all(
                isinstance(found, dict) for found in files.values()):
            raise StoreError(f'{self.path}: is damaged: does not say what it describes')
        return note

    def read(self) -> dict | None:
        """Return the recorded `made_from`, None without a note; StoreError if it is damaged."""
        note = self.note()
        return None if note is None else note['made_from']

    def differences(self, made_from: Mapping) -> list[str]:
        """Return the sorted keys whose values differ from the recorded ones; all if there is no
        note."""
        return _differences(self.read() or {}, made_from)

    def verify(self, file: str) -> None:
        """Raise StoreError unless a file has the recorded hash.

        A file is hashed once per process, and again if its size or time of change differs.
        """
        try:
            with _open(file) as opened:
                self._verify(opened)
        except FileNotFoundError:
            raise StoreError(f'{file}: there is no such file') from None

    def state(self, made_from: Mapping) -> str:
        """Return 'absent', 'same', 'other' (made from something else) or 'damaged'.

        The state is also 'absent' if a described file was removed.
        """
        return self._state(made_from)[0]

    def check(self, made_from: Mapping, otherwise: str = 'refuse') -> bool:
        """Return True if existing files can be used or resumed, False if they must be computed.

        Leftovers of a killed run are removed.

        Parameters
        ----------
        made_from : dict
            What the files must have been made from.
        otherwise : {'refuse', 'redo'}
            What to do if the files were made from something else or are damaged: raise StoreError,
            or warn and return False.

        Raises
        ------
        StoreError
            'PATH: was made with another S, weights; give another folder, or --overwrite'
        """
        if otherwise not in ('refuse', 'redo'):
            raise ValueError(f'otherwise is {otherwise!r}, but must be refuse or redo')
        state, reason = self._state(made_from)
        if reason and otherwise == 'refuse':
            raise StoreError(f'{reason}; give another folder, or --overwrite')
        if state == 'absent' and any(map(os.path.exists, self._own)):
            reason = f'{self.about}: nothing says what it was made from'
        if reason:
            logger.warning('%s; recomputing it', reason)
        for file in [self.path, *(self._described(self.note()) if state == 'same' else ())]:
            discard(os.path.realpath(file) + ASIDE, wait=False)
        return state == 'same'

    def _state(self, made_from):
        """Return the state, and a one-line reason for 'other' and 'damaged'."""
        try:
            note = self.note()
            if note is None:
                return 'absent', ''
            others = _differences(note['made_from'], made_from)
            if others:
                return 'other', f'{self.about}: was made with another {", ".join(others)}'
            files = self._described(note)
            if not all(map(os.path.exists, files)):
                return 'absent', ''
            for file in files:
                self.verify(file)
        except StoreError as error:
            return 'damaged', str(error)
        return 'same', ''

    def _verify(self, file):
        """Verify an open file, and return the whole note."""
        note = self.note()
        if note is None:
            raise StoreError(f'{file.name}: nothing says what it was made from: {self.path} is '
                             'missing')
        found = note['files'].get(self._name(file.name))
        if found is None and self._own and len(note['files']) == 1:
            found, = note['files'].values()     # file and note were renamed together
        if found is None:
            raise StoreError(f'{file.name}: is not described by {self.path}')
        if _sha256(file, known=True) != found.get('sha256'):
            raise StoreError(f'{file.name}: is damaged, or is not the file that {self.path} '
                             f'describes{_difference_of_form(file.name, found)}')
        return note

    def _described(self, note):
        """Return the files that the note describes, or should describe."""
        names = [os.path.join(os.path.dirname(self.path), name) for name in note['files']]
        return list(dict.fromkeys([*self._own, *names]))

    def _name(self, file):
        return os.path.relpath(file, os.path.dirname(self.path) or '.')


def save_array(path: str, array: np.ndarray, made_from: Mapping, **extra) -> None:
    """Write an array as .npy with its manifest STEM.json, which also gets the entries `extra`."""
    import numpy as np
    content = {path: lambda file: np.save(file, array, allow_pickle=False)}
    Manifest.beside(path).write(made_from, content, **extra)


def load_array(path: str, made_from: Mapping | None = None, mmap: bool = False) -> tuple:
    """Read an array written by `save_array`.

    Parameters
    ----------
    path : str
    made_from : dict, optional
        What the array must have been made from; by default this is not checked.
    mmap : bool
        Memory-map the array, read-only.

    Returns
    -------
    array : ndarray
    note : dict
        The whole note: `made_from`, `files` and the further entries.

    Raises
    ------
    StoreError
        The array or its note is missing, damaged, or was made from something else; one line.
    """
    import numpy as np
    manifest = Manifest.beside(path)
    try:
        with _open(path) as file:
            note = manifest._verify(file)
            others = [] if made_from is None else _differences(note['made_from'], made_from)
            if others:
                raise StoreError(f'{path}: was made with another {", ".join(others)}; remove it, '
                                 'or give another file')
            file.seek(0)
            array = np.load(path if mmap else file, 'r' if mmap else None, allow_pickle=False)
            # the file may have been replaced since it was verified
            if mmap and not is_at(file.fileno(), os.path.realpath(path)):
                raise StoreError(f'{path}: another process has just replaced it')
    except FileNotFoundError:
        raise StoreError(f'{path}: there is no such file') from None
    return array, note


def _open(path):
    """Open a file to read its bytes; StoreError if it is a FIFO or device, which may not end."""
    file = open(path, 'rb', opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise StoreError(f'{path}: is not a regular file; give another')
    return file


def _text(value):
    return json.dumps(value, indent=1) + '\n'


def _differences(found, wanted):
    wanted = json.loads(json.dumps(dict(wanted)))   # in the form in which it is read again
    return sorted(name for name in {*found, *wanted}
                  if (name in found, found.get(name)) != (name in wanted, wanted.get(name)))


def _sha256(file, known=False):
    """Hash an open file; with `known`, reuse this process's hash if the file is unchanged."""
    status = os.fstat(file.fileno())
    key = os.path.realpath(file.name), status.st_ino, status.st_size, status.st_mtime_ns
    if not known or key not in _hashes:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
        _hashes[key] = digest.hexdigest()
    return _hashes[key]


def _describe(path):
    digest = sha256(path)
    form = _form(path) if os.fspath(path).endswith('.npy') else {}
    return {'sha256': digest, **form}


def _form(path):
    """Return shape and dtype of an .npy as JSON values."""
    import numpy as np
    array = np.load(path, mmap_mode='r', allow_pickle=False)
    return {'shape': list(array.shape), 'dtype': np.lib.format.dtype_to_descr(array.dtype)}


def _difference_of_form(path, found):
    """Return how an .npy's shape and dtype differ, for a message."""
    if 'shape' not in found:
        return ''
    try:
        form = json.loads(json.dumps(_form(path)))
    except Exception:   # any error in NumPy means that it is damaged
        return ''
    return ''.join(f'; its {key} is {form[key]}, not {found[key]}' for key in ('shape', 'dtype')
                   if form[key] != found.get(key))
