"""Find input files by extension, and report errors of the libraries that read them in one line."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

PROGRAMMING = (NameError, ImportError, AssertionError)
UNREADABLE = (FileNotFoundError, PermissionError, IsADirectoryError)
LONGEST = 300   # maximum length of a reason in characters


@contextmanager
def reading(path: str, what: str = '') -> Iterator[None]:
    """Turn any error that a library raises while reading `path` into a ValueError naming the file.

    Protobuf, h5py, NumPy, zlib, OpenCV, YAML and others all raise different errors for a damaged
    file. Errors that already name the file, errors about a missing file or permission, and
    programming errors (NameError, ImportError, AssertionError) are not changed.

    Parameters
    ----------
    path : str or PathLike
    what : str
        What the file should be, with an article: 'a caffemodel'.

    Raises
    ------
    ValueError
        'PATH: is damaged or is not a caffemodel (REASON)'
    """
    path = os.fspath(path)
    try:
        yield
    except PROGRAMMING:
        raise
    except Exception as error:
        names_a_file = isinstance(error, OSError) and error.filename is not None
        if str(error).startswith(path) or names_a_file:
            raise
        if isinstance(error, UNREADABLE) and error.errno:   # h5py does not name the file
            raise OSError(error.errno, os.strerror(error.errno), path) from error
        kind = f' or is not {what}' if what else ''
        raise ValueError(f'{path}: is damaged{kind} ({_reason(error)})') from error


def find(folder: str, extensions: Iterable[str]) -> list[str]:
    """List the files in a folder, recursively, with one of `extensions` in upper or lower case.

    Hidden files and folders are left out. Symbolic links are followed, except those to a folder
    that contains them. Subfolders that cannot be read are left out with a warning.

    Returns
    -------
    list of str
        Paths relative to `folder`, with slashes, sorted.

    Raises
    ------
    OSError
        `folder` itself cannot be read.
    """
    folder = os.fspath(folder)
    names, above = [], {folder: {_identity(folder)}}

    def refuse(error):
        if error.filename == folder:
            raise error
        logger.warning('%s: left out: %s', error.filename, error.strerror)

    for path, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        inside = above.pop(path)
        folders[:] = [name for name in folders if not name.startswith('.')
                      and _identity(os.path.join(path, name)) not in inside]
        for name in folders:
            below = os.path.join(path, name)
            above[below] = inside | {_identity(below)}
        start = '' if path == folder else os.path.relpath(path, folder) + '/'
        names += [start + name for name in files
                  if name.lower().endswith(tuple(extensions)) and not name.startswith('.')]
    return sorted(names)


def leads_out(name: str) -> bool:
    """Whether a name that should be relative to a folder leads out of it."""
    return os.path.isabs(name) or '..' in name.split('/')


def lies_in(path: str, folder: str) -> bool:
    """Whether a path is a folder, or lies in it; symbolic links are followed."""
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([path, folder]) == folder


def _identity(path):
    try:
        status = os.stat(path)
    except OSError:
        return None     # reading it fails too
    return status.st_dev, status.st_ino


def _reason(error):
    """Return the first non-empty line of an error's text, or its type."""
    if isinstance(error, KeyError):
        return f'{error} is missing'
    lines = (' '.join(line.split()) for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:LONGEST]
