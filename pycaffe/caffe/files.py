"""Write files aside and rename them; read files; report errors in one line."""

import os
import tempfile
from contextlib import contextmanager

from google.protobuf.message import DecodeError

from .errors import CaffeError


def write_aside(path, chunks):
    """Write the byte strings `chunks` to a temporary file beside `path`, then rename it."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=os.path.basename(path) + '.')
    except OSError as error:
        raise CaffeError(f'{path}: {error.strerror}') from None
    try:
        with os.fdopen(handle, 'wb') as file:
            for chunk in chunks:
                file.write(chunk)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)     # mkstemp's mode would make it unreadable for others
        os.replace(temporary, path)
    except OSError as error:
        raise CaffeError(f'{path}: {error.strerror}') from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


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
    """The text of a file of names; CaffeError if it cannot be read.

    File names are bytes, so names that are not UTF-8 are kept as they are.
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
    """Make a CaffeError begin with the place where it occurred."""
    try:
        yield
    except CaffeError as error:
        # with the traceback, which may lead into a user's Python layer
        raise CaffeError(f'{place}: {error}').with_traceback(error.__traceback__) from None
