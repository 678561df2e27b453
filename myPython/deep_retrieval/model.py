"""Load weights with their description, and describe images with the resulting net.

    model = load_model('caffemodel/lite0_rmac.caffemodel')      # reads the .json beside it
    rows = model([read_image('a.jpg'), read_image('b.jpg')])    # 2 x D

`X.json` beside `X.caffemodel` says how to use the weights: `net` (the prototxt, relative to the
json or to the repository), `blob`, `mean`, `scale`, `colour`, `S`, `L`, `dimension`, `trained`,
`thresholds`, `source`, `licence`, `sha256` and `learned_from`. Keys may be missing; weights without
a json get the defaults of the released model.
"""

import dataclasses
import errno
import logging
import math
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deep_retrieval import paths, store
from deep_retrieval.arguments import finite, whole
from deep_retrieval.images import MEAN, check_images, crop, resize, to_blob
from deep_retrieval.scales import LEAST_SIDE

if TYPE_CHECKING:
    import caffe

END = 'rmac/normalized'     # layer and blob of the descriptor

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class WeightsInfo:
    """The contents of `X.json`, which describes `X.caffemodel`.

    net : path of the prototxt
    blob : name of the descriptor's blob
    mean, scale, colour : preprocessing of the input, see `images.to_blob`
    S : recommended longer side in pixels, or None
    L : recommended levels of the rigid grid
    trained : False for untrained weights, None if unknown
    thresholds : similarities from which pairs of images are near-duplicates with a precision of 90,
        95 and 99 %, by '0.90', '0.95' and '0.99'; None if unknown

    A field of a wrong type or value is a TypeError or ValueError that names it.
    """

    net: str = str(paths.PROTO)
    blob: str = END
    mean: tuple = tuple(MEAN.tolist())
    scale: float = 1
    colour: str = 'BGR'
    S: int | None = None
    L: int = 2
    dimension: int | None = None
    trained: bool | None = None
    thresholds: dict | None = None
    source: str | None = None
    licence: str | None = None
    sha256: str | None = None
    learned_from: dict | None = None

    def __post_init__(self):
        for name, least in (('S', LEAST_SIDE), ('L', 0), ('dimension', 1)):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name), least)
        object.__setattr__(self, 'mean', finite('mean', self.mean, 3))
        if not isinstance(self.scale, (int, float)) or not math.isfinite(self.scale):
            raise ValueError(f'scale is {self.scale!r}, but must be a finite number')
        if self.colour not in ('BGR', 'RGB'):
            raise ValueError(f'colour is {self.colour!r}, but must be BGR or RGB')
        if self.thresholds is not None and not (isinstance(self.thresholds, dict) and all(
                isinstance(value, (int, float)) for value in self.thresholds.values())):
            raise TypeError('thresholds must be numbers by their precision')
        for name in ('net', 'blob'):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f'{name} is {getattr(self, name)!r}, but must be a string')


def info_path(weights: str | os.PathLike) -> str:
    """Return the path of the json that describes a caffemodel."""
    return os.path.splitext(weights)[0] + '.json'


