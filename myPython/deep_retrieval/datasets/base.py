"""The interface of all datasets: images, queries, and the ground truth of each query.

    dataset = open_dataset('datasets/Oxford')
    dataset.images                      # names of the images that are ranked
    for query in dataset.queries:
        dataset.truth(query).positives  # names of the images that answer it

To add a kind of dataset, write a subclass of Dataset and add it to `datasets.DATASETS`. This
package imports only the standard library and reads no images, so it is fast to import.
"""

import os
from typing import NamedTuple

from deep_retrieval.listing import EXTENSIONS, list_images


class DatasetError(ValueError):
    """A dataset's folder is invalid; the one-line message names the file or folder."""


class Item(NamedTuple):
    """An image to describe: name, file, and the box x1, y1, x2, y2 in pixels to cut out (or None).
    """

    name: str
    path: str
    box: tuple | None = None


class Query(NamedTuple):
    """A query: its name, the name of its image, and the box x1, y1, x2, y2 in pixels (or None)."""

    name: str
    image: str
    box: tuple | None = None


class Truth(NamedTuple):
    """The names of a query's positives, and of its junk, which is skipped as if absent.

    Positives without an image in the dataset count as never found. A name that is in both is
    skipped as junk, but counts as a positive that is never found.
    """

    positives: frozenset
    junk: frozenset = frozenset()


class Dataset:
    """A dataset in a folder.

    A subclass is called with the path of a folder. It sets these attributes and defines
    `image_path` and `truth`. If it also defines `layout` and `fits`, its folders are recognized.

    Attributes
    ----------
    name : str
        Prefix of the names of its feature files.
    path : str
    images : list of str
        Names of the images that are ranked, in a fixed order.
    queries : list of Query
    metric : str
        The average precision that it is scored with: 'oxford', 'voc2010', or 'revisited' (Easy,
        Medium, Hard), see metrics.py.
    layout : str
        Contents of its folders, for error messages; empty if they are not recognized.
    """

    name: str
    path: str
    images: list[str]
    queries: list[Query]
    metric = 'voc2010'
    layout = ''

    @classmethod
    def fits(cls, path: str | os.PathLike) -> bool:
        """Return whether a folder has this layout; the first match in DATASETS opens it."""
        return False

    def image_path(self, name: str) -> str:
        """Return the path of an image's file.

        Raises
        ------
        DatasetError
            There is no image with this name.
        """
        raise NotImplementedError

    def query_path(self, query: Query) -> str:
        """Return the path of a query's image."""
        return self.image_path(query.image)

    def truth(self, query: Query) -> Truth:
        """Return the ground truth of a query."""
        raise NotImplementedError

    def items(self) -> list[Item]:
        """Return the images to describe, in the order of `images`."""
        return [Item(name, self.image_path(name)) for name in self.images]

    def query_items(self, crop: bool = True) -> list[Item]:
        """Return the queries' images, in the order of `queries`, with their boxes if `crop`."""
        return [Item(query.image, self.query_path(query), query.box if crop else None)
                for query in self.queries]


def has(folder: str | os.PathLike, *names: str) -> bool:
    """Return whether a folder contains all files and folders of these names."""
    return all(os.path.exists(os.path.join(folder, name)) for name in names)


def images_of(folder: str | os.PathLike) -> list[Item]:
    """Return the images in a folder, found recursively and sorted by name.

    Raises
    ------
    ValueError
        There are no images, or a name has a line break, at which lists of names would split it.
    """
    names = list_images(folder, recursive=True)
    if not names:
        raise ValueError(f'{folder}: contains no images ({" ".join(EXTENSIONS)})')
    for name in names:
        if len(name.splitlines()) != 1:
            raise ValueError(f'{folder}: the name {name!r} has a line break, at which lists would '
                             'split it; rename the file')
    return [Item(name, os.path.join(folder, name)) for name in names]
