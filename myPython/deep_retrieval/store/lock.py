"""Locks that hold between processes and end with them."""

import errno
import fcntl
import os
from contextlib import contextmanager, suppress

LOCK = '.lock'
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EBADF)    # of a disk without them


class Locks:
    """Numbered locks of a folder, which is made if need be.

    They hold between processes and, on network disks that have locks, between machines. They end
    with the process that holds them.

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
    def held(self, number: int, wait: bool = True):
        """Hold lock `number`; yields False if another process has it and `wait` is False.

        Raises
        ------
        OSError
            The disk has no locks.
        """
        held = True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, number)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise OSError(error.errno, f'{error.strerror}: cannot lock it; use a disk that '
                              'has locks', self._path) from error
            held = False
        try:
            yield held
        finally:
            if held:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)


def lock(descriptor: int, wait: bool = True) -> bool:
    """Lock an open file; returns False if another process has it. Disks without locks grant it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True


def unlock(descriptor: int) -> None:
    """Unlock an open file, also for child processes that were forked meanwhile, and close it."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
