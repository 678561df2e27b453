"""Compute the mean colour of a folder's images, and find the damaged ones.

    mean, count = image_mean('datasets/Oxford/jpg')     # array([ 99.7, 108.8, 113.2]), 5063
"""

import logging
import os

import numpy as np

from deep_retrieval import store
from deep_retrieval.images import ImageError, read_image
from deep_retrieval.listing import EXTENSIONS, list_images
from deep_retrieval.making.parallel import parallel
from deep_retrieval.progress import bar

logger = logging.getLogger(__name__)


def image_mean(folder: str | os.PathLike, skip_bad: bool = False,
               jobs: int = 2) -> tuple[np.ndarray, int]:
    """Compute the mean colour (B, G, R) of a folder's images.

    Every image has the same weight, whatever its size.

    Parameters
    ----------
    folder : path
    skip_bad : leave out damaged images with a warning instead of raising an error
    jobs : number of threads

    Returns
    -------
    mean : 3 float64
    count : number of images

    Raises
    ------
    ValueError
        There are no images, or one is damaged and `skip_bad` is False.
    """
    paths = [os.path.join(folder, name) for name in list_images(folder)]
    if not paths:
        raise ValueError(f'{folder}: contains no images ({" ".join(EXTENSIONS)})')

    def mean(path):
        try:
            return read_image(path).reshape(-1, 3).mean(axis=0, dtype=np.float64)
        except ImageError as error:
            if not skip_bad:
                raise ImageError(f'{error} (--skip_bad leaves it out)') from None
            return error

    found = _each(mean, paths, jobs)
    for error in found:
        if isinstance(error, ImageError):
            logger.warning('left out: %s', error)
    means = [value for value in found if not isinstance(value, ImageError)]
    if not means:
        raise ValueError(f'{folder}: none of its images can be read')
    return np.mean(means, axis=0), len(means)


def write_blacklist(folder: str | os.PathLike, path: str | os.PathLike,
                    jobs: int = 2) -> tuple[int, int]:
    """Write the names of a folder's damaged images, without extensions, one per line.

    Returns the number of damaged images and the number of all images.
    """
    names = list_images(folder)

    def is_bad(name):
        try:
            read_image(os.path.join(folder, name))
        except ImageError:
            return True
        return False

    bad = [os.path.splitext(name)[0]
           for name, found in zip(names, _each(is_bad, names, jobs), strict=True) if found]
    store.write(path, ''.join(f'{name}\n' for name in bad))
    return len(bad), len(names)


def _each(function, items, jobs):
    """Yield the results of parallel work in the order of the items."""
    found = dict(bar(parallel(function, items, jobs), total=len(items), unit='image'))
    return [found[index] for index in range(len(items))]
