"""Python layers for pycaffe; prototxts refer to these classes by name.

    layer { type: "Python" python_param { module: "custom_layers" layer: "NormalizeLayer" } }

The maths of each layer is a plain function of arrays; the class only moves blobs.
"""

import logging
from collections.abc import Sequence

import caffe
import cv2
import numpy as np
from caffe.proto import caffe_pb2
from deep_retrieval import store
from deep_retrieval.image_means import SIZES
from deep_retrieval.images import MEAN
from deep_retrieval.training.class_data import (  # noqa: F401
    BinDataLayer,
    BinDataWithoutLabelLayer,
    TripletDataLayer,
)
from deep_retrieval.training.class_folders import show_size
from deep_retrieval.training.gem import EPSILON as GEM_EPSILON
from deep_retrieval.training.gem import gem, gem_backward, windows
from deep_retrieval.training.layer_parameters import (
    ConstantLayer,
    as_list,
    channel_mean,
    check_counts,
    integer,
    parameters,
    positive,
)
from deep_retrieval.training.pair_losses import pair_l2, pair_lifted
from deep_retrieval.vectors import EPSILON, normalize
from region_generator import (
    get_map_region_coordinates,
    get_rmac_region_coordinates,
    pack_regions_for_network,
)

LEVELS = 2          # levels of the rigid grid

logger = logging.getLogger('deep_retrieval.custom_layers')


def normalize_backward(x: np.ndarray, diff: np.ndarray) -> np.ndarray:
    """Return the gradient w.r.t. x (N x D x ...); `diff` is the gradient w.r.t. normalize(x)."""
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    # the gradient of the norm is x / norm; at 0, where it does not exist, 0 is used
    direction = np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
    along = np.sum(diff * x, axis=1, keepdims=True) / (EPSILON + norm)
    return (diff - direction * along) / (EPSILON + norm)


