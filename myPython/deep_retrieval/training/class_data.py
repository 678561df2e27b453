"""Data layers that read a folder with one folder of images per class.

Prototxts refer to them as classes of custom_layers. The keys of `param_str` are `batch_size`;
`cls_dir`, the folder; `dataset` (cover, paris or landmark), which sets the size of the images, by
default that of the first image; `mean`, B G R; and `seed`. Batches depend only on these keys, and
are prefetched. Parallel solvers get different batches of the same epoch.
"""

from collections.abc import Callable, Sequence
from functools import partial

import caffe
import numpy as np

from deep_retrieval.images import MEAN
from deep_retrieval.training.class_folders import ClassFolders, ReadAhead
from deep_retrieval.training.layer_parameters import (
    ConstantLayer,
    as_list,
    channel_mean,
    check_counts,
    integer,
    parameters,
)


def to_blob(images: list, mean: np.ndarray) -> np.ndarray:
    """Return images (H x W x 3 uint8) minus the mean (3 x 1 x 1) as B x 3 x H x W float32."""
    return np.stack(images).astype(np.float32).transpose(0, 3, 1, 2) - mean


def bin_batch(folders: ClassFolders, labels: Sequence[int], mean: np.ndarray,
              number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return data and labels of a draw; `labels` has one label per class."""
    images, classes = folders.draw(number)
    return to_blob(images, mean), np.array([labels[index] for index in classes], np.float32)


def triplet_batch(folders: ClassFolders, batch_size: int, mean: np.ndarray,
                  number: int) -> list[np.ndarray]:
    """Return anchors, positives and negatives, one of each from each of `batch_size` draws."""
    draws = [folders.draw(draw)[0]
             for draw in range(number * batch_size, (number + 1) * batch_size)]
    return [to_blob([images[i] for images in draws], mean) for i in range(3)]


class ClassDataLayer(ConstantLayer):
    """Base of the data layers; subclasses define what to draw and how to make a batch of it."""

    num_tops = 1

    def parts(self) -> tuple[int, int]:
        """Return the numbers of images that a draw takes from its own class and from others."""
        raise NotImplementedError

    def open(self, folders: ClassFolders, mean: np.ndarray) -> Callable:
        """Return a function from the number of a batch to one array per top."""
        raise NotImplementedError

    def setup(self, bottom: Sequence, top: Sequence) -> None:
        check_counts(self, bottom, top, (0,), self.num_tops)
        param = parameters(self, 'batch_size', 'cls_dir', dataset=None, mean=MEAN, seed=0)
        self.batch_size = integer(self, 'batch_size', param['batch_size'])
        seed = integer(self, 'seed', param['seed'], least=0)
        mean = channel_mean(self, param['mean'])
        folders = ClassFolders(param['cls_dir'], param['dataset'], *self.parts(), seed)
        self.size = folders.size
        start, step = caffe.solver_rank(), caffe.solver_count()
        if self.phase == caffe.TEST:        # only the first of several solvers tests
            start, step = 0, 1
        # the threads must not refer to the layer, which would then live as long as they read
        self._batches = ReadAhead(self.open(folders, mean), start, step)

    def reshape(self, bottom: Sequence, top: Sequence) -> None:
        for blob in as_list(top):
            blob.reshape(self.batch_size, 3, *self.size)

    def forward(self, bottom: Sequence, top: Sequence) -> None:
        arrays = self._batches.next()
        for i in range(len(top)):       # the labels may have no top
            top[i].data[...] = arrays[i]

    def skip(self, batches: int) -> None:
        """Skip this number of batches without reading them.

        After skip(n), a new layer returns the same batches as one that has run n forwards.
        """
        self._batches.skip(batches)


class BinDataLayer(ClassDataLayer):
    """Half a batch from one class, and one image each of different other classes -> data, label.

    The names of the folders are the labels. An epoch visits every class once, in random order.
    """

    num_tops = 2

    def parts(self) -> tuple[int, int]:
        return self.batch_size - self.batch_size // 2, self.batch_size // 2

    def open(self, folders: ClassFolders, mean: np.ndarray) -> Callable:
        return partial(bin_batch, folders, folders.labels(), mean)

    def reshape(self, bottom: Sequence, top: Sequence) -> None:
        super().reshape(bottom, [top[0]])
        top[1].reshape(self.batch_size)


class BinDataWithoutLabelLayer(ClassDataLayer):
    """batch_size / 2 + 1 images of one class, and one each of different other classes -> data.

    An epoch visits every class once, in random order.
    """

    def parts(self) -> tuple[int, int]:
        own = self.batch_size // 2 + 1
        return own, self.batch_size - own

    def open(self, folders: ClassFolders, mean: np.ndarray) -> Callable:
        # without labels, folders may have any name
        return partial(bin_batch, folders, range(len(folders.names)), mean)


class TripletDataLayer(ClassDataLayer):
    """`batch_size` triplets: two images of a class, one of another -> anchor, positive, negative.

    An epoch of triplets uses every class once for the anchor, in random order.
    """

    num_tops = 3

    def parts(self) -> tuple[int, int]:
        return 2, 1

    def open(self, folders: ClassFolders, mean: np.ndarray) -> Callable:
        return partial(triplet_batch, folders, self.batch_size, mean)
