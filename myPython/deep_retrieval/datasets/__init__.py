"""The table of all kinds of datasets, and a function that opens one.

    dataset = open_dataset('datasets/Oxford')               # recognized by its layout
    dataset = open_dataset('datasets/Paris', 'Paris')
    dataset = open_dataset('datasets/Oxford', gnd='datasets/gnd_roxford5k.json')

Every kind of dataset is a `Dataset` (base.py). To add one, write a subclass and add it to DATASETS;
docs/extending.md has an example.
"""

import os

from deep_retrieval.datasets.base import Dataset, DatasetError, Item, Query, Truth
from deep_retrieval.datasets.folders import Classes, Covers, Landmark, ParisClasses
from deep_retrieval.datasets.oxford import OxfordHelper, ParisHelper

# name -> class, called with the path of a folder; revisited datasets are opened by ground truth
DATASETS = {
    'Oxford': OxfordHelper,
    'Paris': ParisHelper,
    'Covers': Covers,
    'Landmark': Landmark,
    'ParisClasses': ParisClasses,
    'Classes': Classes,
}
# datasets with jpg/ and lab/, which compute_ap can score
OXFORD_LAYOUT = tuple(name for name, kind in DATASETS.items() if issubclass(kind, OxfordHelper))

__all__ = ['DATASETS', 'Dataset', 'DatasetError', 'Item', 'OxfordHelper', 'ParisHelper', 'Query',
           'Truth', 'open_dataset']


def open_dataset(path: str | os.PathLike, name: str | None = None,
                 gnd: str | os.PathLike | None = None) -> Dataset:
    """Open the dataset in a folder.

    Parameters
    ----------
    path : path of the folder
    name : str, optional
        A name of DATASETS; by default the layout of the folder decides.
    gnd : path, optional
        A gnd_*.json or gnd_*.pkl: the dataset is scored with the revisited protocols, and `name`
        is not used.

    Raises
    ------
    ValueError
        The name is unknown, the layout is not recognized, or the dataset is damaged. The one-line
        message names the file or folder.
    """
    if gnd:
        from deep_retrieval.datasets import revisited
        return revisited.Revisited(path, revisited.read(gnd))
    if name is None:
        name = recognize(path)
    if name not in DATASETS:
        raise ValueError(f'there is no dataset {name!r}; known are {", ".join(DATASETS)}')
    return DATASETS[name](path)


def recognize(path: str | os.PathLike) -> str:
    """Return the name in DATASETS that matches the layout of a folder.

    Raises
    ------
    DatasetError
        No layout matches.
    """
    layouts = [f'{kind.layout} ({name})' for name, kind in DATASETS.items()
               if 'layout' in vars(kind)]
    known = f'{", ".join(layouts[:-1])}, or {layouts[-1]}'
    if not os.path.isdir(path):
        raise DatasetError(f'{path}: there is no such folder; a dataset has {known}')
    for name, kind in DATASETS.items():
        if kind.fits(path):
            return name
    raise DatasetError(f'{path}: is not a dataset with {known}')
