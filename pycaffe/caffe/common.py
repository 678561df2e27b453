"""Caffe's global state: mode, device and random numbers (common.hpp)."""

import ctypes
import sys
from contextlib import contextmanager

import torch

from .errors import CaffeError

TRAIN, TEST = 0, 1


def keep_freed_memory() -> None:
    """Make this process keep the memory of freed blobs and reuse it for new ones.

    A forward pass frees and allocates tens of MB at a time, and getting these pages from the system
    again takes up to a sixth of its time. The call changes glibc's malloc for the whole process, so
    importing caffe does not make it, only command-line scripts do. It has no effect without glibc.
    """
    if sys.platform != 'linux':
        return
    mmap_threshold, trim_threshold = -3, -1     # constants of <malloc.h>
    libc = ctypes.CDLL(None)
    if hasattr(libc, 'mallopt'):
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)


@contextmanager
def full_float32():
    """Compute in full float32 on a GPU, as Caffe does: torch may round inputs to TF32.

    The flags are torch's and process-wide, so they are restored afterwards.
    """
    if not _State.gpu:
        yield
        return
    places = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = False
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value


class _State:
    gpu = False         # the mode
    device_id = 0
    generator = torch.Generator()
    shared_seed = 0
    solver_count = 1    # processes that train together
    solver_rank = 0


def set_mode_cpu():
    """Compute on the CPU from the next call on."""
    _State.gpu = False


def set_mode_gpu():
    """Compute on the GPU chosen by `set_device` from the next call on.

    Raises CaffeError if torch does not find that GPU.
    """
    _check_device(_State.device_id)
    _State.gpu = True


def set_device(device_id):
    """Choose the GPU by its number; it is used when the mode is GPU."""
    _check_device(device_id)
    _State.device_id = device_id


def device():
    """The torch.device that layers compute on now."""
    return torch.device('cuda', _State.device_id) if _State.gpu else torch.device('cpu')


def set_random_seed(seed, shared=None):
    """Seed all random numbers (fillers, dropout), so that a run can be repeated.

    `shared` (default: `seed`) seeds the numbers that must be equal in all processes of a parallel
    training.
    """
    _State.generator.manual_seed(seed)
    _State.shared_seed = seed if shared is None else shared


def shared_seed():
    """The seed of the random numbers that are equal in all processes of a parallel training."""
    return _State.shared_seed


def generator():
    """The torch.Generator (CPU) behind every random number of the engine."""
    return _State.generator


def solver_count():
    """How many processes train together."""
    return _State.solver_count


def solver_rank():
    """The rank of this process among those that train together, from 0."""
    return _State.solver_rank


def set_solver_count(count):
    """Set how many processes train together; a Data layer then reads its share of the records."""
    _State.solver_count = count


def set_solver_rank(rank):
    """Set the rank of this process, from 0; only rank 0 writes snapshots."""
    _State.solver_rank = rank


def set_multiprocess(multiprocess):
    """Accepted for compatibility with pycaffe; training together always uses processes."""


def _check_device(device_id):
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not 0 <= device_id < count:
        raise CaffeError(f'there is no GPU {device_id}: torch {torch.__version__} '
                         f'sees {count or "none"}')
