"""Draw random images from a folder with one folder of images per class, prefetched by threads.

    folders = ClassFolders('datasets/landmark/training', 'landmark', own=6, others=6)
    images, classes = folders.draw(0)

A draw depends only on the seed and its number, not on earlier draws, so a sequence of draws can be
resumed at any position without reading the earlier ones.
"""

from __future__ import annotations  # for Python 3.9 of Debian 11, which has genuine pycaffe

import logging
import os
import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from deep_retrieval.image_means import SIZES
from deep_retrieval.images import ImageError, read_image
from deep_retrieval.listing import EXTENSIONS

TOLERATED = 0.1     # maximum share of bad images; with more, the folder is refused
LARGEST_LABEL = 1 << 24     # blobs are float32, which represents every integer up to here
READERS = 2     # threads that decode images
AHEAD = 4       # number of batches to prefetch

logger = logging.getLogger(__name__)


class ClassFolders:
    """The classes in a folder, and their images, which must all have the same size.

    Damaged images and those of another size are left out with a warning.

    Parameters
    ----------
    folder : path
    dataset : str, optional
        A name in `image_means.SIZES`, which has the size of the images; by default the size of the
        first image is used.
    own, others : int
        Numbers of images per draw from its own class, and of other classes.
    seed : int

    Attributes
    ----------
    names : list of str
        Names of the classes, sorted.
    size : height and width of the images in pixels

    Raises
    ------
    ValueError
        The folder does not have enough classes or images for the draws.
    """

    def __init__(self, folder: str, dataset: str | None = None, own: int = 2, others: int = 1,
                 seed: int = 0):
        self.folder, self.own, self.others, self.seed = str(folder), own, others, seed
        self._bad, self._lock = set(), threading.Lock()
        try:
            self._files = _list(self.folder)
        except OSError as error:
            raise ValueError(f'{error.filename}: {error.strerror}; give the folder of the class '
                             'folders') from None
        self.names = list(self._files)
        self._check_counts()
        self.size = self._find_size(dataset)    # height, width

    def labels(self) -> list[int]:
        """Return the names of the folders as integers; ValueError unless they are distinct ones."""
        wrong = [name for name in self.names
                 if not (name.isascii() and name.isdigit() and int(name) <= LARGEST_LABEL)]
        if wrong:
            raise ValueError(f'{self.folder}: a class folder must be named by its label, an '
                             f'integer from 0 to {LARGEST_LABEL}; rename {_some(wrong)}')
        count = Counter(map(int, self.names))
        same = [name for name in self.names if count[int(name)] > 1]
        if same:
            raise ValueError(f'{self.folder}: class folders have the same label; rename '
                             f'{_some(same)}')
        return [int(name) for name in self.names]

    def draw(self, number: int) -> tuple[list[np.ndarray], list[int]]:
        """Return `own` images of one class, then one each of `others` different classes.

        Draws 0, 1, ... use every class once, in random order, before any class is used again.

        Returns
        -------
        images : list of H x W x 3 uint8, B G R
        classes : the index of each image's class in `names`

        Raises
        ------
        ValueError
            No image of a class can be used, or too many images are damaged.
        """
        epoch, place = divmod(number, len(self.names))
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.names))
        own, random = int(order[place]), np.random.default_rng([self.seed, 1, number])
        images, classes = self._read(own, random, self.own), [own] * self.own
        others = random.choice(len(self.names) - 1, self.others, replace=False)
        for other in (others + (others >= own)).tolist():
            images += self._read(other, random, 1)
            classes.append(other)
        return images, classes

    def _read(self, index, random, count):
        """`count` random good images of a class, repeated if there are fewer."""
        name, images = self.names[index], []
        files = self._files[name]
        # one permutation, however many are bad, so that bad files do not change other choices
        for i in random.permutation(len(files)):
            image = self._image(os.path.join(self.folder, name, files[i]))
            if image is not None:
                images.append(image)
            if len(images) == count:
                return images
        if not images:
            raise ValueError(f'{os.path.join(self.folder, name)}: none of its images can be used; '
                             'replace them or remove the folder')
        return [images[i % len(images)] for i in range(count)]

    def _image(self, path):
        """Return the image in a file, or None if it is damaged or has another size."""
        if path in self._bad:
            return None
        try:
            image = read_image(path)
            if image.shape[:2] != self.size:
                raise ImageError(f'{path}: has {show_size(image.shape)}, '
                                 f'not {show_size(self.size)}')
            return image
        except ImageError as error:
            self._leave_out(path, error)

    def _leave_out(self, path, error):
        """Warn once about an image; ValueError if there are too many of them."""
        total = sum(map(len, self._files.values()))
        with self._lock:
            if path in self._bad:
                return
            if len(self._bad) < max(1, TOLERATED * total):
                self._bad.add(path)
                logger.warning('left out: %s', error)
                return
        raise ValueError(f'{error}; {len(self._bad)} of {total} images were left out before it: '
                         'give all images the same size, and replace damaged ones')

    def _check_counts(self):
        if len(self.names) <= self.others:
            raise ValueError(f'{self.folder}: has {len(self.names)} class folders, but a batch '
                             f'needs {self.others + 1}; add classes, or lower batch_size')
        least = min(self.own, 2)        # two images make a pair
        small = [name for name, files in self._files.items() if len(files) < least]
        if small:
            raise ValueError(f'{self.folder}: class folders hold fewer than {least} images '
                             f'({" ".join(EXTENSIONS)}): {_some(small)}; fill or remove them '
                             '(landmark_helper: clean_empty_dir)')

    def _find_size(self, dataset):
        """Return height and width of the first good image; they must be those of the dataset."""
        for name, files in self._files.items():
            for path in (os.path.join(self.folder, name, file) for file in files):
                try:
                    size = read_image(path).shape[:2]
                except ImageError as error:
                    self._leave_out(path, error)
                    continue
                if size != SIZES.get(dataset, size):
                    raise ValueError(f'{path}: has {show_size(size)}, but images of dataset '
                                     f'{dataset!r} have {show_size(SIZES[dataset])}; resize '
                                     'them, or leave out `dataset`')
                return size
        raise ValueError(f'{self.folder}: none of its images can be read')


