"""Draws from a folder that holds a folder of images for each class, and reading them ahead.

    folders = ClassFolders('datasets/landmark/training', 'landmark', own=6, others=6)
    images, classes = folders.draw(0)

A draw is a function of the seed and its number alone: it does not depend on the draws before it, so
that a stream can go on at any place without reading what stands before.
"""

import logging
import os
import threading
import weakref
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from deep_retrieval.image_means import SIZES
from deep_retrieval.images import ImageError, read_image
from deep_retrieval.listing import EXTENSIONS

TOLERATED = 0.1     # share of bad images; with more, it is the folder that is wrong
LARGEST_LABEL = 1 << 24     # up to here float32, of which blobs are, has every integer
READERS = 2     # threads that decode
AHEAD = 4       # batches that are read ahead

logger = logging.getLogger(__name__)


class ClassFolders:
    """The classes in a folder and their images: of one size, BGR uint8.

    dataset : a name of SIZES; with another, or none, the first image's size is that of all
    own, others : images that a draw takes of its own class, and how many other classes it visits
    Images that are left out are logged.
    Raises ValueError, in one line, where the folder cannot give such draws.
    """

    def __init__(self, folder, dataset=None, own=2, others=1, seed=0):
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

    def labels(self):
        """The folders' names as integers; ValueError unless they are different ones."""
        wrong = [name for name in self.names
                 if not (name.isascii() and name.isdigit() and int(name) <= LARGEST_LABEL)]
        if wrong:
            raise ValueError(f'{self.folder}: a class folder is named by its label, an integer '
                             f'from 0 to {LARGEST_LABEL}; rename {_some(wrong)}')
        count = Counter(map(int, self.names))
        same = [name for name in self.names if count[int(name)] > 1]
        if same:
            raise ValueError(f'{self.folder}: class folders have the same label; rename '
                             f'{_some(same)}')
        return [int(name) for name in self.names]

    def draw(self, number):
        """`own` images of one class, then one of each of `others` different ones.

        Draws 0, 1, ... visit every class once, shuffled, before any a second time. Returns the
        images and each one's index in `names`.
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
        """The first `count` good images of a class, shuffled; where they are too few, again."""
        name, images = self.names[index], []
        files = self._files[name]
        # one permutation, however many are bad: so the files' state changes no later choice
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
        """The image in a file, or None where it is no whole one of the right size."""
        if path in self._bad:
            return None
        try:
            image = read_image(path)
            if image.shape[:2] != self.size:
                raise ImageError(f'{path}: is of {show_size(image.shape)}, '
                                 f'not {show_size(self.size)}')
            return image
        except ImageError as error:
            self._leave_out(path, error)

    def _leave_out(self, path, error):
        """Say so once; ValueError where these become too many."""
        total = sum(map(len, self._files.values()))
        with self._lock:
            if path in self._bad:
                return
            if len(self._bad) < max(1, TOLERATED * total):
                self._bad.add(path)
                logger.warning('left out: %s', error)
                return
        raise ValueError(f'{error}; {len(self._bad)} of {total} images were left out before it: '
                         'make all of one size, and replace those that are damaged')

    def _check_counts(self):
        if len(self.names) <= self.others:
            raise ValueError(f'{self.folder}: has {len(self.names)} class folders, a batch needs '
                             f'{self.others + 1}; add classes, or lower batch_size')
        least = min(self.own, 2)        # two make a pair
        small = [name for name, files in self._files.items() if len(files) < least]
        if small:
            raise ValueError(f'{self.folder}: class folders hold fewer than {least} images '
                             f'({" ".join(EXTENSIONS)}): {_some(small)}; fill or remove them '
                             '(landmark_helper: clean_empty_dir)')

    def _find_size(self, dataset):
        """Height and width of the first good image, which must be the dataset's."""
        for name, files in self._files.items():
            for path in (os.path.join(self.folder, name, file) for file in files):
                try:
                    size = read_image(path).shape[:2]
                except ImageError as error:
                    self._leave_out(path, error)
                    continue
                if size != SIZES.get(dataset, size):
                    raise ValueError(f'{path}: is of {show_size(size)}, images of dataset '
                                     f'{dataset!r} of {show_size(SIZES[dataset])}; resize them, '
                                     'or leave out `dataset`')
                return size
        raise ValueError(f'{self.folder}: none of its images can be read')


class ReadAhead:
    """What load(start), load(start + step), ... return, in this order, read ahead by threads.

    They end when this object goes. An error of `load` reaches the caller of `next`, each time.
    """

    def __init__(self, load, start=0, step=1):
        self._load, self._next, self._step = load, start, step
        self._ahead = deque()
        self._pool = ThreadPoolExecutor(READERS)
        weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)

    def next(self):
        """The next batch; waits for it."""
        self._fill()
        batch = self._ahead[0].result()
        self._ahead.popleft()
        self._next += self._step
        self._fill()
        return batch

    def skip(self, batches):
        """Go on as if `next` had been called so many times, without loading anything."""
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
    """Class name -> names of its images, both sorted."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries
                       if entry.is_dir() and not entry.name.startswith('.'))
    return {name: sorted(file for file in os.listdir(os.path.join(folder, name))
                         if file.lower().endswith(EXTENSIONS) and not file.startswith('.'))
            for name in names}


def show_size(size):
    """Height and width as text for a message."""
    return f'{size[0]} x {size[1]} pixels'


def _some(names, limit=5):
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more
