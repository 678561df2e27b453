"""Region vectors of a net's middle layers: one forward an image, kept and read in blocks.

    net = BranchNet('proto/offline/pca/pca_features_resnet101_normpython.prototxt', weights, L=2)
    branches = extract_branches(lambda: net, items, 512, 'tmp/Oxford_S512_L2_dataset', about={...})
    for block in branches.blocks():
        block.regions(16), block.rmac(16), block.master

A map goes by its stride: 4 (res2), 8 (res3), 16 (res4) and 32 (res5). The nets of proto/offline/
differ in what they call its regions. A folder of features has `manifest.json`, which says what they
were made from, and a file `00000.npz` for every WINDOW images, which is whole or absent: memory
does not grow with the images, and a run that was interrupted goes on behind its last block.
"""

import json
import logging
import os
import shutil
import zipfile
from contextlib import contextmanager
from itertools import groupby
from typing import NamedTuple, Optional

import numpy as np
from tqdm import tqdm

from deep_retrieval.extraction import WINDOW, batches, size
from deep_retrieval.files import write_aside
from deep_retrieval.model import END, DescriptorNet, stored_layers
from deep_retrieval.vectors import normalize

STRIDES = (32, 16, 8, 4)
MASTER = 'master'       # what is not a map: the released net's descriptor
MANIFEST = 'manifest.json'

logger = logging.getLogger(__name__)


class BranchNet(DescriptorNet):
    """A net that pools the regions of several maps, and may have the released net's descriptor.

    Called with a list of images of one size (BGR uint8), it returns a dict an image: of a stride,
    as text, -> R x D region vectors, and of MASTER -> 1 x D where the net has that.
    """

    def __init__(self, proto, weights, L, partial_weights=False):
        super().__init__(proto, weights, L, end='data', partial_weights=True)
        self.end = list(self.net.top_names)[-1]     # so that all of the net runs
        self.blobs = {str(stride): blob for stride in STRIDES if (blob := self._regions_of(stride))}
        if not self.blobs:
            raise ValueError(f'{proto}: pools no regions of maps; the nets of proto/offline do')
        if END in self.net.blobs:
            self.blobs[MASTER] = END
        # weights that the net lacks are no fault: not every net has the descriptor
        missing = set(self.net.params) - stored_layers(weights)
        if missing and not partial_weights:
            raise ValueError(f'{weights}: lacks the weights of {len(missing)} layers that {proto} '
                             f'has, as {min(missing)} (--partial_weights takes what fits)')

    def _regions_of(self, stride):
        """The blob of a map's normalized region vectors, or None."""
        names = [f'pooled_rois{part}/normalized' for part in
                 (f'_branch_{stride}', f'_master_{stride}', *[''] * (stride == 32))]
        return next((name for name in names if name in self.net.blobs), None)

    def __call__(self, images):
        super().__call__(images)
        parts = {}
        for key, blob in self.blobs.items():
            rows = self.net.blobs[blob].data    # images of one size have as many regions each
            parts[key] = rows.reshape(len(images), -1, rows.shape[1]).copy()
        return [{key: rows[i] for key, rows in parts.items()} for i in range(len(images))]


class Block(NamedTuple):
    """The features of up to WINDOW images in a row."""

    rows: np.ndarray        # n: which of the items, in rising order
    counts: np.ndarray      # n: regions of each
    maps: dict              # stride -> sum(counts) x D float32
    master: Optional[np.ndarray]    # n x D float32

    def regions(self, stride):
        """The region vectors of all images, one image after the other."""
        if stride not in self.maps:
            raise ValueError(f'the features have maps of stride {sorted(self.maps)}, but none of '
                             f'{stride}: make them with another net')
        return self.maps[stride]

    def pooled(self, vectors):
        """Vectors of regions, summed an image and normalized: n x D."""
        starts = np.cumsum(self.counts) - self.counts
        return normalize(np.add.reduceat(vectors, starts, axis=0))

    def rmac(self, stride):
        """A map's own R-MAC: n x D."""
        return self.pooled(self.regions(stride))


class Branches:
    """The features in a folder.

    about   dict of what they were made from
    names   of the images
    """

    def __init__(self, folder):
        self.folder = str(folder)
        self.about = _read_manifest(self.folder)
        if self.about is None:
            raise ValueError(f'{self.folder}: holds no features; *get_features.py makes them')
        self.names = [item[0] for item in self.about.pop('items')]

    def blocks(self):
        """Yield the Blocks in order. ValueError where a file is missing, damaged or not finite."""
        for index in range(_windows(self.names)):
            with _open(self.folder, index) as file:
                arrays = dict(file)
            rows, counts = arrays.pop('rows'), arrays.pop('counts')
            _check_finite(arrays, rows, counts, self.names, self.folder)
            if len(rows):
                master = arrays.pop(MASTER, None)
                yield Block(rows, counts, {int(key): part for key, part in arrays.items()}, master)

    def count(self):
        """How many images have features, and how many regions they have in all."""
        images = regions = 0
        for index in range(_windows(self.names)):
            with _open(self.folder, index) as file:
                images, regions = images + len(file['rows']), regions + int(file['counts'].sum())
        return images, regions


