"""What is in a net: shapes, and statistics of parameters and blobs."""

import caffe

from deep_retrieval.images import read_image, resize
from deep_retrieval.model import DescriptorNet


def shapes(proto):
    """Name -> shape of each blob and parameter of the net, in order; parameters are NAME[INDEX]."""
    net = caffe.Net(str(proto), caffe.TEST)
    found = {name: tuple(blob.shape) for name, blob in net.blobs.items()}
    for name, blobs in net.params.items():
        found.update((f'{name}[{index}]', tuple(blob.shape)) for index, blob in enumerate(blobs))
    return found


def data(proto, weights, layers=(), image=None, S=512, L=2):
    """(name, statistics) of each parameter of the layers and, for an image's file, of each blob.

    No layers are all layers. The image has S pixels on its longer side and the rigid grid's L
    levels. A blob holds what the last layer in place left there.
    """
    described = DescriptorNet(proto, weights, L, partial_weights=True)
    net = described.net
    unknown = set(layers) - set(net.layer_dict)
    if unknown:
        raise ValueError(f'{proto}: has no layers {sorted(unknown)}')
    if image is not None:
        described([resize(read_image(image), S)[0]])
    rows = []
    for name in layers or net.layer_dict:
        rows += [(f'{name}[{index}]', statistics(blob.data))
                 for index, blob in enumerate(net.params.get(name, ()))]
        if image is not None:
            rows += [(blob, statistics(net.blobs[blob].data)) for blob in net.top_names[name]]
    return rows


def statistics(array):
    """Shape, mean, standard deviation, extremes and share of zeros of an array, as a dict."""
    return {'shape': tuple(array.shape), 'mean': float(array.mean(dtype=float)),
            'std': float(array.std(dtype=float)), 'min': float(array.min()),
            'max': float(array.max()), 'zeros': float((array == 0).mean())}
