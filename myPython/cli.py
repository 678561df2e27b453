"""What every script does alike: errors in one line, and the choice of a device."""

import argparse
import sys
from contextlib import contextmanager

import caffe


@contextmanager
def user_errors():
    """Turn an error that the user can mend into one line on stderr and exit status 1."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        fail(error)
    except KeyboardInterrupt:
        warn('interrupted')
        sys.exit(130)


def fail(error):
    """Print an error as one line on stderr and exit with status 1."""
    if isinstance(error, OSError) and error.filename is not None:
        error = f'{error.filename}: {error.strerror}'
    warn(' '.join(str(error).split()))
    sys.exit(1)


def warn(message):
    """Print a message on stderr, after the script's name."""
    print(f'{sys.argv[0].rpartition("/")[2]}: {message}', file=sys.stderr)


def use_device(gpu):
    """Compute on the GPU of this number, or on the CPU for -1, or, with a warning, without it."""
    if gpu >= 0:
        try:
            caffe.set_device(gpu)
            caffe.set_mode_gpu()
            return
        except RuntimeError as error:
            warn(f'{error}; computing on the CPU')
    caffe.set_mode_cpu()


def positive(text):
    """An argparse type: an integer from 1 on."""
    return _at_least(1, text)


def natural(text):
    """An argparse type: an integer from 0 on."""
    return _at_least(0, text)


def _at_least(least, text):
    try:
        value = int(text)
    except ValueError:
        value = None
    if value is None or value < least:
        raise argparse.ArgumentTypeError(f'{text!r} is no integer from {least} on')
    return value
