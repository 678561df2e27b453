"""Write files and folders atomically: under a temporary name, then renamed.

The file `x.npy` is written as `x.npy.aside`, and the folder `x` as `.x.aside`. The writing process
holds a lock on it (flock), which is released when the process ends; a file without a lock was left
by a killed run.
"""

from __future__ import annotations  # for Python 3.9 of Debian 11, which has genuine pycaffe

import errno
import io
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .lock import lock, unlock

ASIDE = '.aside'
LINK = '.link' + ASIDE  # of a hard link, which cannot be locked independently of its source
# open files of a process: written to directly, because the process would lose them if replaced
OPEN_FILES = re.compile(r'/dev/(std(out|err)|fd/\d+)|/proc/(self|thread-self|\d+)/fd/\d+')

NO_FILE = (errno.ELOOP, errno.ENXIO, errno.EACCES)  # a link, a socket, no access: not from our runs


class StoreError(ValueError):
    """A file or folder cannot be used or written; the one-line message names it."""


def write(path: str, content: bytes | str | Callable) -> None:
    """Write a file atomically; missing parent folders are created.

    A regular file is replaced and keeps its permissions. A symbolic link is kept, and its target
    is replaced. A device or FIFO is written to directly. If two processes write the same path, the
    second waits for the first.

    Parameters
    ----------
    path : str or PathLike
    content : bytes, str or callable
        A str is encoded like file names. A callable gets a binary file that can seek.

    Raises
    ------
    OSError
        Its `filename` is `path`, unless `content` raised it for another file.
    StoreError
        `path` is a socket.
    """
    path = os.fspath(path)
    target = os.path.realpath(path)
    with named(path, target):
        mode = _mode(path)
        if mode and (not stat.S_ISREG(mode) or OPEN_FILES.fullmatch(os.path.abspath(path))):
            return _write_directly(path, mode, content)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with _claimed(target + ASIDE, _new_file) as descriptor:
            with os.fdopen(descriptor, 'w+b', closefd=False) as file:
                _fill(file, content)
            _keep_permissions(descriptor, target)
            os.replace(target + ASIDE, target)


def clean(folder: str) -> None:
    """Remove the leftovers of killed runs in a folder: all `*.aside` that no process is writing.

    A folder that `replace_folder` had moved away, but not yet replaced, is restored.
    """
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.startswith('.') and name.endswith(2 * ASIDE):
            recover(os.path.join(folder, name[1:].removesuffix(2 * ASIDE)))
        elif name.endswith(ASIDE):
            discard(path, wait=False)


def place(source: str, path: str, link: bool = False) -> None:
    """Copy a file to `path` atomically; with `link`, make a hard link if possible.

    Raises
    ------
    OSError
        Its `filename` is the source or the copy, whichever caused it.
    """
    if not (link and _place_link(source, os.fspath(path))):
        with open(source, 'rb') as file:
            discard(os.path.realpath(path) + LINK)
            write(path, lambda copy: shutil.copyfileobj(file, copy))


@contextmanager
def replace_folder(folder: str) -> Iterator[str]:
    """Yield a new, hidden folder that replaces `folder` if the block succeeds.

    If the block raises, `folder` is unchanged. Leftovers of a killed run are removed first.

    Raises
    ------
    StoreError
        `folder` is a file, or another process is making it.
    """
    folder = os.path.realpath(folder)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise StoreError(f'{folder}: is a file; give another folder')
    new = _hidden(folder)
    old = new + ASIDE
    with named(folder, new):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
    with _claimed(new, _new_folder, wait=False):
        _bring_back(old, folder)
        yield new
        try:
            with named(folder, new):
                if os.path.isdir(folder):
                    shutil.copymode(folder, new)
                    os.rename(folder, old)
                os.rename(new, folder)
        finally:
            _bring_back(old, folder)


def recover(folder: str) -> None:
    """Finish or undo a replacement of `folder` that was killed.

    If a running process is replacing it, nothing is done.
    """
    folder = os.path.realpath(folder)
    if discard(_hidden(folder), wait=False):
        _bring_back(_hidden(folder) + ASIDE, folder)


@contextmanager
def scratch(path: str) -> Iterator[str]:
    """Yield a hidden folder beside `path` for temporary files; it is removed at the end.

    Leftovers of a killed run are removed first.

    Raises
    ------
    StoreError
        Another process that also makes `path` is using it.
    """
    folder = _hidden(os.path.realpath(path))
    with named(path, folder):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
    with _claimed(folder, _new_folder, wait=False):
        yield folder


