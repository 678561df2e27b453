"""What every dataset offers: images, queries, and the truth about each query.

    dataset = open_dataset('datasets/Oxford')
    dataset.images                      # names of the images that are ranked
    for query in dataset.queries:
        dataset.truth(query).positives  # names of the images that answer it

A new kind of dataset is a subclass of Dataset and an entry of `datasets.DATASETS`. This package
imports only the standard library and reads no image, so that scripts can offer its names at once.
"""

import os
from typing import NamedTuple

from deep_retrieval.listing import EXTENSIONS, list_images


class DatasetError(ValueError):
    """What is wrong with a dataset's folder, in one line that names the file or folder."""


class Item(NamedTuple):
    """An image to describe: its name, its file, and the box x1, y1, x2, y2 to cut out (or None)."""

    name: str
    path: str
    box: tuple | None = None


class Query(NamedTuple):
    """A query: its name, the name of its image, and the box x1, y1, x2, y2 in it (or None)."""

    name: str
    image: str
    box: tuple | None = None


class Truth(NamedTuple):
    """The names of a query's positives, and of the junk that is skipped as if it were absent.

    Positives that the dataset has no image of count as never found. A name that is both is junk,
    but counts as a positive that is never found.
    """

    positives: frozenset
    junk: frozenset = frozenset()


class Dataset:
    """A dataset in a folder.

    A subclass is called with the path of a folder. It fills these attributes and defines
    `image_path` and `truth`. Its folders are recognized if it also defines `layout` and `fits`.

    Attributes
    ----------
    name : str
        Begins the names of the files that keep its features.
    path : str
    images : list of str
        Names of the images that are ranked, in a fixed order.
    queries : list of Query
    metric : str
        The average precision that judges it: 'oxford', 'voc2010', or 'revisited' (Easy, Medium,
        Hard), see metrics.py.
    layout : str
        What its folders hold, for error messages; empty if they are not recognized.
    """

    name: str
    path: str
    images: list[str]
    queries: list[Query]
    metric = 'voc2010'
    layout = ''

    @classmethod
    def fits(cls, path: str | os.PathLike) -> bool:
        """Return whether a folder has this layout; the first such class of DATASETS opens it."""
        return False

    def image_path(self, name: str) -> str:
        """Return the path of an image's file.

        Raises
        ------
        DatasetError
            There is no image of this name.
        """
        raise NotImplementedError

    def query_path(self, query: Query) -> str:
        """Return the path of a query's image."""
        return self.image_path(query.image)

    def truth(self, query: Query) -> Truth:
        """Return which images answer a query."""
        raise NotImplementedError

    def items(self) -> list[Item]:
        """Return the images to describe, in the order of `images`."""
        return [Item(name, self.image_path(name)) for name in self.images]

    def query_items(self, crop: bool = True) -> list[Item]:
        """Return the queries' images to describe, cropped to their boxes or not."""
        return [Item(query.image, self.query_path(query), query.box if crop else None)
                for query in self.queries]


def has(folder: str | os.PathLike, *names: str) -> bool:
    """Return whether a folder holds all files and folders of these names."""
    return all(os.path.exists(os.path.join(folder, name)) for name in names)


def images_of(folder: str | os.PathLike) -> list[Item]:
    """Return the images of a folder and of all folders in it, sorted by name.

    Raises
    ------
    ValueError
        There is no image, or a name has a line break, at which lists of names are split.
    """
    names = list_images(folder, recursive=True)
    if not names:
        raise ValueError(f'{folder}: holds no image ({" ".join(EXTENSIONS)})')
    for name in names:
        if len(name.splitlines()) != 1:
            raise ValueError(f'{folder}: the name {name!r} has a line break, at which lists are '
                             'split; rename the file')
    return [Item(name, os.path.join(folder, name)) for name in names]
