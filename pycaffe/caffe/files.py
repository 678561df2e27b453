"""Write files under a temporary name and rename them; read files; report errors in one line."""

import errno
import fcntl
import os
import shutil
from contextlib import contextmanager, suppress

from google.protobuf.message import DecodeError

from .errors import CaffeError

ASIDE = '.aside'
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EBADF)    # file systems without locks


def write_aside(path, chunks):
    """Write the byte strings `chunks` to a temporary file beside `path`, then rename it."""
    try:
        with aside_of(path) as temporary:
            with open(temporary, 'wb') as file:
                for chunk in chunks:
                    file.write(chunk)
            os.replace(temporary, path)
    except OSError as error:
        raise CaffeError(f'{path}: {error.strerror}') from None


@contextmanager
def aside_of(path, folder=False):
    """Yield the path of an empty file or folder beside `path`, for the block to fill and rename.

    It is removed if it still exists at the end. Its name is derived from `path`, so the leftovers
    of a killed process are reused and do not pile up. A lock makes a second process that writes
    `path` wait for the first; it is released when its process ends.
    """
    parent, name = os.path.split(os.path.abspath(path))
    aside = os.path.join(parent, f'.{name}{ASIDE}' if folder else name + ASIDE)
    descriptor = _claim(aside, folder)
    try:
        yield aside
    finally:
        if _is_at(descriptor, aside):
            shutil.rmtree(aside, ignore_errors=True) if folder else os.unlink(aside)
        os.close(descriptor)


def _claim(aside, folder):
    """Create or empty the file or folder, lock it, and return its descriptor."""
    while True:
        if folder:
            with suppress(FileExistsError):
                os.mkdir(aside)
        try:
            descriptor = os.open(aside, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:   # another process has just removed or renamed it
            if not os.path.isdir(os.path.dirname(aside)):
                raise
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(descriptor)
                raise
        if _is_at(descriptor, aside):
            break
        os.close(descriptor)
    if folder:
        for name in os.listdir(aside):
            os.unlink(os.path.join(aside, name))
    else:
        os.truncate(descriptor, 0)
    return descriptor


def _is_at(descriptor, path):
    """Whether an open file or folder is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def read_message(path, message, what):
    """Parse the binary file `path` into `message` and return it; CaffeError if it is not `what`."""
    try:
        with open(path, 'rb') as file:
            message.ParseFromString(file.read())
    except OSError as error:
        raise CaffeError(f'{path}: {error.strerror}') from None
    except DecodeError:
        raise CaffeError(f'{path}: is not a {what}, or is truncated') from None
    return message


def read_text(path):
    """Read a text file of file names; CaffeError if it cannot be read.

    Names that are not UTF-8 are kept unchanged (surrogateescape), as file names are bytes.
    """
    try:
        with open(path, encoding='utf-8', errors='surrogateescape') as file:
            return file.read()
    except OSError as error:
        raise CaffeError(f'{path}: {error.strerror}') from None


def is_hdf5(path):
    """Whether the file begins with the signature of HDF5."""
    try:
        with open(path, 'rb') as file:
            return file.read(8) == b'\x89HDF\r\n\x1a\n'
    except OSError as error:
        raise CaffeError(f'{path}: {error.strerror}') from None


@contextmanager
def naming(place):
    """Prefix the message of a CaffeError with the place where it occurred."""
    try:
        yield
    except CaffeError as error:
        # keep the traceback, which may lead into a user's Python layer
        raise CaffeError(f'{place}: {error}').with_traceback(error.__traceback__) from None
