"""List the images in folders.

    list_images('datasets/Oxford/jpg')              # ['all_souls_000000.jpg', ...]
    list_images('holiday_photos', recursive=True)   # ['2019/a.jpg', 'b.png', ...]
    list_classes('datasets/landmark/clean')         # {'0': ['a.jpg', ...], ...}
"""

from __future__ import annotations  # for Python 3.9 of Debian 11, which has genuine pycaffe

import os

from deep_retrieval import store

EXTENSIONS = ('.jpg', '.jpeg', '.png')      # in datasets, upper or lower case
KINDS = (*EXTENSIONS, '.bmp', '.gif', '.tif', '.tiff', '.webp')     # in any folder of images


def list_images(folder: str | os.PathLike, recursive: bool = False,
                extensions: tuple = EXTENSIONS) -> list[str]:
    """List the images in a folder, sorted, without hidden files.

    With `recursive`, subfolders are included, and names are relative paths with slashes.
    """
    if recursive:
        return store.find(os.fspath(folder), extensions)
    return sorted(name for name in os.listdir(folder)
                  if name.lower().endswith(extensions) and not name.startswith('.')
                  and not os.path.isdir(os.path.join(folder, name)))


def list_classes(folder: str | os.PathLike) -> dict[str, list[str]]:
    """List the class folders in a folder: {name: names of its images}, both sorted.

    Names that are integers are sorted by value. Hidden folders are left out.

    Raises
    ------
    ValueError
        There are no class folders.
    """
    names = [name for name in os.listdir(folder)
             if not name.startswith('.') and os.path.isdir(os.path.join(folder, name))]
    if not names:
        raise ValueError(f'{folder}: contains no folders; one folder per class is expected')
    return {name: list_images(os.path.join(folder, name)) for name in sorted(names, key=by_value)}


def by_value(name: str) -> tuple:
    """Return a sort key that orders integers by value, before all other names.

    >>> sorted(['10', 'b', '9', 'a'], key=by_value)
    ['9', '10', 'a', 'b']
    """
    return (0, int(name), name) if name.isdecimal() and name.isascii() else (1, 0, name)
