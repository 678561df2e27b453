"""The repository's root, and all default paths.

    paths.PROTO                  # ROOT / 'proto/deploy_resnet101.prototxt'
    paths.shown(paths.WEIGHTS)   # relative to the current folder, if it is inside

Default paths are relative to the repository, so scripts work from any folder. Paths given by the
user are relative to the current folder, as usual.
"""

import os
import sys
from pathlib import Path

VARIABLE = 'DEEP_RETRIEVAL_ROOT'    # path of the repository, if it cannot be found automatically
MARK = 'proto/deploy_resnet101.prototxt'


def find_root() -> Path:
    """Return the folder of the repository.

    It is taken from the environment variable DEEP_RETRIEVAL_ROOT if that is set. Otherwise it is
    the first of these that contains `proto/`: the checkout that this package is imported from, the
    folders above the running script, the current folder and the folders above it. If none does, it
    is the current folder.
    """
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).resolve()
    script = Path(sys.argv[0] or '.').resolve()
    here = Path.cwd()
    for folder in (Path(__file__).resolve().parents[2], *script.parents, here, *here.parents):
        if (folder / MARK).is_file():
            return folder
    return here


def shown(path: str | os.PathLike) -> str:
    """Return a path relative to the current folder if it is inside, otherwise absolute.

    >>> shown('tmp/../photos/a.jpg')
    'photos/a.jpg'
    """
    path = os.path.relpath(path)
    return os.path.abspath(path) if path.startswith('..') else path


def default_weights() -> Path:
    """Return the released model or, where it is missing, EfficientNet-Lite0 of `make weights`.

    Without both it is the untrained ResNet-101 of make_demo_model.py.
    """
    return next((path for path in (WEIGHTS, LITE_WEIGHTS, DEMO_WEIGHTS) if path.exists()), WEIGHTS)


ROOT = find_root()

PROTO = ROOT / MARK
WEIGHTS = ROOT / 'caffemodel/model.caffemodel'
LITE_WEIGHTS = ROOT / 'caffemodel/lite0_rmac.caffemodel'
DEMO_WEIGHTS = ROOT / 'caffemodel/demo_resnet101.caffemodel'
EVAL_BINARY = ROOT / 'eval/compute_ap'
DATASETS = ROOT / 'datasets'
OXFORD = DATASETS / 'Oxford'
TEMP = ROOT / 'tmp'
