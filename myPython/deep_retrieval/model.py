"""Weights that describe themselves, and the net that they make, which describes images.

    model = load_model('caffemodel/lite0_rmac.caffemodel')      # X.json beside it says how
    rows = model([read_image('a.jpg'), read_image('b.jpg')])    # 2 x D

`X.json` beside `X.caffemodel` holds what is needed to use the weights: `net` (the prototxt,
relative to the json or to the repository), `blob`, `mean`, `scale`, `colour`, `S`, `L`,
`dimension`, `trained`, `thresholds`, `source`, `licence`, `sha256` and `learned_from`. Keys may be
missing; weights without the file get the defaults of the released model.
"""

import dataclasses
import logging
import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from deep_retrieval import paths, store
from deep_retrieval.images import MEAN, check_images, crop, resize, to_blob

END = 'rmac/normalized'     # layer and blob of the descriptor

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class WeightsInfo:
    """What `X.json` says about `X.caffemodel`.

    net : path of the prototxt. blob : name of the descriptor's blob. mean, scale, colour : of the
    input, as of `images.to_blob`. S : recommended longer side in pixels, or None. L : recommended
    levels of the rigid grid. trained : False for weights that know nothing, None if unknown.
    thresholds : similarity from which pairs of images are near-duplicates with a precision of 90,
    95 and 99 %, by '0.90', '0.95' and '0.99'; None if unknown.
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


def info_path(weights: str | os.PathLike) -> str:
    """Return the path of the json that describes a caffemodel."""
    return os.path.splitext(weights)[0] + '.json'


def read_info(weights: str | os.PathLike) -> WeightsInfo:
    """Read what a caffemodel's json says about it; the defaults if there is none.

    Raises
    ------
    ValueError
        The json is damaged, has a value of a wrong type, names a net that does not exist, or was
        written for other weights (another SHA-256). The message is one line that names the json.
    """
    path = info_path(weights)
    if not os.path.exists(path):
        return WeightsInfo()
    found = store.read_json(path)
    known = {field.name for field in dataclasses.fields(WeightsInfo)}
    values = {key: value for key, value in found.items() if key in known and value is not None}
    with store.reading(path, 'a description of weights'):
        if 'mean' in values:
            values['mean'] = tuple(float(value) for value in values['mean'])
            if len(values['mean']) != 3:
                raise ValueError('mean must have 3 values')
        for key, kind in (('S', int), ('L', int), ('scale', float), ('net', str), ('blob', str)):
            if key in values:
                values[key] = kind(values[key])
        if 'thresholds' in values:
            values['thresholds'] = {key: float(value)
                                    for key, value in values['thresholds'].items()}
        if values.get('colour', 'BGR') not in ('BGR', 'RGB'):
            raise ValueError('colour must be BGR or RGB')
    if 'net' in values:
        values['net'] = _find_net(path, values['net'])
    info = WeightsInfo(**values)
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

    The SHA-256 is added, so write the caffemodel first.
    """
    store.write_json(info_path(weights), {**values, 'sha256': store.sha256(weights)})


class DescriptorNet:
    """A deploy net with inputs `data` and `rois` that gives one descriptor per image.

    Parameters
    ----------
    proto, weights : paths
    L : int
        Levels of the rigid grid; 0 takes the whole image as one region (MAC).
    end : str
        Blob of the descriptor.
    partial_weights : bool
        Accept weights for a part of the net, or for more than the net.
    mean, scale, colour : as of `images.to_blob`

    Raises
    ------
    ValueError, RuntimeError, FileNotFoundError
        The files do not fit each other or cannot be read; one line that names the file.
    """

    def __init__(self, proto, weights, L, end=END, partial_weights=False, mean=MEAN, scale=1,
                 colour='BGR'):
        import caffe
        check_weights_file(weights)
        for path in (proto, weights):
            if not os.path.isfile(path):
                raise FileNotFoundError(2, 'there is no such file', str(path))
        self.L, self.end = L, end
        self._input = {'mean': mean, 'scale': scale, 'colour': colour}
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
            raise ValueError(f'the net gives {len(rows)} descriptors for {len(images)} images; '
                             'use a batch size of 1, or add the rois as a bottom of its '
                             'AggregateLayer')
        return rows.reshape(len(rows), -1).copy()

    def load(self, images):
        """Fill the inputs with B images of one size and with their regions."""
        from region_generator import get_rmac_region_coordinates, pack_regions_for_network
        blob = to_blob(images, **self._input)
        regions = get_rmac_region_coordinates(*blob.shape[2:], self.L)
        self.feed('data', blob)
        self.feed('rois', pack_regions_for_network([regions] * len(images)))

    def feed(self, name, array):
        """Reshape an input blob to the array's shape, and fill it."""
        self.net.blobs[name].reshape(*array.shape)
        self.net.blobs[name].data[...] = array