def extract_branches(make_net, items, S, folder, about, batch_size=1, skip_bad=False):
    """The features of `items` at longer side S in `folder`, made where they are not there yet.

    make_net : called for the BranchNet if there is something to do
    about : dict of what the features depend on besides S and the items
    skip_bad : leave damaged images out
    Returns Branches. Raises ImageError for a damaged image, ValueError for features that are not
    finite. Equal runs give equal bytes, interrupted or not.
    """
    key = {**about, 'S': S, 'batch_size': batch_size, 'items': [_identity(item) for item in items]}
    _begin(folder, key)
    todo = [i for index in range(_windows(items))
            if not _is_done(folder, index, None if skip_bad else len(items[_window(index)]))
            for i in range(len(items))[_window(index)]]
    if todo:
        if len(todo) < len(items):
            logger.info('%s: resuming after %d of %d images', folder, len(items) - len(todo),
                        len(items))
        net = make_net()
        with tqdm(total=len(items), initial=len(items) - len(todo), unit='image', disable=None,
                  desc=os.path.basename(folder)) as bar:
            parts = batches(items, todo, S, batch_size)
            for index, window in groupby(parts, key=lambda part: part[0][0] // WINDOW):
                described = {}
                for indices, images, bad in window:
                    if bad is None:
                        described.update(zip(indices, net(images)))
                    elif skip_bad:
                        logger.warning('skipped: %s', bad)
                    else:
                        raise bad
                    bar.update(len(indices))
                _save(folder, index, described, items)
    branches = Branches(folder)
    if not branches.count()[0]:
        raise ValueError(f'{folder}: none of the {len(items)} images can be read')
    return branches


def _identity(item):
    """What the features of an item depend on, as JSON gives it back."""
    return [item.name, size(item.path), None if item.box is None else list(item.box)]


def _begin(folder, key):
    """Make the folder ready for features of `key`; those of something else go."""
    found = _read_manifest(folder)
    if found == key:
        return
    if found is not None:
        other = sorted(name for name in {*found, *key} if found.get(name) != key.get(name))
        logger.warning('%s: was made with another %s; recomputing it', folder, ', '.join(other))
        shutil.rmtree(folder)
    elif os.path.isdir(folder) and os.listdir(folder):
        raise ValueError(f'{folder}: holds something else than features; choose another folder')
    os.makedirs(folder, exist_ok=True)
    text = json.dumps(key) + '\n'
    write_aside(os.path.join(folder, MANIFEST), lambda file: file.write(text.encode()))


def _read_manifest(folder):
    path = os.path.join(folder, MANIFEST)
    try:
        with open(path, encoding='utf-8') as file:
            found = json.load(file)
    except FileNotFoundError:
        return None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get('items'), list):
        raise ValueError(f'{path}: is no manifest of branch features; remove the folder')
    return found


def _save(folder, index, described, items):
    rows = sorted(described)
    parts = {key: np.concatenate([described[row][key] for row in rows])
             for key in (described[rows[0]] if rows else ())}
    counts = np.array([max(map(len, described[row].values())) for row in rows], np.int64)
    rows = np.array(rows, np.int64)
    _check_finite(parts, rows, counts, [item.name for item in items], folder)
    write_aside(_path(folder, index),
                lambda file: np.savez(file, rows=rows, counts=counts, **parts))


def _check_finite(parts, rows, counts, names, folder):
    for key, vectors in parts.items():
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(broken):
            owners = rows if key == MASTER else np.repeat(rows, counts)
            raise ValueError(f'{folder}: the features of image {names[owners[broken[0]]]} hold a '
                             'value that is not finite: make them anew, with weights of this net')


def _is_done(folder, index, count):
    """Whether the block is there, and, unless `count` is None, has so many images."""
    if not os.path.exists(_path(folder, index)):
        return False
    with _open(folder, index) as file:
        return count in (None, len(file['rows']))


@contextmanager
def _open(folder, index):
    path = _path(folder, index)
    try:
        with np.load(path, allow_pickle=False) as file:
            yield file
    except FileNotFoundError:
        raise ValueError(f'{path}: is missing: *get_features.py goes on where it ended') from None
    except (zipfile.BadZipFile, AttributeError, EOFError, KeyError, TypeError, ValueError):
        raise ValueError(f'{path}: is damaged; remove it, and *get_features.py makes it '
                         'again') from None


def _path(folder, index):
    return os.path.join(folder, f'{index:05d}.npz')


def _windows(items):
    return -(-len(items) // WINDOW)


def _window(index):
    return slice(index * WINDOW, (index + 1) * WINDOW)
