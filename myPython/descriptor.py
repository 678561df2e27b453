"""From an image's file to its descriptor: reading, resizing, cropping, and the net.

    net = DescriptorNet('proto/deploy_resnet101.prototxt', 'caffemodel/model.caffemodel', L=2)
    image, ratio = resize(read_image('a.jpg'), 800)
    descriptor = net([image])[0]
"""

import os

import caffe
import cv2
import numpy as np
from caffe.proto import caffe_pb2

from region_generator import get_rmac_region_coordinates, pack_regions_for_network

MEAN = np.array([103.93900299, 116.77899933, 123.68000031], np.float32)     # B, G, R
LEAST_SIDE = 3      # pixels; of less the nets' first convolution leaves nothing to pool
END = 'rmac/normalized'     # layer and blob of the descriptor

JPEG, PNG = b'\xff\xd8\xff', b'\x89PNG'


class ImageError(ValueError):
    """A file that is no whole image; one line that names it."""


def read_image(path):
    """The image in a file, H x W x 3 uint8 (B, G, R); grey becomes BGR and alpha is dropped.

    ImageError where the file is missing, no image, or truncated: OpenCV would return the part of
    a JPEG that is there, with grey below.
    """
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except OSError as error:
        raise ImageError(f'{path}: {error.strerror}') from None
    if _is_truncated(data):
        raise ImageError(f'{path}: is truncated')
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:       # more pixels than OpenCV reads
        image = None
    if image is None:
        raise ImageError(f'{path}: is no image that OpenCV reads')
    return image


def _is_truncated(data):
    if data.startswith(JPEG):
        # the end marker must come behind the last scan: a thumbnail has an end of its own before
        return data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda')
    return data.startswith(PNG) and b'IEND' not in data[-64:]


def resize(image, S):
    """Scale an image so that its longer side has S pixels; returns it and the ratio.

    The shorter side of a very thin image is stretched to LEAST_SIDE.
    """
    height, width = image.shape[:2]
    ratio = S / max(height, width)
    size = (max(LEAST_SIDE, round(width * ratio)), max(LEAST_SIDE, round(height * ratio)))
    return cv2.resize(image, size), ratio


def crop(image, box, ratio):
    """Cut box (x1, y1, x2, y2 in pixels of the original) from an image scaled by `ratio`.

    What lies outside the image is left off, but LEAST_SIDE pixels remain.
    """
    x1, y1, x2, y2 = (round(value * ratio) for value in box)
    return image[_span(y1, y2, image.shape[0]), _span(x1, x2, image.shape[1])]


def _span(first, end, length):
    first = min(max(first, 0), length - LEAST_SIDE)
    return slice(first, max(end, first + LEAST_SIDE))


def to_blob(images):
    """Images of one size (H x W x 3 uint8) as B x 3 x H x W float32, less the mean."""
    return (np.stack(images).astype(np.float32) - MEAN).transpose(0, 3, 1, 2)


class DescriptorNet:
    """A deploy net with inputs `data` and `rois` that gives one descriptor an image.

    Called with a list of images of one size (BGR uint8), it returns their descriptors, B x D.
    """

    def __init__(self, proto, weights, L, end=END, partial_weights=False):
        """Raises ValueError or RuntimeError, in one line, where the files do not fit.

        partial_weights : accept weights for a part of the net, or for more than the net
        """
        for path in (proto, weights):
            if not os.path.isfile(path):
                raise FileNotFoundError(2, 'there is no such file', str(path))
        self.L, self.end = L, end
        self.net = caffe.Net(str(proto), str(weights), caffe.TEST)
        for name in ('data', 'rois', end):
            if name not in self.net.blobs:
                raise ValueError(f'{proto}: has no blob {name!r}')
        if not partial_weights:
            check_weights(self.net, proto, weights)

    def __call__(self, images):
        blob = to_blob(images)
        regions = get_rmac_region_coordinates(*blob.shape[2:], self.L)
        self.feed('data', blob)
        self.feed('rois', pack_regions_for_network([regions] * len(images)))
        self.net.forward(end=self.end)
        rows = self.net.blobs[self.end].data
        if len(rows) != len(images):
            raise ValueError(f'the net gives {len(rows)} descriptors for {len(images)} images: '
                             'use a batch size of 1, or give its AggregateLayer the rois too')
        return rows.reshape(len(rows), -1).copy()

    def feed(self, name, array):
        """Bring an input blob to the array's shape, and fill it."""
        self.net.blobs[name].reshape(*array.shape)
        self.net.blobs[name].data[...] = array


def check_weights(net, proto, weights):
    """Raise ValueError that lists the layers whose weights only the net or only the file has.

    Caffe would leave such layers as they are, without a word.
    """
    found = stored_layers(weights)
    faults = [f'{what} {_some(names)}' for what, names in (
        (f'lacks the weights of layers that {proto} has:', set(net.params) - found),
        (f'has weights of layers that {proto} lacks:', found - set(net.params))) if names]
    if faults:
        raise ValueError(f'{weights}: {"; and ".join(faults)} '
                         '(--partial_weights takes what fits)')


def stored_layers(weights):
    """The names of the layers that a caffemodel has parameters of, a set."""
    stored = caffe_pb2.NetParameter()
    with open(weights, 'rb') as file:
        stored.ParseFromString(file.read())
    return {layer.name for layer in [*stored.layer, *stored.layers] if layer.blobs}


def _some(names, limit=10):
    names = sorted(names)
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more
