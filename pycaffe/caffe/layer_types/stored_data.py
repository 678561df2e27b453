"""Data from LMDBs, image lists and windows of images, prefetched by a background thread."""

from functools import lru_cache
from itertools import chain, islice

import numpy as np
import torch

from .. import common
from ..data_transformer import DataTransformer, own_generator, shared_generator
from ..database import Database, Prefetch, check_backend, cycle, show_key
from ..datum import datum_to_image, decode_image, parse_datum, read_bytes, read_image, read_list
from ..errors import CaffeError
from ..files import naming
from ..layer import Layer, register
from ..windows import cut, read_windows


class PrefetchingLayer(Layer):
    """Tops: data N x C x H x W and labels N, from the endless batches of `open`."""
    bottom_count = (0, 0)
    top_count = (2, 2)

    def open(self):
        """Return the shape of data, and a generator of (data, labels) without a reference to self.
        """
        raise NotImplementedError

    def setup(self, bottom, top):
        self._depth = self.layer_param.data_param.prefetch
        if self._depth < 1:
            raise CaffeError('data_param.prefetch must be at least 1')
        if self.source_param.batch_size < 1:
            raise CaffeError('batch_size must be at least 1')
        self.random = own_generator()
        self.transformer = DataTransformer(self.layer_param.transform_param, self.phase,
                                           self.random)
        shape, self._batches = self.open()
        self._prefetch = None
        for blob, dims in zip(top, (shape, shape[:1]), strict=False):   # labels are optional
            blob.reshape(*dims)

    def _next(self):
        if self._prefetch is None:      # not started earlier: many nets are made but never run
            self._prefetch, self._batches = Prefetch(self._batches, self._depth), None
        return self._prefetch.next()

    def skip(self, batches):
        """Continue as if that many batches had been delivered; this reads them."""
        for _ in range(batches):
            self._next()

    def forward(self, bottom, top):
        for blob, array in zip(top, self._next(), strict=False):
            blob.reshape(*array.shape)
            blob.tensor = torch.from_numpy(array).to(common.device())


class TransformingLayer(PrefetchingLayer):
    """Batches of `samples`, each transformed according to transform_param."""

    def samples(self):
        """Yield (C x H x W array, label, source for messages) endlessly."""
        raise NotImplementedError

    def open(self):
        size = self.source_param.batch_size
        samples = self.samples()
        first = next(samples)
        batches = _batches(chain([first], samples), size, self.transformer)
        return (size, *_shape(self.transformer, first)), batches


def _batches(samples, size, transformer):
    """Yield (data, labels) of `size` samples each."""
    while True:
        labels = np.empty(size, np.float32)
        for item, sample in enumerate(islice(samples, size)):
            shape = _shape(transformer, sample)
            image, labels[item], where = sample
            if item == 0:       # sets the batch's shape; batches of 1 may differ in shape
                data = np.empty((size, *shape), np.float32)
            elif shape != data.shape[1:]:
                raise CaffeError(f'{where}: has shape {shape}, but the first of its batch has '
                                 f'{data.shape[1:]}; resize or crop to one size')
            transformer(image, data[item])
        yield data, labels


def _shape(transformer, sample):
    image, _, where = sample
    with naming(where):
        return transformer.shape(image.shape)


@register
class Data(TransformingLayer):
    """The Datums of an LMDB in key order, endlessly; optionally shuffled."""
    top_count = (1, 2)

    @property
    def source_param(self):
        return self.layer_param.data_param

    def samples(self):
        param = self.source_param
        check_backend(param.DB.Name(param.backend))
        skip = self.transformer.rand(param.rand_skip) if param.rand_skip else 0
        start, step = share(self.phase)
        records = Database(param.source).cycle(shared_generator() if param.shuffle else None,
                                               skip + start, step)
        return _read_datums(param.source, records, self.transformer.is_color)


def share(phase):
    """Return (start, step) of this solver's records among those of all parallel solvers."""
    if phase == common.TEST:        # only the first solver tests
        return 0, 1
    return common.solver_rank(), common.solver_count()


def own_share(records, phase):
    """Yield this solver's share of the records of an endless iterator."""
    start, step = share(phase)
    return islice(records, start, None, step)


def _read_datums(source, records, is_color):
    for key, value in records:
        where = f'{source}: {show_key(key)}'
        with naming(where):
            datum = parse_datum(value)
            image = datum_to_image(datum, is_color)
        yield image, datum.label, where


@register
class ImageData(TransformingLayer):
    """The images of a list of `file label` lines, endlessly; optionally resized and shuffled."""

    @property
    def source_param(self):
        return self.layer_param.image_data_param

    def samples(self):
        param = self.source_param
        if bool(param.new_height) != bool(param.new_width):
            raise CaffeError('new_height and new_width must be given together')
        pairs = read_list(param.source)
        skip = self.transformer.rand(param.rand_skip) if param.rand_skip else 0
        if skip >= len(pairs):
            raise CaffeError(f'{param.source}: rand_skip skips {skip} of {len(pairs)} images')
        pairs = cycle(pairs, self.random if param.shuffle else None, skip)
        size = (param.new_height, param.new_width) if param.new_height else None
        return _read_images(param.root_folder, pairs, param.is_color, size)


def _read_images(root_folder, pairs, is_color, size):
    for name, label in pairs:
        path = root_folder + name
        yield read_image(path, is_color, size), label, path


@register
class WindowData(PrefetchingLayer):
    """Random windows of images: a share of fg_fraction shows objects, the rest background."""

    @property
    def source_param(self):
        return self.layer_param.window_data_param

    def open(self):
        param, crop_size = self.source_param, self.layer_param.transform_param.crop_size
        if crop_size < 1:
            raise CaffeError('transform_param.crop_size must be at least 1')
        if 2 * param.context_pad >= crop_size:
            raise CaffeError(f'context_pad {param.context_pad} is too large for crop_size '
                             f'{crop_size}')
        mean = self.transformer.window_mean(crop_size)
        foreground, background = read_windows(param)
        # Caffe multiplies in float32
        num_foreground = int(np.float32(param.batch_size) * np.float32(param.fg_fraction))
        if num_foreground > param.batch_size:
            raise CaffeError(f'fg_fraction {param.fg_fraction} is more than 1')
        sources = [background] * (param.batch_size - num_foreground) + [foreground] * num_foreground
        read = lru_cache(maxsize=None)(read_bytes) if param.cache_images else read_bytes
        batches = _window_batches(sources, read, param, crop_size, mean, self.transformer)
        return (param.batch_size, 3, crop_size, crop_size), batches


def _window_batches(sources, read, param, crop_size, mean, transformer):
    scale, square = np.float32(param.scale), param.crop_mode == 'square'
    while True:
        data = np.zeros((len(sources), 3, crop_size, crop_size), np.float32)
        labels = np.empty(len(sources), np.float32)
        for item, windows in enumerate(sources):
            window = windows[transformer.rand(len(windows))]
            mirrored = transformer.mirror and transformer.rand(2)
            labels[item] = window.label
            file = read(window.path)
            with naming(f'{window.where}: {window.path}'):
                pixels, top, left = cut(decode_image(file, True), window.box, crop_size,
                                        param.context_pad, square, mirrored)
            place = np.s_[:, top:top + pixels.shape[1], left:left + pixels.shape[2]]
            # pixels outside the image stay 0, the value of the mean
            data[item][place] = (pixels - mean[place]) * scale
        yield data, labels