def read_info(weights: str | os.PathLike) -> WeightsInfo:
    """Read the json of a caffemodel; without one, return the defaults.

    Raises
    ------
    ValueError
        The json is damaged, has an invalid value, names a net that does not exist, or was written
        for other weights (another SHA-256). The one-line message names the json.
    """
    path = info_path(weights)
    if not os.path.exists(path):
        return WeightsInfo()
    found = store.read_json(path)
    known = {field.name for field in dataclasses.fields(WeightsInfo)}
    values = {key: value for key, value in found.items() if key in known and value is not None}
    try:
        info = WeightsInfo(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{path}: {error}') from None
    if 'net' in values:
        info = dataclasses.replace(info, net=_find_net(path, info.net))
    if info.sha256 and os.path.exists(weights) and store.sha256(weights) != info.sha256:
        raise ValueError(f'{path}: was written for other weights than {weights} (another SHA-256); '
                         'remove it, or write it again')
    return info


def _find_net(path, name):
    for folder in (Path(path).parent, paths.ROOT):
        if (folder / name).is_file():
            return str(folder / name)
    raise ValueError(f'{path}: its net {name} does not exist, neither beside it nor in '
                     f'{paths.ROOT}')


def write_info(weights: str | os.PathLike, **values) -> None:
    """Write the json of a caffemodel; `values` are fields of `WeightsInfo`.

    The SHA-256 of the weights is added, so write the caffemodel first.
    """
    store.write_json(info_path(weights), {**values, 'sha256': store.sha256(weights)})


class DescriptorNet:
    """A deploy net with inputs `data` and `rois` that computes one descriptor per image.

    Parameters
    ----------
    proto, weights : paths
    L : int
        Levels of the rigid grid; 0 for the whole image as one region (MAC).
    end : str
        Blob of the descriptor.
    partial_weights : bool
        Accept weights that do not have the same layers as the net.
    mean, scale, colour : see `images.to_blob`

    Raises
    ------
    ValueError, RuntimeError, FileNotFoundError
        The files do not match or cannot be read. The one-line message names the file.
    """

    def __init__(self, proto, weights, L, end=END, partial_weights=False, mean=MEAN, scale=1,
                 colour='BGR'):
        import caffe
        check_file(proto)
        check_weights_file(weights)
        self.L, self.end = L, end
        self._input = {'mean': mean, 'scale': scale, 'colour': colour}
        self._dimension = None  # unknown before the first descriptors
        self.net = caffe.Net(str(proto), str(weights), caffe.TEST)
        for name in ('data', 'rois', end):
            if name not in self.net.blobs:
                raise ValueError(f'{proto}: has no blob {name!r}')
        if not partial_weights:
            check_weights(self.net, proto, weights)

    def __call__(self, images):
        """Describe B images of one size (H x W x 3 uint8): B x D float32."""
        self.load(images)
        self.net.forward(end=self.end)
        rows = self.net.blobs[self.end].data
        if len(rows) != len(images):
            raise ValueError(f'the net returned {len(rows)} descriptors for {len(images)} images; '
                             'use a batch size of 1, or add the rois as a bottom of its '
                             'AggregateLayer')
        rows = rows.reshape(len(rows), -1)
        if self._dimension not in (None, rows.shape[1]):
            raise ValueError(f'the blob {self.end!r} has {rows.shape[1]} values for an image and '
                             f'{self._dimension} for another; it is not a descriptor')
        self._dimension = rows.shape[1]
        return rows.copy()

    def load(self, images: list[np.ndarray]) -> None:
        """Fill the inputs with B images of one size and with their regions."""
        from region_generator import get_rmac_region_coordinates, pack_regions_for_network
        blob = to_blob(images, **self._input)
        regions = get_rmac_region_coordinates(*blob.shape[2:], self.L)
        self.feed('data', blob)
        self.feed('rois', pack_regions_for_network([regions] * len(images)))

    def feed(self, name: str, array: np.ndarray) -> None:
        """Reshape an input blob to the array's shape, and fill it."""
        self.net.blobs[name].reshape(*array.shape)
        self.net.blobs[name].data[...] = array


class Model:
    """A net with its weights and settings: called with images, it returns their descriptors.

    Attributes
    ----------
    S, L : int
        Longer side of images in pixels, and levels of the rigid grid.
    made_from : dict
        What descriptors depend on besides S and the images; stored in caches and indexes.
    info : WeightsInfo
    """

    def __init__(self, weights, info, S, L, end, partial_weights=False):
        self.weights, self.info, self.S, self.L, self.end = str(weights), info, S, L, end
        self.net = DescriptorNet(info.net, weights, L, end, partial_weights, info.mean,
                                 info.scale, info.colour)
        dimension = math.prod(self.net.net.blobs[end].shape[1:])
        if info.dimension not in (None, dimension):
            raise ValueError(f'{info_path(weights)}: dimension is {info.dimension}, but the blob '
                             f'{end!r} has {dimension}')
        self.made_from = model_key(weights, info.net, L, end, info)

    def __call__(self, images, boxes=None):
        """Describe images of any sizes.

        Parameters
        ----------
        images : list of H x W x 3 uint8, B G R
            They are resized to a longer side of S pixels.
        boxes : list of (x1, y1, x2, y2) in pixels, or of None, optional
            Box to cut out of each image: one entry per image.

        Returns
        -------
        ndarray, N x D float32

        Raises
        ------
        ValueError
            An array is not an image, see `images.check_images`; there is not one box per image,
            or a box lies outside its image; or the descriptors differ in length.
        """
        images = list(images)
        check_images(images)
        boxes = [None] * len(images) if boxes is None else list(boxes)
        if len(boxes) != len(images):
            raise ValueError(f'boxes has {len(boxes)} entries, but images has {len(images)}')
        groups = defaultdict(list)
        for index, (image, box) in enumerate(zip(images, boxes, strict=True)):
            image, ratio = resize(image, self.S)
            image = image if box is None else crop(image, box, ratio, f'image {index}')
            groups[image.shape].append((index, image))
        rows = [None] * len(images)
        for group in groups.values():
            for (index, _), row in zip(group, self.net([image for _, image in group]),
                                       strict=True):
                rows[index] = row
        return np.array(rows, np.float32) if rows else np.empty((0, 0), np.float32)

    def __repr__(self):
        return f'Model({paths.shown(self.weights)}, S={self.S}, L={self.L})'


def model_key(weights: str | os.PathLike, proto: str | os.PathLike, L: int, end: str,
              info: WeightsInfo | None = None) -> dict:
    """Return a dict of what descriptors depend on, besides S and the images, for manifests."""
    key = {'weights': store.sha256(weights), 'proto': store.sha256(proto), 'L': L, 'end': end}
    default = WeightsInfo()
    for name in ('mean', 'scale', 'colour'):
        value = getattr(info or default, name)
        if value != getattr(default, name):
            key[name] = list(value) if name == 'mean' else value
    return key


def load_model(weights: str | os.PathLike | None = None, *, proto: str | os.PathLike | None = None,
               S: int | None = None, L: int | None = None, end: str | None = None,
               mean: Sequence[float] | None = None, partial_weights: bool = False) -> Model:
    """Load weights and the net that they belong to.

    Parameters
    ----------
    weights : path of a .caffemodel, optional
        By default the released model, `caffemodel/model.caffemodel`, or else the weights that
        `make weights` makes.
    proto, S, L, end, mean : optional
        Prototxt of the net, longer side of images in pixels, levels of the rigid grid, blob of the
        descriptor, and mean (B, G, R). The defaults are those in the weights' json; without a json,
        those of the released model, with S = 800.
    partial_weights : bool
        Accept weights that do not have the same layers as the net.

    Raises
    ------
    FileNotFoundError, ValueError, RuntimeError
        The files are missing, damaged or do not match. The one-line message names the file.
    TypeError, ValueError
        S, L or mean is invalid. The one-line message names it.

    Examples
    --------
    >>> model = load_model('caffemodel/model.caffemodel', S=512)    # doctest: +SKIP
    """
    if weights is None:
        weights = paths.default_weights()
        logger.info('using %s', paths.shown(weights))
    weights = os.fspath(weights)
    check_file(weights)
    info = read_info(weights)
    changes = {'net': proto if proto is None else os.fspath(proto), 'blob': end, 'mean': mean,
               'S': S, 'L': L}
    changes = {key: value for key, value in changes.items() if value is not None}
    if changes.keys() & {'net', 'blob'}:
        changes['dimension'] = None     # that of another blob
    info = dataclasses.replace(info, **changes)
    if info.trained is False:
        logger.warning('%s: these weights are not trained; look-alikes get high similarities',
                       paths.shown(weights))
    return Model(weights, info, 800 if info.S is None else info.S, info.L, info.blob,
                 partial_weights)


def check_file(path: str | os.PathLike) -> None:
    """Raise OSError, with one line that says what is wrong, unless there is a file at a path."""
    path = os.fspath(path)
    if os.path.isfile(path):
        return
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, 'is a folder, not a file', path)
    if os.path.exists(path):
        raise OSError(errno.EINVAL, 'is not a regular file', path)
    hint = '' if os.path.abspath(path) != str(paths.WEIGHTS) else (
        '; docs/weights.md says more about the released model, and `make weights` makes others, '
        f'{paths.shown(paths.LITE_WEIGHTS)}')
    raise FileNotFoundError(errno.ENOENT, f'there is no such file{hint}', path)