def check_folder(folder: str, ours: re.Pattern, overwrite: bool | None = None,
                 what: str = 'a folder') -> None:
    """Check that a folder, if it exists, only contains files of its writer.

    Parameters
    ----------
    folder : str
    ours : re.Pattern
        Matches the full names of the writer's files. `*.aside` is always accepted.
    overwrite : bool, optional
        Accept other files too. If False, the message suggests --overwrite; None if the caller has
        no such option.
    what : str
        What is to be written there, for the message if `folder` is a file.

    Raises
    ------
    StoreError
        The folder has other files, or is a file.
    """
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise StoreError(f'{folder}: is a file, where {what} should go; give another folder')
    if overwrite or not os.path.isdir(folder):
        return
    others = [name for name in os.listdir(folder)
              if not ours.fullmatch(name) and not name.endswith(ASIDE)]
    if others:
        or_that = '' if overwrite is None else ', or --overwrite'
        raise StoreError(f'{folder}: contains other files ({min(others)}); give another folder'
                         + or_that)


@contextmanager
def named(path: str, *others) -> Iterator[None]:
    """Set the filename of an OSError about `path`, or about `others`, which are made for it."""
    try:
        yield
    except OSError as error:
        file = error.filename
        if isinstance(file, (str, bytes, os.PathLike)):
            file = os.fsdecode(file)
            ours = [whole for part in (path, *others) for whole in (part, part + ASIDE)]
            # also for an error about a parent folder
            if file not in ours and not any(map(os.path.join(file, '').__eq__, _parents(ours))):
                raise
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), path) from error


def is_at(descriptor: int, path: str) -> bool:
    """Whether an open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _hidden(folder):
    parent, name = os.path.split(folder)
    return os.path.join(parent, f'.{name}{ASIDE}')


def _parents(paths):
    return {path[:i + 1] for path in paths for i, letter in enumerate(path) if letter == '/'}


def _mode(path):
    """Return the type bits of `path`, 0 if it does not exist; StoreError for a socket."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return 0
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if stat.S_ISSOCK(mode):
        raise StoreError(f'{path}: is a socket; give a file')
    return mode


def _write_directly(path, mode, content):
    buffer = io.BytesIO()   # a FIFO cannot seek
    _fill(buffer, content)
    append = 0 if stat.S_ISBLK(mode) else os.O_APPEND
    with open(os.open(path, os.O_WRONLY | append), 'wb') as file:
        file.write(buffer.getbuffer())


def _fill(file, content):
    if callable(content):
        content(file)
    else:
        file.write(os.fsencode(content) if isinstance(content, str) else content)


def _keep_permissions(descriptor, target):
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return
    with suppress(PermissionError):     # only root may change the owner
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))


def _place_link(source, path):
    """Make a hard link to `source` at `path`; return whether that worked."""
    os.stat(source)
    target = os.path.realpath(path)
    # a link that is kept, or a device: see write
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        return False
    second = target + LINK
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with _claimed(target + ASIDE, _new_file):
            discard(second)
            os.link(os.path.realpath(source), second)
            os.replace(second, target)
            discard(second)    # renaming a file to another of its links does nothing
    except OSError:     # another disk, or one without hard links
        return False
    return True


@contextmanager
def _claimed(aside, create, wait=True):
    """Yield the descriptor of a new, locked file or folder at `aside`; remove it at the end if it
    still exists."""
    while True:
        if not discard(aside, wait):
            raise StoreError(f'{aside}: another process is writing it; wait until it has ended')
        try:
            descriptor = create(aside)
        except FileExistsError:
            continue
        # before it is locked, another process may mistake it for a leftover
        if lock(descriptor) and is_at(descriptor, aside):
            break
        os.close(descriptor)
    try:
        yield descriptor
    finally:
        if is_at(descriptor, aside):
            _remove(aside)
        unlock(descriptor)


def _new_file(path):
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)


def _new_folder(path):
    os.mkdir(path)
    return os.open(path, os.O_RDONLY)


def discard(aside: str, wait: bool = True) -> bool:
    """Remove a leftover, if there is one; return False if a running process holds it.

    wait : wait for that process instead
    """
    try:
        descriptor = _open_any(aside)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in NO_FILE:
            raise
        _remove(aside)
        return True
    try:
        if not lock(descriptor, wait):
            return False
        if is_at(descriptor, aside):
            _remove(aside)
        return True
    finally:
        unlock(descriptor)


def _open_any(path):
    flags = os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, os.O_RDWR | flags)     # some network file systems require it for locks
    except (IsADirectoryError, PermissionError):
        return os.open(path, os.O_RDONLY | flags)


def _remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _bring_back(old, folder):
    """Undo an incomplete replacement: restore the old folder if `folder` does not exist."""
    if os.path.lexists(folder):
        _remove(old)
    elif os.path.lexists(old):
        os.rename(old, folder)
