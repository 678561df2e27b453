"""Tensors compared with those that a net needs."""

import re
from collections.abc import Mapping

NAMED = 3       # tensors that are named in a message


def check_tensors(state: Mapping, shapes: Mapping[str, tuple], problem: str,
                  ignored: str = '$.') -> None:
    """Compare the tensors of a state dict with those that a net needs.

    Parameters
    ----------
    state : dict of str to ndarray
    shapes : dict of str to tuple
    problem : beginning of the message
    ignored : regular expression of names that may be additional

    Raises
    ------
    ValueError
        Tensors are missing, additional or of another shape; the first three are named.
    """
    faults = [f'{name} is missing' if name not in state else
              f'{name} is {by(state[name].shape)}, not {by(shape)}'
              for name, shape in shapes.items()
              if name not in state or tuple(state[name].shape) != tuple(shape)]
    faults += [f'{name} is additional' for name in state
               if name not in shapes and not re.match(ignored, name)]
    if faults:
        more = f' and {len(faults) - NAMED} more' if len(faults) > NAMED else ''
        raise ValueError(f'{problem}: {"; ".join(faults[:NAMED])}{more}')


def by(shape: tuple) -> str:
    """Return a shape as text."""
    return ' x '.join(map(str, shape)) or 'a number'