class Model:
    """A net with its weights, and how to use them: called with images, it returns descriptors.

    Attributes
    ----------
    S, L : int
        Longer side in pixels, and levels of the rigid grid, that images are described with.
    made_from : dict
        What descriptors depend on besides S and the images; caches and indexes keep it.
    info : WeightsInfo
    """

    def __init__(self, weights, info, S, L, end, partial_weights=False):
        self.weights, self.info, self.S, self.L, self.end = str(weights), info, S, L, end
        self.net = DescriptorNet(info.net, weights, L, end, partial_weights, info.mean,
                                 info.scale, info.colour)
        self.made_from = model_key(weights, info.net, L, end, info)

    def __call__(self, images, boxes=None):
        """Describe images of any sizes.

        Parameters
        ----------
        images : list of H x W x 3 uint8, B G R
            They are resized to a longer side of S pixels.
        boxes : list of (x1, y1, x2, y2) in pixels, or of None, optional
            What to cut out of each image.

        Returns
        -------
        ndarray, N x D float32

        Raises
        ------
        ValueError
            An array is not an image; see `images.check_images`.
        """
        images = list(images)
        check_images(images)
        groups = defaultdict(list)
        for index, image in enumerate(images):
            box = boxes and boxes[index]
            image, ratio = resize(image, self.S)
            image = image if box is None else crop(image, box, ratio)
            groups[image.shape].append((index, image))
        rows = [None] * len(images)
        for group in groups.values():
            for (index, _), row in zip(group, self.net([image for _, image in group]),
                                       strict=True):
                rows[index] = row
        return np.array(rows, np.float32) if rows else np.empty((0, 0), np.float32)

    def __repr__(self):
        return f'Model({paths.shown(self.weights)}, S={self.S}, L={self.L})'


def model_key(weights, proto, L, end, info=None) -> dict:
    """Return what descriptors depend on besides S and the images, for manifests."""
    key = {'weights': store.sha256(weights), 'proto': store.sha256(proto), 'L': L, 'end': end}
    default = WeightsInfo()
    for name in ('mean', 'scale', 'colour'):
        value = getattr(info or default, name)
        if value != getattr(default, name):
            key[name] = list(value) if name == 'mean' else value
    return key


def load_model(weights: str | os.PathLike | None = None, *, proto=None, S: int | None = None,
               L: int | None = None, end: str | None = None, mean=None,
               partial_weights: bool = False) -> Model:
    """Load weights and the net that they belong to.

    Parameters
    ----------
    weights : path of a .caffemodel, optional
        By default the released model, `caffemodel/model.caffemodel`.
    proto, S, L, end, mean : optional
        Prototxt of the net, longer side of images in pixels, levels of the rigid grid, blob of the
        descriptor, and mean (B, G, R), in place of those that the weights' json recommends. A
        caffemodel without a json is taken for a model like the released one, with S = 800.
    partial_weights : bool
        Accept weights that do not name the same layers as the net.

    Raises
    ------
    FileNotFoundError, ValueError, RuntimeError
        The files are missing, damaged or do not fit; one line that names the file.

    Examples
    --------
    >>> model = load_model('caffemodel/model.caffemodel', S=512)    # doctest: +SKIP
    """
    weights = os.fspath(weights or paths.WEIGHTS)
    if not os.path.isfile(weights):
        raise FileNotFoundError(2, 'there is no such file', weights)
    info = read_info(weights)
    changes = {'net': proto and os.fspath(proto), 'mean': mean and tuple(map(float, mean))}
    info = dataclasses.replace(info, **{key: value for key, value in changes.items() if value})
    if info.trained is False:
        logger.warning('%s: these weights are not trained; look-alikes score high with them',
                       paths.shown(weights))
    return Model(weights, info, S or info.S or 800, info.L if L is None else L, end or info.blob,
                 partial_weights)


def check_weights_file(weights) -> None:
    """Raise ValueError for weights of PyTorch or ONNX, by name or content.

    The message names the importer.
    """
    path = os.fspath(weights)
    start = b''
    if os.path.isfile(path):
        with open(path, 'rb') as file:
            start = file.read(9)
    # zip, pickle, and safetensors' JSON after its length
    if (path.endswith(('.pth', '.pt', '.safetensors', '.ckpt', '.onnx'))
            or start.startswith((b'PK\x03\x04', b'\x80\x02')) or start[8:] == b'{'):
        raise ValueError(f'{path}: is not a caffemodel; convert it with '
                         'myPython/model_tools.py import')


def check_weights(net, proto, weights) -> None:
    """Check that a net and a caffemodel have parameters of the same layers.

    Caffe would leave the other layers as they are without saying so.

    Raises
    ------
    ValueError
        It lists the layers that only one of the two has.
    """
    found = stored_layers(weights)
    faults = [f'{what} {_some(names)}' for what, names in (
        (f'lacks the weights of layers that {proto} has:', set(net.params) - found),
        (f'has weights of layers that {proto} lacks:', found - set(net.params))) if names]
    if faults:
        raise ValueError(f'{weights}: {"; and ".join(faults)} '
                         '(--partial_weights takes what fits)')


def stored_layers(weights) -> set[str]:
    """Return the names of the layers that a caffemodel, or one as HDF5, has parameters of."""
    from caffe.weights import read_weights
    check_weights_file(weights)
    with store.reading(weights, 'a caffemodel'):
        return {name for name, arrays in read_weights(os.fspath(weights)) if arrays}


def _some(names, limit=10):
    names = sorted(names)
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more
