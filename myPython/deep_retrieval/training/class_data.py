"""Data layers over a folder of class folders; custom_layers offers them to the nets.

Each takes in `param_str`: `batch_size`; `cls_dir`, the folder; `dataset`, which sets the images'
size (cover, paris or landmark; else it is the first image's); `mean`, B G R; `seed`. Batches are
read ahead and depend on these alone; solvers side by side get different batches of one epoch.
"""

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


def to_blob(images, mean):
    """Images (H x W x 3 uint8) as B x 3 x H x W float32, less the mean (3 x 1 x 1)."""
    return np.stack(images).astype(np.float32).transpose(0, 3, 1, 2) - mean


def bin_batch(folders, labels, mean, number):
    """Data and labels of a draw; `labels` has one a class."""
    images, classes = folders.draw(number)
    return to_blob(images, mean), np.array([labels[index] for index in classes], np.float32)


def triplet_batch(folders, batch_size, mean, number):
    """Anchors, positives and negatives, one each of `batch_size` draws."""
    draws = range(number * batch_size, (number + 1) * batch_size)
    return [to_blob(images, mean) for images in zip(*(folders.draw(draw)[0] for draw in draws))]


class ClassDataLayer(ConstantLayer):
    """Base of the data layers, which differ in what they draw and how it becomes a batch."""

    num_tops = 1

    def parts(self):
        """How many images a draw takes of its own class, and how many of others."""
        raise NotImplementedError

    def open(self, folders, mean):
        """A function: a batch's number -> an array a top."""
        raise NotImplementedError

    def setup(self, bottom, top):
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
        # the threads must not refer to the layer, or it would not go while they read
        self._batches = ReadAhead(self.open(folders, mean), start, step)

    def reshape(self, bottom, top):
        for blob in as_list(top):
            blob.reshape(self.batch_size, 3, *self.size)

    def forward(self, bottom, top):
        for blob, array in zip(as_list(top), self._batches.next()):
            blob.data[...] = array

    def skip(self, batches):
        """Go on as if so many more batches had been delivered; no image is read for it.

        After skip(n) a new layer delivers what one that was not interrupted delivers behind n
        forwards.
        """
        self._batches.skip(batches)


class BinDataLayer(ClassDataLayer):
    """Half a batch of one class, half of different others, one image each -> data, label.

    The folders' names are the labels. An epoch visits every class once, shuffled.
    """

    num_tops = 2

    def parts(self):
        return self.batch_size - self.batch_size // 2, self.batch_size // 2

    def open(self, folders, mean):
        return partial(bin_batch, folders, folders.labels(), mean)

    def reshape(self, bottom, top):
        super().reshape(bottom, [top[0]])
        top[1].reshape(self.batch_size)


class BinDataWithoutLabelLayer(ClassDataLayer):
    """batch_size / 2 + 1 images of one class, the rest of different others -> data.

    An epoch visits every class once, shuffled.
    """

    def parts(self):
        own = self.batch_size // 2 + 1
        return own, self.batch_size - own

    def open(self, folders, mean):
        # no top shows the labels, so that folders may have any name
        return partial(bin_batch, folders, range(len(folders.names)), mean)


class TripletDataLayer(ClassDataLayer):
    """`batch_size` times two images of a class and one of another -> anchor, positive, negative.

    An epoch of triplets visits every class once as the anchor's, shuffled.
    """

    num_tops = 3

    def parts(self):
        return 2, 1

    def open(self, folders, mean):
        return partial(triplet_batch, folders, self.batch_size, mean)
