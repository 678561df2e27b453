"""The nets' own layers, written against pycaffe; prototxts name these classes.

    layer { type: "Python" python_param { module: "custom_layers" layer: "NormalizeLayer" } }

The maths of a layer is a plain function over arrays, the class moves blobs.
"""

import caffe
import numpy as np
import yaml

EPSILON = 1e-8      # keeps a vector of zeros from being divided by zero


def normalize(x):
    """x / (EPSILON + its L2 norm over axis 1)."""
    return x / (EPSILON + np.linalg.norm(x, axis=1, keepdims=True))


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
        self.num_rois = parameters(self).get('num_rois')
        if self.num_rois is not None and not (isinstance(self.num_rois, int) and self.num_rois > 0):
            raise ValueError(f'AggregateLayer: num_rois must be a positive integer, '
                             f'not {self.num_rois!r}')

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


def parameters(layer):
    """The dict in a Python layer's `param_str`, which is YAML; empty where nothing stands there."""
    return yaml.safe_load(getattr(layer, 'param_str', '') or '{}') or {}


def check_counts(layer, bottom, top, bottoms, tops=1):
    """Raise ValueError unless the layer has one of the numbers of bottoms, and `tops` tops."""
    if len(bottom) not in bottoms or len(top) != tops:
        raise ValueError(f'{type(layer).__name__} takes {" or ".join(map(str, bottoms))} bottoms '
                         f'and {tops} top, not {len(bottom)} and {len(top)}')