class ReadAhead:
    """The results of load(start), load(start + step), ... in this order, prefetched by threads.

    The threads end when this object is deleted. An error in `load` is raised by every call of
    `next`.

    Parameters
    ----------
    load : function of an int
    start, step : int
    """

    def __init__(self, load: Callable, start: int = 0, step: int = 1):
        self._load, self._next, self._step = load, start, step
        self._ahead = deque()
        self._pool = ThreadPoolExecutor(READERS)
        weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)

    def next(self) -> Any:
        """Return the next result, waiting for it if necessary."""
        self._fill()
        batch = self._ahead[0].result()
        self._ahead.popleft()
        self._next += self._step
        self._fill()
        return batch

    def skip(self, batches: int) -> None:
        """Skip this number of results without loading them."""
        if batches < 0:
            raise ValueError(f'{batches} batches cannot be skipped')
        while self._ahead:
            self._ahead.popleft().cancel()
        self._next += batches * self._step

    def _fill(self):
        while len(self._ahead) < AHEAD:
            number = self._next + len(self._ahead) * self._step
            self._ahead.append(self._pool.submit(self._load, number))


def _list(folder):
    """Return {name of class: names of its images}, both sorted."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries
                       if entry.is_dir() and not entry.name.startswith('.'))
    return {name: sorted(file for file in os.listdir(os.path.join(folder, name))
                         if file.lower().endswith(EXTENSIONS) and not file.startswith('.'))
            for name in names}


def show_size(size: tuple) -> str:
    """Return height and width as text for a message."""
    return f'{size[0]} x {size[1]} pixels'


def _some(names, limit=5):
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more
