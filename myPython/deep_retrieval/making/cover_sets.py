"""Make sets from the cover dataset's groups.

    groups = read_groups('demo_shortv.txt')         # {id: [csmid, ...]}
    test, training = by_size(groups, 20, 24)
    count, missing = make_set('datasets/cover/test', 'make_test_set', grouped(test), 'covers/')
"""

import logging
import os

from deep_retrieval import store
from deep_retrieval.duplicates import mapped_files
from deep_retrieval.listing import EXTENSIONS, list_images
from deep_retrieval.making.downloads import Download, Service, check_id
from deep_retrieval.making.folders import DEFAULT, How, Step, check_apart, make

logger = logging.getLogger(__name__)


def read_groups(path: str | os.PathLike) -> dict[str, list[str]]:
    """Read groups of covers, {id: csmids}; ValueError if one cannot be a file name."""
    groups = mapped_files.read_groups(path)
    for key, names in groups.items():
        for name in (key, *names):
            check_id(name)
    return groups


def by_size(groups: dict, least: int, most: int) -> tuple[dict, dict]:
    """Split groups into the test set, those with `least` to `most` members, and all others."""
    parts = {}, {}
    for key, names in groups.items():
        parts[not least <= len(names) <= most][key] = names
    return parts


def write_lists(groups: dict, folder: str | os.PathLike, least: int,
                most: int) -> dict[str, dict]:
    """Write the parts of `by_size` as test.txt and training.txt; return {path: groups}."""
    parts = {}
    for name, part in zip(('test.txt', 'training.txt'), by_size(groups, least, most), strict=True):
        path = os.path.join(folder, name)
        store.write(path, ''.join(
            f'{mapped_files.encode(key)}\t{" ".join(map(mapped_files.encode, names))}\n'
            for key, names in part.items()))
        parts[path] = part
    return parts


def grouped(groups: dict) -> list[tuple[str, str]]:
    """Return (name, GROUP/NAME) pairs: the paths of a set with one folder per group."""
    return [(name, f'{key}/{name}') for key, names in groups.items() for name in names]


def numbered(groups: dict) -> list[tuple[str, str]]:
    """Return (name, NUMBER/NAME) pairs: a set with one folder per group, numbered from 0."""
    return [(name, f'{number}/{name}') for number, names in enumerate(groups.values())
            for name in names]


def flat(groups: dict) -> list[tuple[str, str]]:
    """Return (name, NAME) pairs: the paths of a set in one folder."""
    return [(name, name) for names in groups.values() for name in names]


def make_set(folder: str | os.PathLike, command: str, paths: list[tuple[str, str]],
             images: str | os.PathLike, how: How = DEFAULT) -> int:
    """Copy covers from a folder; those that it does not have are logged.

    Parameters
    ----------
    folder : folder to make
    command : name of the command, for the manifest
    paths : (name, path relative to the new folder) pairs
    images : folder of the covers
    how : How

    Returns
    -------
    int
        The number of covers copied.
    """
    steps, missing = steps_of(paths, images)
    if missing:
        logger.warning('%s: does not have %d of %d covers, such as %r', images, len(missing),
                       len(paths), missing[0])
    return make(folder, {'command': command}, steps, how=how)


def make_class_set(folder: str | os.PathLike, command: str, groups: dict,
                   images: str | os.PathLike, how: How = DEFAULT) -> int:
    """Copy covers into one folder per group, numbered from 0; return their number."""
    check_apart(images, folder)
    return make_set(folder, command, numbered(groups), images, how)


def downloads_of(paths: list[tuple[str, str]], service: Service) -> list[Download]:
    """Return the downloads of covers from a service; paths : as in `make_set`."""
    return [Download(name, with_extension(path), service.url(name)) for name, path in paths]


def steps_of(paths: list[tuple[str, str]],
             folder: str | os.PathLike) -> tuple[dict[str, Step], list[str]]:
    """Return steps that copy images from a folder, and the names that it does not have.

    paths : (name, path) pairs; a name is a file name, with or without extension
    """
    files = {}
    for file in list_images(folder):
        files.setdefault(os.path.splitext(file)[0], file)
    for file in list_images(folder):
        files[file] = file
    steps, missing = {}, []
    for name, path in paths:
        file = files.get(name)
        if file is None:
            missing.append(name)
            continue
        steps[with_extension(path, os.path.splitext(file)[1])] = Step(os.path.join(folder, file))
    return steps, missing


def with_extension(path: str, extension: str = '.jpg') -> str:
    """Append an extension to a path, unless it already has that of an image."""
    return path if path.lower().endswith(EXTENSIONS) else path + extension
