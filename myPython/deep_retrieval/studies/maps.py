"""Region vectors of a net's middle layers: one forward pass per image, saved and read in blocks.

    net = MapNet('proto/offline/pca/pca_features_resnet101_normpython.prototxt', weights, L=2)
    maps = extract_maps(lambda: net, items, 512, 'tmp/Oxford_S512_L2_dataset', {'L': 2})
    for block in maps.blocks():
        block.regions(16), block.rmac(16), block.master

A map is named by its stride: 4 (res2), 8 (res3), 16 (res4) and 32 (res5). A folder of maps has
`manifest.json`, which says what they were made from, and for every WINDOW images a file `00000.npz`
with its manifest `00000.json`. Memory does not grow with the number of images, and an interrupted
run resumes after the last block.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np

from deep_retrieval import progress, store
from deep_retrieval.extraction import WINDOW, Item, batches, size
from deep_retrieval.model import END, DescriptorNet, stored_layers
from deep_retrieval.studies import MASTER, STRIDES
from deep_retrieval.vectors import normalize

OURS = re.compile(r'manifest\.json|\d{5,}\.(npz|json)')     # files in a folder of maps

logger = logging.getLogger(__name__)


class MapNet(DescriptorNet):
    """A net that pools the regions of several maps, and may also have the released descriptor.

    Called with B images of one size (H x W x 3 uint8, B G R), it returns one dict per image: the
    R x D region vectors of each stride (a str), and the 1 x D descriptor MASTER if the net has it.

    Parameters
    ----------
    proto, weights : paths
    L : int
        Levels of the rigid grid; 0 for the whole image as one region.
    partial_weights : bool
        Accept weights that lack layers of the net. Additional layers in the weights are always
        accepted, because not every net has the descriptor.

    Raises
    ------
    ValueError
        The net does not pool regions of maps, or the weights lack layers of it.
    """

    def __init__(self, proto, weights, L: int, partial_weights: bool = False):
        super().__init__(proto, weights, L, end='data', partial_weights=True)
        self.end = list(self.net.top_names)[-1]     # run the whole net
        self.blobs = {str(stride): blob for stride in STRIDES if (blob := self._regions_of(stride))}
        if not self.blobs:
            raise ValueError(f'{proto}: does not pool the regions of maps, as the nets in '
                             'proto/offline do')
        if END in self.net.blobs:
            self.blobs[MASTER] = END
        missing = set(self.net.params) - stored_layers(weights)
        if missing and not partial_weights:
            raise ValueError(f'{weights}: lacks the weights of {len(missing)} layers that {proto} '
                             f'has, such as {min(missing)} (--partial_weights accepts this)')

    def _regions_of(self, stride):
        """Return the blob of a map's normalized region vectors, or None; its name depends on the
        net."""
        names = [f'pooled_rois{part}/normalized' for part in
                 (f'_branch_{stride}', f'_master_{stride}', *[''] * (stride == 32))]
        return next((name for name in names if name in self.net.blobs), None)

    def __call__(self, images):
        super().__call__(images)
        parts = {}
        for key, blob in self.blobs.items():
            rows = self.net.blobs[blob].data    # images of one size have equally many regions
            parts[key] = rows.reshape(len(images), -1, rows.shape[1]).copy()
        return [{key: rows[i] for key, rows in parts.items()} for i in range(len(images))]


class Block(NamedTuple):
    """The maps of up to WINDOW consecutive images.

    rows : indices of the n images among all items, ascending
    counts : number of regions of each image
    maps : stride -> sum(counts) x D float32
    master : n x D float32, or None
    """

    rows: np.ndarray
    counts: np.ndarray
    maps: dict
    master: np.ndarray | None

    def regions(self, stride: int) -> np.ndarray:
        """Return the region vectors of all images, image by image: sum(counts) x D.

        Raises
        ------
        ValueError
            The block's net has no map of this stride.
        """
        if stride not in self.maps:
            raise ValueError(f'the features have maps of stride {sorted(self.maps)}, but none of '
                             f'{stride}: make them with another net')
        return self.maps[stride]

    def pooled(self, vectors: np.ndarray) -> np.ndarray:
        """Sum vectors of regions per image, and normalize: n x D."""
        starts = np.cumsum(self.counts) - self.counts
        return normalize(np.add.reduceat(vectors, starts, axis=0))

    def rmac(self, stride: int) -> np.ndarray:
        """Return a map's own R-MAC (Tolias et al., ICLR 2016): n x D."""
        return self.pooled(self.regions(stride))


