"""Thumbnails of many pictures, named by content, so that none is made twice.

`thumbs/ab/cdef0123456789abcdef-1024x768-256.jpg`: the beginning of the SHA-256 of the picture's
file, the size of the picture, and the longest side of the thumbnail.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

import cv2

from deep_retrieval import progress, store
from deep_retrieval.images import ImageError, read_image
from deep_retrieval.making.parallel import parallel

QUALITY = 82    # of JPEG
THREADS = 4
NAME = re.compile(r'([0-9a-f]{2}/[0-9a-f]{20})-(\d+)x(\d+)-(\d+)\.jpg')


class Thumb(NamedTuple):
    """A thumbnail: its path relative to the folder, and the size in pixels of the full picture."""

    file: str
    width: int
    height: int


def make(paths: list, folder: str, side: int) -> list:
    """Make the thumbnails of picture files; all other files in `folder` are deleted.

    Parameters
    ----------
    paths : list of str or None
        None for a picture without a file.
    folder : str
        Existing thumbnails of these pictures are kept.
    side : int
        Longest side in pixels.

    Returns
    -------
    list of Thumb or str
        A str is the picture's fault: 'missing', 'damaged' or 'unreadable'.
    """
    there = _stored(folder, side)
    found = [None] * len(paths)
    with progress.bar(total=len(paths), unit='picture', desc='thumbnails') as bar:
        for i, (thumb, data) in parallel(lambda path: _reduce(path, side, there), paths, THREADS):
            # only this thread writes, since two threads may have processed copies of one picture
            if data is not None and not os.path.exists(file := os.path.join(folder, thumb.file)):
                store.write(file, data)
            found[i] = thumb
            bar.update()
    _prune(folder, {thumb.file for thumb in found if isinstance(thumb, Thumb)})
    return found


def fitted(width: int, height: int, side: int) -> tuple[int, int]:
    """Return width and height of a picture's thumbnail, never larger than the picture."""
    ratio = min(1, side / max(width, height))
    return max(1, round(width * ratio)), max(1, round(height * ratio))


def _reduce(path, side, there):
    """Return a picture's Thumb and, if it is new, its JPEG; or the picture's fault and None."""
    try:
        key = _key(path)
        if key in there:
            return there[key], None
        image = read_image(path)
    except FileNotFoundError:
        return 'missing', None
    except OSError:
        return 'unreadable', None
    except ImageError:
        return 'damaged', None
    height, width = image.shape[:2]
    small = cv2.resize(image, fitted(width, height, side), interpolation=cv2.INTER_AREA)
    data = cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return Thumb(f'{key}-{width}x{height}-{side}.jpg', width, height), data


def _key(path):
    if path is None:
        raise FileNotFoundError
    digest = store.sha256(path)
    return f'{digest[:2]}/{digest[2:22]}'


def _files(folder):
    """Return the relative paths of the files in a folder's subfolders."""
    return [path.relative_to(folder).as_posix() for path in Path(folder).glob('*/*')]


def _stored(folder, side):
    """Return {key: Thumb} of the thumbnails of this side in the folder."""
    matches = map(NAME.fullmatch, _files(folder))
    return {match[1]: Thumb(match[0], int(match[2]), int(match[3]))
            for match in matches if match and int(match[4]) == side}


def _prune(folder, used):
    for file in set(_files(folder)) - used:
        os.unlink(os.path.join(folder, file))
    for inner in Path(folder).glob('*'):
        if not any(inner.iterdir()):
            inner.rmdir()
