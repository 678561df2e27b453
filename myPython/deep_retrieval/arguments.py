"""Arguments checked where they come in: one line that names the argument.

    whole('batch_size', 4, least=1)             # TypeError for '4', ValueError for 0
    finite('mean', [104, 117, 124], count=3)    # (104.0, 117.0, 124.0)
    folder('cache', 'tmp/holiday')
"""

from __future__ import annotations  # Debian 11, which has genuine pycaffe, has 3.9

import math
import numbers
import os
import reprlib


def whole(name: str, value: object, least: int) -> None:
    """Raise TypeError or ValueError unless a value is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f'{name} is {_short(value)}, but must be an integer')
    if value < least:
        raise ValueError(f'{name} is {value}, but must be at least {least}')


def finite(name: str, values: object, count: int) -> tuple[float, ...]:
    """Return `count` finite numbers as floats; ValueError if they are anything else."""
    try:
        found = () if isinstance(values, str) else tuple(map(float, values))
    except (TypeError, ValueError):
        found = ()
    if len(found) != count or not all(map(math.isfinite, found)):
        raise ValueError(f'{name} is {_short(values)}, but must have {count} finite numbers')
    return found


def folder(name: str, value: object) -> str:
    """Return the path of a folder that exists or can be made; TypeError or ValueError otherwise."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f'{name} is {_short(value)}, but must be the path of a folder')
    path = os.fspath(value)
    if not path:
        raise ValueError(f'{name} is empty, but must be the path of a folder')
    if os.path.lexists(path) and not os.path.isdir(path):
        raise ValueError(f'{path}: is not a folder; give another {name}')
    return path


def _short(value):
    return ' '.join(reprlib.repr(value).split())