class SavedMaps:
    """The maps in a folder.

    Attributes
    ----------
    folder : str
    made_from : dict
        What the maps depend on, except for the images.
    names : list of str
        Names of the images; skipped images are in no block.

    Raises
    ------
    ValueError
        The folder has no maps, or its manifest is damaged.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = os.fspath(folder)
        self._key = store.Manifest.inside(self.folder).read()
        if not isinstance((self._key or {}).get('items'), list):
            raise ValueError(f'{self.folder}: contains no features; *get_features.py makes them')
        self.made_from = {name: self._key[name] for name in self._key if name != 'items'}
        self.names = [item[0] for item in self._key['items']]

    def blocks(self) -> Iterator[Block]:
        """Yield the Blocks in order.

        Raises
        ------
        ValueError
            A block is missing, damaged, made from something else, or has a value that is not
            finite.
        """
        for index in range(_windows(self.names)):
            block = self._read(index)
            if len(block.rows):
                yield block

    def count(self) -> tuple[int, int]:
        """Return the number of images with features, and the total number of their regions."""
        notes = [self._note(index) for index in range(_windows(self.names))]
        return sum(note['images'] for note in notes), sum(note['regions'] for note in notes)

    def summary(self) -> str:
        """Return a line with the numbers of images, regions and dimensions."""
        images, regions = self.count()
        first = next(self.blocks())
        maps = ', '.join(f'{vectors.shape[1]}-d at stride {stride}'
                         for stride, vectors in first.maps.items())
        master = '' if first.master is None else f'; descriptor {first.master.shape[1]}-d'
        return f'{self.folder}: {images} images, {regions} regions; {maps}{master}'

    def _note(self, index):
        """Return the manifest of a block, which must exist and belong to these features."""
        path = _path(self.folder, index)
        note = store.Manifest.beside(path).note() if os.path.exists(path) else None
        if note is None:
            raise ValueError(f'{path}: is missing; *get_features.py resumes after the last block')
        if note['made_from'] != _block_key(self._key, index):
            raise ValueError(f'{path}: was made from something else; *get_features.py makes it '
                             'again')
        return note

    def _read(self, index):
        self._note(index)
        path = _path(self.folder, index)
        store.Manifest.beside(path).verify(path)
        with store.reading(path, 'a block of features'), np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        rows, counts = arrays.pop('rows'), arrays.pop('counts')
        _check_finite(arrays, rows, counts, self.names, self.folder)
        master = arrays.pop(MASTER, None)
        return Block(rows, counts, {int(key): part for key, part in arrays.items()}, master)


def extract_maps(make_net: Callable, items: list[Item], S: int, folder: str, made_from: dict,
                 batch_size: int = 1, skip_bad: bool = False) -> SavedMaps:
    """Make the maps of `items` that are not in a folder yet.

    Parameters
    ----------
    make_net : function that returns the MapNet
        Only called if maps must be computed.
    items : list of Item
    S : int
        Longer side in pixels.
    folder : str
        Maps that were made from something else are recomputed, with a warning.
    made_from : dict
        What the maps depend on besides S and the items; JSON values.
    batch_size : int
        Images of one size that the net takes at once.
    skip_bad : bool
        Leave damaged images out, with a warning.

    Returns
    -------
    SavedMaps

    Raises
    ------
    ImageError
        An image is damaged, and `skip_bad` is False.
    ValueError
        The folder has other contents, a value is not finite, or no image can be read.

    Notes
    -----
    The same arguments give the same bytes, whether a run was interrupted or not.
    """
    key = {**made_from, 'S': S, 'batch_size': batch_size, 'items': list(map(_identity, items))}
    _begin(folder, key)
    least = [0 if skip_bad else len(items[_window(i)]) for i in range(_windows(items))]
    todo = [i for index in range(_windows(items)) if not _is_done(folder, index, key, least[index])
            for i in range(len(items))[_window(index)]]
    if todo:
        _fill(make_net(), items, todo, S, folder, key, skip_bad)
    maps = SavedMaps(folder)
    if not maps.count()[0]:
        raise ValueError(f'{folder}: none of the {len(items)} images can be read')
    return maps


def _identity(item):
    """Return what the maps of an item depend on."""
    return [item.name, size(item.path), None if item.box is None else list(item.box)]


def _begin(folder, key):
    """Prepare the folder for maps of `key`; blocks with other keys are replaced one by one."""
    store.check_folder(folder, OURS, what='a folder of features')
    manifest = store.Manifest.inside(folder)
    if not manifest.check(key, otherwise='redo'):
        manifest.write(key)
    store.clean(folder)
    for name in os.listdir(folder):     # blocks of a longer list of images
        if name[0].isdigit() and int(name.split('.')[0]) >= _windows(key['items']):
            os.unlink(os.path.join(folder, name))


def _fill(net, items, todo, S, folder, key, skip_bad):
    """Compute and write the blocks of the items with the indices `todo`."""
    if len(todo) < len(items):
        logger.info('%s: resuming after %d of %d images', folder, len(items) - len(todo),
                    len(items))
    with progress.bar(total=len(items), initial=len(items) - len(todo), unit='image',
                      desc=os.path.basename(folder)) as bar:
        parts = batches(items, todo, S, key['batch_size'])
        for index, window in groupby(parts, key=lambda part: part[0][0] // WINDOW):
            described = {}
            for indices, images, bad in window:
                if bad is None:
                    described.update(zip(indices, net(images), strict=True))
                elif skip_bad:
                    logger.warning('skipped: %s', bad)
                else:
                    raise bad
                bar.update(len(indices))
            _save(folder, index, described, key)


def _save(folder, index, described, key):
    rows = sorted(described)
    parts = {name: np.concatenate([described[row][name] for row in rows])
             for name in (described[rows[0]] if rows else ())}
    counts = np.array([max(map(len, described[row].values())) for row in rows], np.int64)
    rows = np.array(rows, np.int64)
    _check_finite(parts, rows, counts, [item[0] for item in key['items']], folder)
    path = _path(folder, index)
    content = {path: lambda file: np.savez(file, rows=rows, counts=counts, **parts)}
    store.Manifest.beside(path).write(_block_key(key, index), content, images=len(rows),
                                      regions=int(counts.sum()))


def _check_finite(parts, rows, counts, names, folder):
    for key, vectors in parts.items():
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(broken):
            owners = rows if key == MASTER else np.repeat(rows, counts)
            raise ValueError(f'{folder}: the features of image {names[owners[broken[0]]]} have a '
                             'value that is not finite; compute them again, with weights that '
                             'belong to this net')


def _is_done(folder, index, key, least):
    """Whether a block was made from `key`, and has at least `least` images."""
    manifest = store.Manifest.beside(_path(folder, index))
    return (manifest.state(_block_key(key, index)) == 'same'
            and manifest.note()['images'] >= least)


def _block_key(key, index):
    """Return what a block depends on; this includes only its own items."""
    return {**key, 'items': key['items'][_window(index)]}


def _path(folder, index):
    return os.path.join(folder, f'{index:05d}.npz')


def _windows(items):
    return -(-len(items) // WINDOW)


def _window(index):
    return slice(index * WINDOW, (index + 1) * WINDOW)
