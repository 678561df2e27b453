"""A deploy net and its weights, which describe images.

    net = DescriptorNet('proto/deploy_resnet101.prototxt', 'caffemodel/model.caffemodel', L=2)
    image, ratio = resize(read_image('a.jpg'), 800)
    descriptor = net([image])[0]
"""

import os

import caffe
from caffe.proto import caffe_pb2
from region_generator import get_rmac_region_coordinates, pack_regions_for_network

from deep_retrieval.images import to_blob

END = 'rmac/normalized'     # layer and blob of the descriptor


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