def check_weights_file(weights: str | os.PathLike) -> None:
    """Raise ValueError for weights of PyTorch or ONNX, by name or content, OSError without a file.

    The message of the ValueError names the importer.
    """
    path = os.fspath(weights)
    check_file(path)
    with open(path, 'rb') as file:
        start = file.read(9)
    # zip, pickle, and safetensors' JSON after its length
    if (path.endswith(('.pth', '.pt', '.safetensors', '.ckpt', '.onnx'))
            or start.startswith((b'PK\x03\x04', b'\x80\x02')) or start[8:] == b'{'):
        raise ValueError(f'{path}: is not a caffemodel; convert it with '
                         'myPython/model_tools.py import')


def check_weights(net: 'caffe.Net', proto: str | os.PathLike, weights: str | os.PathLike) -> None:
    """Check that a net and a caffemodel have parameters for the same layers.

    Caffe would silently skip the other layers.

    Raises
    ------
    ValueError
        The layers differ; the message lists those that only one of the two has.
    """
    found = stored_layers(weights)
    if net.params and not found:
        raise ValueError(f'{weights}: holds no layer with weights')
    faults = [f'{what} {_some(names)}' for what, names in (
        (f'lacks the weights of layers that {proto} has:', set(net.params) - found),
        (f'has weights of layers that {proto} lacks:', found - set(net.params))) if names]
    if faults:
        raise ValueError(f'{weights}: {"; and ".join(faults)} '
                         '(--partial_weights accepts this)')


def stored_layers(weights: str | os.PathLike) -> set[str]:
    """Return the names of the layers with parameters in a caffemodel (also HDF5)."""
    from caffe.weights import read_weights
    check_weights_file(weights)
    with store.reading(weights, 'a caffemodel'):
        return {name for name, arrays in read_weights(os.fspath(weights)) if arrays}


def _some(names, limit=10):
    names = sorted(names)
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more
