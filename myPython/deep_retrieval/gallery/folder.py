"""The folder of a gallery: written under a temporary name, then swapped with an older gallery.

Thumbnails are made in the folder `.NAME.thumbs` beside it. An interrupted run leaves this folder,
and the next run reuses it.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from deep_retrieval import store
from deep_retrieval.gallery.template import GENERATOR

ENTRIES = re.compile(r'index\.html|page-\d+\.html|style\.css|script\.js|thumbs')
THUMBS = re.compile('[0-9a-f]{2}')      # folders of thumbnails


def check(output: str, overwrite: bool = False, inputs: Iterable[str | os.PathLike] = ()) -> None:
    """Raise ValueError if a gallery must not replace `output`.

    It must not replace a file, a folder that contains the current folder or one of the paths
    `inputs`, or, unless `overwrite`, a folder that is not a gallery.
    """
    output = os.path.realpath(output)
    for path in [os.getcwd(), *inputs]:
        if os.path.commonpath([output, os.path.realpath(path)]) == output:
            raise ValueError(f'{output}: contains {path}: choose another output folder')
    store.check_folder(output, ENTRIES, overwrite, 'a gallery')
    if os.path.isdir(output) and not overwrite and not _is_gallery(output):
        raise ValueError(f'{output}: is not a gallery; give another folder, or --overwrite to '
                         'replace it')
    parts = _parts(output)
    if os.path.lexists(parts) and not (
            os.path.isdir(parts) and all(map(THUMBS.fullmatch, os.listdir(parts)))):
        raise ValueError(f'{parts}: is in the way, because thumbnails are made there; move it')


@contextmanager
def replacing(output: str) -> Iterator[tuple[str, str]]:
    """Yield a new folder that replaces `output` if the block succeeds.

    Yields
    ------
    folder : str
        The new folder, empty.
    thumbs : str
        A folder for its thumbnails, which has those of an interrupted run and of an older gallery.
    """
    output, parts = os.path.realpath(output), _parts(output)
    with store.replace_folder(output) as new:
        os.makedirs(parts, exist_ok=True)
        if os.path.isdir(os.path.join(output, 'thumbs')) and _is_gallery(output):
            shutil.copytree(os.path.join(output, 'thumbs'), parts, copy_function=_link,
                            dirs_exist_ok=True)
        yield new, parts
        os.rename(parts, os.path.join(new, 'thumbs'))


def _parts(output):
    folder, name = os.path.split(os.path.realpath(output))
    return os.path.join(folder, f'.{name}.thumbs')


def _is_gallery(folder):
    """Whether a folder is empty, or contains a gallery and nothing else."""
    names = os.listdir(folder)
    if not names:
        return True
    if 'index.html' not in names or not all(map(ENTRIES.fullmatch, names)):
        return False
    with open(os.path.join(folder, 'index.html'), encoding='utf-8', errors='replace') as file:
        return GENERATOR in file.read(1000)


def _link(source, target):
    if not os.path.exists(target):
        store.place(source, target, link=True)
