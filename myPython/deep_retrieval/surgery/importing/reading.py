"""Checkpoints, read without running code that is in them.

`read_tensors` takes PyTorch's own reader with `weights_only`. `read_checkpoint` is for files with
more than tensors in them; see `unpickling.py` for what it accepts.
"""

import os
import re
import zipfile

import numpy as np

from deep_retrieval.surgery import torch_import

REFUSED = re.compile(r'GLOBAL ([\w.]+)')


def read_tensors(file: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the tensors of a .pth or .safetensors file by name; see `torch_import.read_tensors`.

    Raises
    ------
    FileNotFoundError, ValueError, RuntimeError
        As there. TorchScript, and a file with code in it, are refused; the message names the type.
    """
    refuse_torchscript(file)
    try:
        state = torch_import.read_tensors(file)
    except ValueError as error:
        reason = error.__cause__
        refused = REFUSED.search(str(reason)) if reason else None
        if refused:
            raise ValueError(f'{file}: holds {refused[1]}, which is code and not a tensor; it is '
                             'refused') from error
        raise
    if not state:
        raise ValueError(f'{file}: holds no tensors')
    return state


def refuse_torchscript(file: str | os.PathLike) -> None:
    """Raise ValueError for a TorchScript file, which is code."""
    if is_torchscript(file):
        raise ValueError(f'{file}: is TorchScript, which is code; only `import sscd --trust` reads '
                         'it')


def is_torchscript(file: str | os.PathLike) -> bool:
    """Return whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(file):
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith('/constants.pkl') for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def state_of(checkpoint: dict, file: str | os.PathLike) -> dict[str, np.ndarray]:
    """Return the tensors of a checkpoint's `state_dict` as float32, without `module.` before names.

    Raises
    ------
    ValueError
        The checkpoint has no `state_dict`.
    """
    state = checkpoint.get('state_dict')
    if not isinstance(state, dict):
        raise ValueError(f'{file}: has no state_dict')
    return {name.removeprefix('module.'): np.asarray(value, np.float32)
            for name, value in state.items() if isinstance(value, np.ndarray)}


def numbers(values: object, count: int, what: str) -> tuple[float, ...]:
    """Return values of a checkpoint as `count` floats; ValueError names `what` they should be."""
    try:
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        found = ()
    if len(found) != count:
        raise ValueError(f'{what} must be {count} numbers, not {values!r}')
    return found
