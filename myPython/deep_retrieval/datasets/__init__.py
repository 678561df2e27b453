"""Datasets by name, and the one in a folder.

    dataset = open_dataset('datasets/Oxford')               # recognized by its layout
    dataset = open_dataset('datasets/Paris', 'Paris')
    dataset = open_dataset('datasets/Oxford', gnd='datasets/gnd_roxford5k.json')

Every kind of dataset is a `Dataset` (base.py). To add one, write a subclass and add it to DATASETS.
"""

import os

from deep_retrieval.datasets.base import Dataset, DatasetError, Item, Query, Truth
from deep_retrieval.datasets.folders import Classes, Covers, Landmark, ParisClasses
from deep_retrieval.datasets.oxford import OxfordHelper, ParisHelper

# name -> class, called with the path of a folder; the revisited ones are opened by a ground truth
DATASETS = {
    'Oxford': OxfordHelper,
    'Paris': ParisHelper,
    'Covers': Covers,
    'Landmark': Landmark,
    'ParisClasses': ParisClasses,
    'Classes': Classes,
}
OXFORD_LAYOUT = ('Oxford', 'Paris')      # those with jpg/ and lab/, that compute_ap can score
LAYOUTS = ('jpg/ and lab/ (Oxford), query.txt and answer.txt (Covers), queries/ and dataset/ '
           '(Landmark), or one folder per class (Classes)')

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
        A gnd_*.json or gnd_*.pkl: the dataset is judged by the revisited protocols, and `name` is
        not used.

    Raises
    ------
    ValueError
        The name is unknown, the layout is not recognized, or the dataset is damaged; one line that
        names the file or folder.
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
    """Return the name in DATASETS of the layout that a folder has.

    Raises
    ------
    DatasetError
        It has none of the layouts.
    """
    if not os.path.isdir(path):
        raise DatasetError(f'{path}: there is no such folder; a dataset has {LAYOUTS}')

    def has(*names):
        return all(os.path.exists(os.path.join(path, name)) for name in names)

    if has('jpg', 'lab'):
        return 'Oxford'
    if has('query.txt', 'answer.txt') or has('clean/query.txt', 'clean/answer.txt'):
        return 'Covers'
    if has('queries', 'dataset'):
        return 'Landmark'
    if not has('jpg') and _has_classes(path):
        return 'Classes'
    raise DatasetError(f'{path}: is not a dataset with {LAYOUTS}')


def _has_classes(path):
    """Whether the folder holds only folders, and images in at least two of them."""
    from deep_retrieval.listing import list_images
    if list_images(path):
        return False
    folders = [entry.path for entry in os.scandir(path) if entry.is_dir()
               and not entry.name.startswith('.')]
    return sum(bool(list_images(folder)) for folder in folders) >= 2
