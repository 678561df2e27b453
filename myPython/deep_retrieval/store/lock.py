"""Locks between processes, released when the process ends."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LOCK = '.lock'
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EBADF)    # file systems without locks


class Locks:
    """Numbered locks of a folder, which is created if necessary.

    They work between processes and, on network file systems with locks, between machines. They are
    released when the process that holds them ends.

    Parameters
    ----------
    folder : str
    """

    def __init__(self, folder: str):
        self._path = os.path.join(folder, LOCK)

    def __enter__(self):
        os.makedirs(os.path.dirname(self._path) or '.', exist_ok=True)
        self._file = open(self._path, 'ab')
        return self

    def __exit__(self, *error):
        self._file.close()

    @contextmanager
    def held(self, number: int, wait: bool = True) -> Iterator[bool]:
        """Hold lock `number`; yields False if another process has it and `wait` is False.

        Raises
        ------
        OSError
            The file system has no locks.
        """
        held = True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, number)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise OSError(error.errno, f'{error.strerror}: cannot lock it; use a file system '
                              'with locks', self._path) from error
            held = False
        try:
            yield held
        finally:
            if held:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)


def lock(descriptor: int, wait: bool = True) -> bool:
    """Lock an open file; return False if another process has it. Ignored if locks do not exist."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True


def unlock(descriptor: int) -> None:
    """Unlock and close an open file, also for child processes that were forked meanwhile."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
