"""Import optional packages where they are used.

    faiss = optional.need('faiss', 'search')
"""

import importlib
from types import ModuleType


def need(module: str, extra: str) -> ModuleType:
    """Import an optional package.

    Parameters
    ----------
    module : name to import
    extra : the extra of setup.py that installs it

    Raises
    ------
    RuntimeError
        The package is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or '').partition('.')[0] != module.partition('.')[0]:
            raise       # the package is installed, but one of its own dependencies is missing
        raise RuntimeError(f'the package {module.partition(".")[0]} is needed for this: '
                           f"pip install 'my-deep-retrieval[{extra}]'") from None
