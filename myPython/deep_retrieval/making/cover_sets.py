"""Sets made of the cover dataset's groups: what goes where, for `making.make` and for downloads.

    groups = mapped_files.read_groups('demo_shortv.txt')       # {id: [csmid, ...]}
    test, training = by_size(groups, 20, 24)
"""

import os

from deep_retrieval.listing import EXTENSIONS, list_images
from deep_retrieval.making.folders import Step


def by_size(groups, least, most):
    """The groups that have least..most members, which are the test set, and all others."""
    parts = {}, {}
    for key, names in groups.items():
        parts[not least <= len(names) <= most][key] = names
    return parts


def grouped(groups):
    """Paths of a set with a folder a group: (name, GROUP/NAME) pairs."""
    return [(name, f'{key}/{name}') for key, names in groups.items() for name in names]


def flat(groups):
    """Paths of a set in one folder: (name, NAME) pairs."""
    return [(name, name) for names in groups.values() for name in names]


def steps_of(paths, folder):
    """Steps that copy named images from a folder, and the names that it has not got.

    paths : (name, path) pairs; a name is that of a file, or has no extension where the file has
    """
    files = {}
    for file in list_images(folder):
        files.setdefault(os.path.splitext(file)[0], file)
    for file in list_images(folder):
        files[file] = file
    steps, lost = {}, []
    for name, path in paths:
        file = files.get(name)
        if file is None:
            lost.append(name)
            continue
        steps[with_extension(path, os.path.splitext(file)[1])] = Step(os.path.join(folder, file))
    return steps, lost


def with_extension(path, extension='.jpg'):
    """A path that ends in an extension of images: its own, or else the given one."""
    return path if path.lower().endswith(EXTENSIONS) else path + extension
