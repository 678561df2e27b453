"""Packages that only some files and layers need, imported where they are used.

    h5py = need('h5py', 'hdf5')
"""

import importlib

from .errors import CaffeError


def need(module, extra):
    """Import an optional package; CaffeError with the command that installs `extra` without it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise       # the package is there, but lacks one of its own
        raise CaffeError(f'the package {module} is needed for this: '
                         f"pip install 'my-deep-retrieval[{extra}]'") from None
