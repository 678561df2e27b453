"""Files and folders that appear whole: they are made aside, then renamed.

What is being written to `x.npy` stands in `x.npy.aside`, and what is to become the folder `x` in
`.x.aside`. The process that writes there holds a lock on it (flock), which ends with the process;
whatever is found there without a lock was left behind by a killed run.
"""

from __future__ import annotations  # Debian 11, which has genuine pycaffe, has 3.9

import errno
import io
import os
import re
import shutil
import stat
from collections.abc import Callable
from contextlib import contextmanager, suppress

from .lock import lock, unlock

ASIDE = '.aside'
LINK = '.link' + ASIDE  # of a hard link, which cannot be locked apart from its source
# open files of a process: they are written to as they are, or the process would lose them
OPEN_FILES = re.compile(r'/dev/(std(out|err)|fd/\d+)|/proc/(self|thread-self|\d+)/fd/\d+')

NO_FILE = (errno.ELOOP, errno.ENXIO, errno.EACCES)  # a link, a socket, not ours: no run of ours


class StoreError(ValueError):
    """A file or folder that cannot be used or written; one line that names it."""


def write(path: str, content: bytes | str | Callable) -> None:
    """Write a file, whole or not at all; missing parent folders are made.

    A regular file is replaced and keeps its permissions. A symbolic link stays, and its target is
    replaced. A device or FIFO is written to. Of two processes that write one path, the second
    waits for the first.

    Parameters
    ----------
    path : str or PathLike
    content : bytes, str or callable
        A str is encoded as file names are. A callable gets a binary file that can seek.

    Raises
    ------
    OSError
        Its `filename` is `path`, unless `content` met an error with another file.
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
    """Remove what killed runs left in a folder: all `*.aside` that no living process writes.

    A folder that `replace_folder` had moved away, but not yet replaced, is brought back.
    """
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.startswith('.') and name.endswith(2 * ASIDE):
            recover(os.path.join(folder, name[1:].removesuffix(2 * ASIDE)))
        elif name.endswith(ASIDE):
            discard(path, wait=False)


def place(source: str, path: str, link: bool = False) -> None:
    """Copy a file to `path`, or make a hard link to it where that is possible; it appears whole.

    Raises
    ------
    OSError
        Its `filename` is that of the file, source or copy, that is the cause.
    """
    if not (link and _place_link(source, os.fspath(path))):
        with open(source, 'rb') as file:
            discard(os.path.realpath(path) + LINK)
            write(path, lambda copy: shutil.copyfileobj(file, copy))


@contextmanager
def replace_folder(folder: str):
    """Yield a new, hidden folder that takes the place of `folder` when the block ends well.

    If the block raises, `folder` stays as it was. What a killed run left is removed first.

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
    """Finish or undo a replacement of `folder` that was killed, so that nothing is left over.

    While a living process replaces it, nothing happens.
    """
    folder = os.path.realpath(folder)
    if discard(_hidden(folder), wait=False):
        _bring_back(_hidden(folder) + ASIDE, folder)


@contextmanager
def scratch(path: str):
    """Yield a hidden folder beside `path` for temporary files; it is removed in the end.

    What a killed run left in it is removed first.

    Raises
    ------
    StoreError
        Another process uses it, since it makes `path` too.
    """
    folder = _hidden(os.path.realpath(path))
    with named(path, folder):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
    with _claimed(folder, _new_folder, wait=False):
        yield folder


def check_folder(folder: str, ours: re.Pattern, overwrite: bool | None = None,
                 what: str = 'a folder') -> None:
    """Check that a folder, if it exists, holds nothing but what its writer puts there.

    Parameters
    ----------
    folder : str
    ours : re.Pattern
        Matches the whole names of the entries that the writer makes. `*.aside` is known anyway.
    overwrite : bool, optional
        Accept other entries too. With False, the message offers --overwrite; with None, whoever
        calls has no such option.
    what : str
        What is to be written there, for the message where a file is in the way.

    Raises
    ------
    StoreError
        The folder holds another entry, or is a file.
    """
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise StoreError(f'{folder}: is a file, where {what} should go; give another folder')
    if overwrite or not os.path.isdir(folder):
        return
    others = [name for name in os.listdir(folder)
              if not ours.fullmatch(name) and not name.endswith(ASIDE)]
    if others:
        or_that = '' if overwrite is None else ', or --overwrite'
        raise StoreError(f'{folder}: holds something else ({min(others)}); give another folder'
                         + or_that)


@contextmanager
def named(path, *others):
    """Let an OSError about `path` (`others` are files made for it, or nameless) carry its name."""
    try:
        yield
    except OSError as error:
        file = error.filename
        if isinstance(file, (str, bytes, os.PathLike)):
            file = os.fsdecode(file)
            ours = [whole for part in (path, *others) for whole in (part, part + ASIDE)]
            # also an error about a folder on the way
            if file not in ours and not any(map(os.path.join(file, '').__eq__, _parents(ours))):
                raise
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), path) from error


def is_at(descriptor: int, path: str) -> bool:
    """Whether an open file is the one that stands at `path`."""
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
    """The type bits of what stands at `path`, 0 where nothing does; refuses what is no file."""
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
    with suppress(PermissionError):     # only root may give a file away
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))


def _place_link(source, path):
    """Put a hard link to `source` at `path`; returns whether that worked."""
    os.stat(source)
    target = os.path.realpath(path)
    # a link that stays, a device: see write
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        return False
    second = target + LINK
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with _claimed(target + ASIDE, _new_file):
            discard(second)
            os.link(os.path.realpath(source), second)
            os.replace(second, target)
            discard(second)    # renaming a file to another name of itself does nothing
    except OSError:     # another disk, or one without hard links
        return False
    return True


@contextmanager
def _claimed(aside, create, wait=True):
    """Yield a descriptor of the new, locked file or folder at `aside`; removed if still there."""
    while True:
        if not discard(aside, wait):
            raise StoreError(f'{aside}: another process is writing it; wait until it has ended')
        try:
            descriptor = create(aside)
        except FileExistsError:
            continue
        # until it is locked, another process may take it for a leftover
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


def discard(aside, wait=True):
    """Remove a leftover, if there is one; returns False if a living process holds it.

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
        return os.open(path, os.O_RDWR | flags)     # some network disks lock nothing less
    except (IsADirectoryError, PermissionError):
        return os.open(path, os.O_RDONLY | flags)


def _remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _bring_back(old, folder):
    """Undo half a replacement: of `folder` and the one it replaces, one is whole."""
    if os.path.lexists(folder):
        _remove(old)
    elif os.path.lexists(old):
        os.rename(old, folder)