def aggregate(regions: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Sum the rows of each image.

    Parameters
    ----------
    regions : R x D x ...
    images : R ints, the image of each row

    Returns
    -------
    ndarray, (largest image + 1) x D x ...
        Zeros for an image without rows.
    """
    total = np.zeros((images.max() + 1, *regions.shape[1:]), regions.dtype)
    np.add.at(total, images, regions)
    return total


def resize_planes(x: np.ndarray, h: int, w: int) -> np.ndarray:
    """Resize ... x H x W to ... x h x w bilinearly, as cv2.resize does."""
    planes = [cv2.resize(plane, (w, h)) for plane in x.reshape(-1, *x.shape[-2:])]
    return np.stack(planes).reshape(*x.shape[:-2], h, w)


def resize_planes_backward(diff: np.ndarray, H: int, W: int) -> np.ndarray:
    """Return the gradient w.r.t. the ... x H x W input; `diff` is that of its resized ... x h x w.
    """
    h, w = diff.shape[-2:]
    # resizing is a matrix along each axis, whose columns are the resized unit vectors
    rows, columns = cv2.resize(np.eye(H), (H, h)), cv2.resize(np.eye(W), (W, w))
    return rows.T @ diff @ columns


def pick_rows(features: np.ndarray, labels: np.ndarray, path: str) -> np.ndarray:
    """Return the rows of `features` at the indices `labels`.

    Parameters
    ----------
    features : N x D
    labels : B indices of rows
    path : file of the features, for messages

    Raises
    ------
    ValueError
        A row does not exist or is not finite.
    """
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
    """Scale each vector along axis 1 to unit L2 norm."""

    def setup(self, bottom: Sequence, top: Sequence) -> None:
        check_counts(self, bottom, top, (1,))

    def reshape(self, bottom: Sequence, top: Sequence) -> None:
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: Sequence, top: Sequence) -> None:
        top[0].data[...] = normalize(bottom[0].data)

    def backward(self, top: Sequence, propagate_down: Sequence[bool], bottom: Sequence) -> None:
        if propagate_down[0]:
            bottom[0].diff[...] = normalize_backward(bottom[0].data, top[0].diff)


class GeMLayer(caffe.Layer):
    """Generalized-mean pooling of each channel, with a learnable power (B x C x H x W).

    The top is B x C x 1 x 1, the mean over the whole map. With the rois as an optional second
    bottom (R x 5, as for ROIPooling), it is R x C x 1 x 1, the mean over each region, or 0 for a
    region outside the map. The parameters (and defaults) are `p` (3), the initial power; `eps`
    (1e-6), to which smaller values are raised; and `spatial_scale` (1), the number of cells per
    pixel of the rois. The power is parameter 0 of the layer, so `param { lr_mult: 10 }` sets its
    learning rate. See `gem.py`.
    """

    @staticmethod
    def parameters(layer_param: caffe_pb2.LayerParameter) -> list[str]:
        """Return the names of the parameters, for this repository's engine."""
        return ['power']

    def setup(self, bottom: Sequence, top: Sequence) -> None:
        check_counts(self, bottom, top, (1, 2))
        param = parameters(self, p=3, eps=GEM_EPSILON, spatial_scale=1)
        p, self.eps, self.scale = (positive(self, key, param[key])
                                   for key in ('p', 'eps', 'spatial_scale'))
        if not len(self.blobs):
            self.blobs.add_blob(1)
            self.blobs[0].data[...] = p

    def reshape(self, bottom: Sequence, top: Sequence) -> None:
        rows = bottom[1].shape[0] if len(bottom) == 2 else bottom[0].shape[0]
        top[0].reshape(rows, bottom[0].shape[1], 1, 1)

    def forward(self, bottom: Sequence, top: Sequence) -> None:
        x, p = bottom[0].data, self._power()
        top[0].data[...] = 0
        for row, (image, *window) in enumerate(self._windows(bottom)):
            cells = x[(image, slice(None), *window)]
            if cells.size:
                top[0].data[row] = gem(cells, p, self.eps)

    def backward(self, top: Sequence, propagate_down: Sequence[bool], bottom: Sequence) -> None:
        x, p = bottom[0].data, self._power()
        to_x = np.zeros_like(x)
        for row, (image, *window) in enumerate(self._windows(bottom)):
            place = (image, slice(None), *window)
            if x[place].size:
                part, to_p = gem_backward(x[place], p, top[0].diff[row], self.eps)
                to_x[place] += part
                self.blobs[0].diff[...] += to_p
        if propagate_down[0]:
            bottom[0].diff[...] = to_x
        if len(bottom) == 2 and propagate_down[1]:
            bottom[1].diff[...] = 0

    def _power(self):
        p = float(self.blobs[0].data[0])
        if not p > 0:
            raise ValueError(f'GeMLayer: the power has become {p:g}, but must be positive; lower '
                             'its lr_mult')
        return p

    def _windows(self, bottom):
        images, _, H, W = bottom[0].shape
        if len(bottom) == 1:
            return [(image, slice(0, H), slice(0, W)) for image in range(images)]
        return windows(bottom[1].data.reshape(-1, 5), H, W, self.scale)


class AggregateLayer(caffe.Layer):
    """Sum the vectors of each image's regions (R x D -> B x D).

    The optional second bottom, the rois (R x 5), gives each region's image, so that images may have
    different numbers of regions. Without it, each run of `num_rois` rows is one image; without
    `num_rois`, all rows are.
    """

    def setup(self, bottom: Sequence, top: Sequence) -> None:
        check_counts(self, bottom, top, (1, 2))
        # batch_size, which older nets have, adds nothing to what the blobs say
        self.num_rois = parameters(self, num_rois=None, batch_size=None)['num_rois']
        if self.num_rois is not None:
            integer(self, 'num_rois', self.num_rois)

    def reshape(self, bottom: Sequence, top: Sequence) -> None:
        self.images = self._images(bottom)
        # pycaffe accepts plain ints only
        top[0].reshape(int(self.images.max()) + 1, *bottom[0].shape[1:])

    def forward(self, bottom: Sequence, top: Sequence) -> None:
        top[0].data[...] = aggregate(bottom[0].data, self.images)

    def backward(self, top: Sequence, propagate_down: Sequence[bool], bottom: Sequence) -> None:
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff[self.images]

    def _images(self, bottom):
        """Return the image index of each row of bottom[0]."""
        rows = bottom[0].shape[0]
        if len(bottom) == 2:
            images = bottom[1].data.reshape(-1, 5)[:, 0].astype(int)
            if len(images) != rows or images.min() < 0:
                raise ValueError(f'AggregateLayer: {rows} rows need as many rois with an image '
                                 f'index, not {len(images)}')
            return images
        num_rois = self.num_rois or rows
        if rows % num_rois:
            raise ValueError(f'AggregateLayer: {rows} regions are not a multiple of num_rois '
                             f'{num_rois}: give it the rois as a second bottom')
        return np.arange(rows) // num_rois


class FeatureLayer(ConstantLayer):
    """Look up rows of the .npy file `features` (N x D) by label (B -> B x D x 1 x 1)."""

    def setup(self, bottom: Sequence, top: Sequence) -> None:
        check_counts(self, bottom, top, (1,))
        self.path = str(parameters(self, 'features')['features'])
        with store.reading(self.path, 'an .npy file'):
            # rows are read on demand, because all of them may not fit into memory
            self.features = np.load(self.path, mmap_mode='r', allow_pickle=False)
        if getattr(self.features, 'ndim', 0) != 2 or self.features.dtype.kind not in 'fiu':
            raise ValueError(f'FeatureLayer: {self.path}: is not an N x D array of numbers')

    def reshape(self, bottom: Sequence, top: Sequence) -> None:
        top[0].reshape(bottom[0].count, self.features.shape[1], 1, 1)

    def forward(self, bottom: Sequence, top: Sequence) -> None:
        rows = pick_rows(self.features, bottom[0].data.reshape(-1), self.path)
        top[0].data[...] = rows[:, :, None, None]


class RigidGridLayer(ConstantLayer):
    """Make the regions of a batch of images (B x C x H x W -> R x 5, as for ROIPooling).

    If `dataset` is cover, paris or landmark, the regions are those of that dataset's image size;
    otherwise those of H x W.
    """

    def setup(self, bottom: Sequence, top: Sequence) -> None:
        check_counts(self, bottom, top, (1,))
        self.dataset = parameters(self, dataset=None)['dataset']
        self.shape = None

    def reshape(self, bottom: Sequence, top: Sequence) -> None:
        if self.shape != tuple(bottom[0].shape):
            self.shape = tuple(bottom[0].shape)
            self.rois = self._rois(self.shape[0], self.shape[2:])
        top[0].reshape(*self.rois.shape)
        # filled here too: a later AggregateLayer derives its shape from them before a forward
        top[0].data[...] = self.rois

    def forward(self, bottom: Sequence, top: Sequence) -> None:
        top[0].data[...] = self.rois

    def _rois(self, images, size):
        fixed = SIZES.get(self.dataset, size)
        if fixed != size:
            logger.warning('RigidGridLayer: the images are of %s, but the regions are those of %s '
                           '(dataset %r); any other name takes the images\' size',
                           show_size(size), show_size(fixed), self.dataset)
        return pack_regions_for_network([get_rmac_region_coordinates(*fixed, LEVELS)] * images)


class MapGridLayer(RigidGridLayer):
    """Make the regions of a batch of maps (B x C x H x W -> R x 5), in cells, of levels 1 to `L`.

    The first region of each map is the whole map. ROIPooling reads them with a spatial_scale of 1.
    """

    def setup(self, bottom: Sequence, top: Sequence) -> None:
        check_counts(self, bottom, top, (1,))
        self.levels = integer(self, 'L', parameters(self, L=3)['L'])
        self.shape = None

    def _rois(self, images, size):
        regions = get_map_region_coordinates(*size, self.levels)
        return pack_regions_for_network([regions] * images)


class ResizeLayer(caffe.Layer):
    """Resize images to `h` x `w` pixels, and subtract `mean`, one value per channel."""

    def setup(self, bottom: Sequence, top: Sequence) -> None:
        check_counts(self, bottom, top, (1,))
        param = parameters(self, 'h', 'w', mean=MEAN)
        self.size = [integer(self, key, param[key]) for key in ('h', 'w')]
        self.mean = channel_mean(self, param['mean'], bottom[0].shape[1])

    def reshape(self, bottom: Sequence, top: Sequence) -> None:
        top[0].reshape(*bottom[0].shape[:2], *self.size)

    def forward(self, bottom: Sequence, top: Sequence) -> None:
        top[0].data[...] = resize_planes(bottom[0].data, *self.size) - self.mean

    def backward(self, top: Sequence, propagate_down: Sequence[bool], bottom: Sequence) -> None:
        if propagate_down[0]:
            bottom[0].diff[...] = resize_planes_backward(top[0].diff, *bottom[0].shape[2:])


class PairLossLayer(caffe.Layer):
    """Base of losses over the pairs of a batch: student (B x D), teacher (B x E) -> loss.

    `loss` returns the loss and its gradient w.r.t. the student; that of the teacher is 0.
    """

    def setup(self, bottom: Sequence, top: Sequence) -> None:
        check_counts(self, bottom, top, (2,))

    def reshape(self, bottom: Sequence, top: Sequence) -> None:
        student, teacher = bottom[0].shape[0], bottom[1].shape[0]
        if student != teacher:
            raise ValueError(f'{type(self).__name__}: {student} embeddings of the student and '
                             f'{teacher} of the teacher do not make pairs')
        top[0].reshape(1)

    def forward(self, bottom: Sequence, top: Sequence) -> None:
        top[0].data[...] = self.loss(*embeddings(bottom))[0]

    def backward(self, top: Sequence, propagate_down: Sequence[bool], bottom: Sequence) -> None:
        if propagate_down[0]:
            gradient = self.loss(*embeddings(bottom))[1]
            # the top's diff is the loss weight
            bottom[0].diff[...] = (top[0].diff[0] * gradient).reshape(bottom[0].data.shape)
        if propagate_down[1]:
            bottom[1].diff[...] = 0


class PairL2LossLayer(PairLossLayer):
    """The mean over pairs of (d(student) - d(teacher))^2, where d is the squared distance."""

    loss = staticmethod(pair_l2)


class PairLiftedStructuredLossLayer(PairLossLayer):
    """log(sum over pairs of exp((d(student) - d(teacher))^2)) / number of pairs; d as above."""

    loss = staticmethod(pair_lifted)


def embeddings(blobs: Sequence) -> list[np.ndarray]:
    """Return the data of blobs, one row per image."""
    return [blob.data.reshape(blob.shape[0], -1) for blob in as_list(blobs)]
