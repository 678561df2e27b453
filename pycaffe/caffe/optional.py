"""Import optional packages, which only some files and layers need, where they are used.

    h5py = need('h5py', 'hdf5')
"""

import importlib

from .errors import CaffeError


def need(module, extra):
    """Import an optional package; if it is missing, CaffeError says how to install `extra`."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise       # the package is installed, but one of its own dependencies is missing
        raise CaffeError(f'the package {module} is needed for this: '
                         f"pip install 'my-deep-retrieval[{extra}]'") from None
