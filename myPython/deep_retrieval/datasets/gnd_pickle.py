"""Read pickles of plain data, such as the published gnd_*.pkl, without running any code in them.

    truth = gnd_pickle.load('gnd_roxford5k.pkl')

The accepted types are dict, list, tuple, str, bytes, int, float, bool, None, and NumPy arrays and
scalars of numbers, as written by Python 2 and 3 and NumPy 1 and 2. A pickle names the functions
that build its objects: the few names for arrays are mapped to functions of this module, which only
decode bytes, and every other name is refused before it is imported.
"""

import pickle

import numpy as np


def load(path: str) -> object:
    """Return the data in a pickle file.

    Raises
    ------
    ValueError
        The file is damaged, or it names other functions. The one-line message names the file.
    """
    with open(path, 'rb') as file:
        try:
            # latin1 is needed for NumPy data written by Python 2
            return _plain(_Reader(file, encoding='latin1').load(), {})
        except _Refused as error:
            raise ValueError(f'{path}: {error}') from None
        except OSError:
            raise
        except Exception as error:      # a damaged pickle can fail in any way
            raise ValueError(f'{path}: is not a whole pickle of plain data '
                             f'({type(error).__name__}: {error})') from None


class _Refused(ValueError):
    pass


class _Reader(pickle.Unpickler):
    def find_class(self, module, name):
        try:
            return NAMES[module.replace('numpy._core', 'numpy.core'), name]
        except KeyError:
            raise _Refused(f'refused: it would run {module}.{name}, but only numbers, text, '
                           'lists and dicts are read') from None

    def persistent_load(self, pid):
        raise _Refused('refused: it refers to objects outside the file')


class _Dtype:
    """Replaces numpy.dtype during reading."""

    def __init__(self, code, *_):
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in 'biuf':
            raise _Refused(f'refused: it holds an array of {self.dtype}, but only numbers '
                           'are read')

    def __setstate__(self, state):
        order = state[1]        # '<', '>' or '|'
        self.dtype = self.dtype.newbyteorder(order if order in ('<', '>') else '=')


class _Array:
    """Replaces numpy.ndarray during reading; the state that follows sets `value`."""

    value = None

    def __setstate__(self, state):
        _, shape, kind, fortran, data = state
        self.value = _numbers(data, kind, shape, 'F' if fortran else 'C')


def _numbers(data, kind, shape, order):
    data = data.encode('latin1') if isinstance(data, str) else bytes(data)
    return np.frombuffer(data, kind.dtype).reshape(shape, order=order)


def _from_buffer(data, kind, shape, order, *_):
    array = _Array()
    array.value = _numbers(data, kind, shape, order)
    return array


def _scalar(kind, data):
    return _from_buffer(data, kind, (), 'C')


def _encode(text, encoding='latin1'):
    # how Python 3 writes bytes in protocols without a type for them
    return text.encode('latin1')


NAMES = {
    ('numpy', 'dtype'): _Dtype,
    ('numpy', 'ndarray'): _Array,
    ('numpy.core.multiarray', '_reconstruct'): lambda *_: _Array(),
    ('numpy.core.multiarray', 'scalar'): _scalar,
    ('numpy.core.numeric', '_frombuffer'): _from_buffer,
    ('_codecs', 'encode'): _encode,
    ('__builtin__', 'bytes'): lambda: b'',      # empty bytes
}


def _plain(value, done):
    """Return the data with real arrays; _Refused for any other type.

    done : id of an object -> result, since a small file can refer to an object many times
    """
    kind = type(value)
    if value is None or kind in (str, bytes, int, float, bool):
        return value
    if id(value) not in done:
        if kind is _Array and value.value is not None:
            done[id(value)] = value.value
        elif kind is dict:
            done[id(value)] = {_plain(key, done): _plain(entry, done)
                               for key, entry in value.items()}
        elif kind in (list, tuple):
            done[id(value)] = kind(_plain(entry, done) for entry in value)
        else:
            raise _Refused(f'refused: it holds a {kind.__name__.lstrip("_")}, but only numbers, '
                           'text, lists and dicts are read')
    return done[id(value)]
