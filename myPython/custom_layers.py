"""The nets' own layers, written against pycaffe; prototxts name these classes.

    layer { type: "Python" python_param { module: "custom_layers" layer: "NormalizeLayer" } }

The maths of a layer is a plain function over arrays, the class moves blobs.
"""

import logging

import caffe
import cv2
import numpy as np
from deep_retrieval.image_means import SIZES
from deep_retrieval.images import MEAN
from deep_retrieval.training.class_data import (  # noqa: F401
    BinDataLayer,
    BinDataWithoutLabelLayer,
    TripletDataLayer,
)
from deep_retrieval.training.class_folders import show_size
from deep_retrieval.training.layer_parameters import (
    ConstantLayer,
    as_list,
    channel_mean,
    check_counts,
    integer,
    parameters,
)
from deep_retrieval.training.pair_losses import pair_l2, pair_lifted
from deep_retrieval.vectors import EPSILON, normalize
from region_generator import get_rmac_region_coordinates, pack_regions_for_network

LEVELS = 2          # of the rigid grid

logger = logging.getLogger('deep_retrieval.custom_layers')


def normalize_backward(x, diff):
    """The gradient to x, where `diff` is the one to normalize(x)."""
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    # the norm's own gradient is x / norm; 0 is taken at 0, where it has none
    direction = np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
    along = np.sum(diff * x, axis=1, keepdims=True) / (EPSILON + norm)
    return (diff - direction * along) / (EPSILON + norm)


def aggregate(regions, images):
    """Sum the rows of `regions` (R x D ...) that have one number in `images` (R ints).

    Returns (largest number + 1) x D ...; zeros for a number that no row has.
    """
    total = np.zeros((images.max() + 1, *regions.shape[1:]), regions.dtype)
    np.add.at(total, images, regions)
    return total


def resize_planes(x, h, w):
    """... x H x W -> ... x h x w, bilinear as cv2.resize."""
    planes = [cv2.resize(plane, (w, h)) for plane in x.reshape(-1, *x.shape[-2:])]
    return np.stack(planes).reshape(*x.shape[:-2], h, w)


def resize_planes_backward(diff, H, W):
    """The gradient to ... x H x W, where `diff` is the one to ... x h x w of it."""
    h, w = diff.shape[-2:]
    # along each axis resizing is a matrix, which is what it makes of the unit vectors
    rows, columns = cv2.resize(np.eye(H), (H, h)), cv2.resize(np.eye(W), (W, w))
    return rows.T @ diff @ columns


def pick_rows(features, labels, path):
    """The rows of `features` (N x D) that `labels` (B floats) number; `path` is where they lie."""
    good = (labels >= 0) & (labels < len(features)) & (labels == np.floor(labels))
    if not good.all():
        raise ValueError(f'FeatureLayer: {path} has rows 0 to {len(features) - 1}, but a label is '
                         f'{labels[~good][0]:g}; the list of labels belongs to other features')
    rows = features[labels.astype(int)]
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise ValueError(f'FeatureLayer: {path}: row {labels[~finite][0]:g} is not finite; leave '
                         'its image out')
    return rows


