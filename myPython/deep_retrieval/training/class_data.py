"""Data layers that read a folder with one folder of images per class.

Prototxts name them through custom_layers. Each takes these keys in `param_str`: `batch_size`;
`cls_dir`, the folder; `dataset` (cover, paris or landmark), which sets the size of the images, by
default that of the first image; `mean`, B G R; and `seed`. Batches depend on these alone, and are
read ahead. Solvers that train together get different batches of the same epoch.
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
    """Return images (H x W x 3 uint8) less the mean (3 x 1 x 1) as B x 3 x H x W float32."""
    return np.stack(images).astype(np.float32).transpose(0, 3, 1, 2) - mean


def bin_batch(folders, labels, mean, number):
    """Return data and labels of a draw; `labels` has one per class."""
    images, classes = folders.draw(number)
    return to_blob(images, mean), np.array([labels[index] for index in classes], np.float32)


def triplet_batch(folders, batch_size, mean, number):
    """Return anchors, positives and negatives: one of each from each of `batch_size` draws."""
    draws = [folders.draw(draw)[0]
             for draw in range(number * batch_size, (number + 1) * batch_size)]
    return [to_blob([images[i] for images in draws], mean) for i in range(3)]


class ClassDataLayer(ConstantLayer):
    """Base of the data layers, which differ in what they draw and how it becomes a batch."""

    num_tops = 1

    def parts(self):
        """Return how many images a draw takes of its own class, and how many of other classes."""
        raise NotImplementedError

    def open(self, folders, mean):
        """Return a function of a batch's number that returns one array per top."""
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
        # the threads must not refer to the layer, which would then live as long as they read
        self._batches = ReadAhead(self.open(folders, mean), start, step)

    def reshape(self, bottom, top):
        for blob in as_list(top):
            blob.reshape(self.batch_size, 3, *self.size)

    def forward(self, bottom, top):
        arrays = self._batches.next()
        for i in range(len(top)):       # there may be labels without a top
            top[i].data[...] = arrays[i]

    def skip(self, batches):
        """Continue as if this number of further batches had been delivered, without reading them.

        After skip(n), a new layer delivers what an uninterrupted one delivers after n forwards.
        """
        self._batches.skip(batches)


class BinDataLayer(ClassDataLayer):
    """Half a batch from one class, and one image each from different other classes -> data, label.

    The folders' names are the labels. An epoch visits every class once, in random order.
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
    """batch_size / 2 + 1 images of one class, and one each from different other classes -> data.

    An epoch visits every class once, in random order.
    """

    def parts(self):
        own = self.batch_size // 2 + 1
        return own, self.batch_size - own

    def open(self, folders, mean):
        # there is no top of labels, so folders may have any name
        return partial(bin_batch, folders, range(len(folders.names)), mean)


class TripletDataLayer(ClassDataLayer):
    """`batch_size` triplets: two images of a class, one of another -> anchor, positive, negative.

    An epoch of triplets visits every class once as the anchor's, in random order.
    """

    num_tops = 3

    def parts(self):
        return 2, 1

    def open(self, folders, mean):
        return partial(triplet_batch, folders, self.batch_size, mean)
