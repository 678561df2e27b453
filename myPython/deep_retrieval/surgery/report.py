"""Report the contents of a net: shapes, and statistics of parameters and blobs.

    shapes('proto/deploy_resnet101.prototxt')['conv1[0]']       # (64, 3, 7, 7)
"""

from collections.abc import Sequence

import numpy as np

from deep_retrieval.images import read_image, resize
from deep_retrieval.model import DescriptorNet
from deep_retrieval.surgery.nets import load_net


def shapes(proto: str) -> dict[str, tuple]:
    """Return the shape of each blob and parameter of a net, in order; parameters are NAME[INDEX].

    Raises
    ------
    RuntimeError, ValueError
        The file cannot be read or is not a net.
    """
    net = load_net(proto)
    found = {name: tuple(blob.shape) for name, blob in net.blobs.items()}
    for name, blobs in net.params.items():
        found.update((f'{name}[{index}]', tuple(blob.shape)) for index, blob in enumerate(blobs))
    return found


def data(proto: str, weights: str, layers: Sequence[str] = (), image: str | None = None,
         S: int = 512, L: int = 2) -> list[tuple[str, dict]]:
    """Return statistics of the parameters of layers and, with an image, of their blobs.

    Parameters
    ----------
    proto, weights : paths of a deploy net and its caffemodel
    layers : names of layers; by default all
    image : path of an image to run the net on, optional
    S : longer side in pixels that it is resized to
    L : levels of the rigid grid

    Returns
    -------
    list of (name, statistics)
        Names of parameters are NAME[INDEX]. A blob has the values after its last in-place layer.
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


def statistics(array: np.ndarray) -> dict:
    """Return shape, mean, standard deviation, minimum, maximum and share of zeros of an array."""
    return {'shape': tuple(array.shape), 'mean': float(array.mean(dtype=float)),
            'std': float(array.std(dtype=float)), 'min': float(array.min()),
            'max': float(array.max()), 'zeros': float((array == 0).mean())}