class NormalizeLayer(caffe.Layer):
    """Scale each vector along axis 1 to unit length."""

    def setup(self, bottom, top):
        check_counts(self, bottom, top, (1,))

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = normalize(bottom[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = normalize_backward(bottom[0].data, top[0].diff)


class AggregateLayer(caffe.Layer):
    """Sum the regions' vectors of each image (R x D -> B x D).

    The optional second bottom, the rois (R x 5), tells each region's image, so that images may have
    any number of regions. Without it each run of `num_rois` rows is one image; without `num_rois`
    all rows are.
    """

    def setup(self, bottom, top):
        check_counts(self, bottom, top, (1, 2))
        # an older net's batch_size says nothing that the blobs do not
        self.num_rois = parameters(self, num_rois=None, batch_size=None)['num_rois']
        if self.num_rois is not None:
            integer(self, 'num_rois', self.num_rois)

    def reshape(self, bottom, top):
        self.images = self._images(bottom)
        # pycaffe takes plain ints only
        top[0].reshape(int(self.images.max()) + 1, *bottom[0].shape[1:])

    def forward(self, bottom, top):
        top[0].data[...] = aggregate(bottom[0].data, self.images)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff[self.images]

    def _images(self, bottom):
        """The image index of each row of bottom[0]."""
        rows = bottom[0].shape[0]
        if len(bottom) == 2:
            images = bottom[1].data.reshape(-1, 5)[:, 0].astype(int)
            if len(images) != rows or images.min() < 0:
                raise ValueError(f'AggregateLayer: {rows} rows need as many rois with an image '
                                 f'index, not {len(images)}')
            return images
        num_rois = self.num_rois or rows
        if rows % num_rois:
            raise ValueError(f'AggregateLayer: {rows} regions are no multiple of num_rois '
                             f'{num_rois}: give it the rois as a second bottom')
        return np.arange(rows) // num_rois


class FeatureLayer(ConstantLayer):
    """The rows of an N x D .npy, `features`, that the labels number (B -> B x D x 1 x 1)."""

    def setup(self, bottom, top):
        check_counts(self, bottom, top, (1,))
        self.path = str(parameters(self, 'features')['features'])
        try:
            # rows are read when they are needed: the whole may not fit into memory
            self.features = np.load(self.path, mmap_mode='r', allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f'FeatureLayer: {self.path}: is no whole .npy ({error})') from None
        if getattr(self.features, 'ndim', 0) != 2:
            raise ValueError(f'FeatureLayer: {self.path}: is no array of N x D')

    def reshape(self, bottom, top):
        top[0].reshape(bottom[0].count, self.features.shape[1], 1, 1)

    def forward(self, bottom, top):
        rows = pick_rows(self.features, bottom[0].data.reshape(-1), self.path)
        top[0].data[...] = rows[:, :, None, None]


class RigidGridLayer(ConstantLayer):
    """The regions of a batch of images (B x C x H x W -> R x 5, as ROIPooling reads them).

    `dataset` cover, paris or landmark: those of that dataset's one size of images; else of H x W.
    """

    def setup(self, bottom, top):
        check_counts(self, bottom, top, (1,))
        self.dataset = parameters(self, dataset=None)['dataset']
        self.shape = None

    def reshape(self, bottom, top):
        if self.shape != tuple(bottom[0].shape):
            self.shape = tuple(bottom[0].shape)
            self.rois = self._rois(self.shape[0], self.shape[2:])
        top[0].reshape(*self.rois.shape)
        # here too: an AggregateLayer above learns its top's shape from them, before any forward
        top[0].data[...] = self.rois

    def forward(self, bottom, top):
        top[0].data[...] = self.rois

    def _rois(self, images, size):
        fixed = SIZES.get(self.dataset, size)
        if fixed != size:
            logger.warning('RigidGridLayer: the images are of %s, the regions those of %s (dataset '
                           '%r); any other name fits them', show_size(size), show_size(fixed),
                           self.dataset)
        return pack_regions_for_network([get_rmac_region_coordinates(*fixed, LEVELS)] * images)


class ResizeLayer(caffe.Layer):
    """Resize images to `h` x `w` pixels and subtract `mean`, a number a channel."""

    def setup(self, bottom, top):
        check_counts(self, bottom, top, (1,))
        param = parameters(self, 'h', 'w', mean=MEAN)
        self.size = [integer(self, key, param[key]) for key in ('h', 'w')]
        self.mean = channel_mean(self, param['mean'], bottom[0].shape[1])

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape[:2], *self.size)

    def forward(self, bottom, top):
        top[0].data[...] = resize_planes(bottom[0].data, *self.size) - self.mean

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = resize_planes_backward(top[0].diff, *bottom[0].shape[2:])


class PairLossLayer(caffe.Layer):
    """Base of losses over the pairs of a batch: student (B x D), teacher (B x E) -> loss.

    `loss` gives the loss and its gradient to the student; to the teacher it is 0.
    """

    def setup(self, bottom, top):
        check_counts(self, bottom, top, (2,))

    def reshape(self, bottom, top):
        student, teacher = bottom[0].shape[0], bottom[1].shape[0]
        if student != teacher:
            raise ValueError(f'{type(self).__name__}: {student} embeddings of the student and '
                             f'{teacher} of the teacher are no pairs')
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[...] = self.loss(*embeddings(bottom))[0]

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            gradient = self.loss(*embeddings(bottom))[1]
            # the top's diff is the loss's weight
            bottom[0].diff[...] = (top[0].diff[0] * gradient).reshape(bottom[0].data.shape)
        if propagate_down[1]:
            bottom[1].diff[...] = 0


class PairL2LossLayer(PairLossLayer):
    """The mean over the pairs of (d(student) - d(teacher))^2, d the squared distance."""

    loss = staticmethod(pair_l2)


class PairLiftedStructuredLossLayer(PairLossLayer):
    """log(sum of exp((d(student) - d(teacher))^2)) / pairs, d the squared distance."""

    loss = staticmethod(pair_lifted)


def embeddings(blobs):
    """The data of blobs, a row an image."""
    return [blob.data.reshape(blob.shape[0], -1) for blob in as_list(blobs)]
