"""What a frozen trunk gives for each image, kept on disk, so that it is computed once.

An image is known by its bytes as the trunk gets them, mirrored or not, and its regions; the trunk
by its layers and their parameters.
"""

import hashlib
import os
import weakref

import numpy as np
import torch

from .. import common
from ..database import MAP_SIZE
from ..errors import CaffeError

# LMDB forbids to open a folder twice in a process
_environments = weakref.WeakValueDictionary()


class TrunkCache:
    """The cache of one FrozenTrunk in the LMDB `folder`."""

    def __init__(self, trunk, folder):
        self._trunk = trunk
        self._environment = _open(folder)
        # the first number of a region is its image's place in the batch, which only ROIPooling, and
        # Split, leave behind
        readers = {layer.type for layer, names in zip(trunk.layers, trunk.bottoms)
                   if any(blob.shape[-1:] == (5,) for blob in names)}
        self._first_column = 1 if readers <= {'ROIPooling', 'Split'} else 0
        self._versions = self._fingerprint = None
        self._keys = self._rows = None

    def load(self):
        """Fill the trunk's results from the cache; False where an image is not in it."""
        self._keys = self._rows = None
        found = self._find_images()
        if found is None:
            return False
        self._keys, self._rows = found
        with self._environment.begin(buffers=True) as transaction:
            records = [transaction.get(key) for key in self._keys]
            if None in records:
                return False
            arrays = [np.empty(blob.shape, np.float32) for blob in self._trunk.results]
            for record, rows in zip(records, self._rows):
                _fill(arrays, rows, record)
        self._fill_results(arrays)
        return True

    def store(self):
        """Keep what the trunk has just computed for the images that `load` looked for.

        Of an image that is kept already the old results count: computed in another batch they may
        differ in the last bit, and a run must not depend on what the cache held at its start.
        """
        if self._keys is None:
            return
        arrays = [np.array(blob.tensor.cpu().numpy(), order='C') for blob in self._trunk.results]
        with self._environment.begin(write=True) as transaction:
            for key, rows in zip(self._keys, self._rows):
                kept = transaction.get(key)
                if kept is not None:
                    _fill(arrays, rows, kept)
                    continue
                values = [np.ascontiguousarray(array[where]).ravel()
                          for array, where in zip(arrays, rows)]
                transaction.put(key, np.concatenate(values).tobytes())
        self._fill_results(arrays)

    def _fill_results(self, arrays):
        # in one layout, whether loaded or computed: on it depends which kernels read them
        for blob, array in zip(self._trunk.results, arrays):
            blob.tensor = torch.from_numpy(array).to(common.device())

    def _find_images(self):
        """The key of each image, and its rows in each of the trunk's results.

        None where the results cannot be told apart by image.
        """
        sources = [blob.tensor.cpu().numpy() for blob in self._trunk.sources]
        images = max(sources, key=lambda array: array.size)
        regions = [array.reshape(-1, 5) for array in sources
                   if array is not images and array.shape[-1:] == (5,)]
        if len(sources) != 1 + len(regions):
            return None
        owner = regions[0][:, 0] if regions else ()
        trunk = self._trunk_fingerprint()
        keys, rows = [], []
        for i, image in enumerate(images):
            state = hashlib.sha256(trunk)
            state.update(np.ascontiguousarray(image))
            own = np.flatnonzero(owner == i) if regions else ()
            for array in regions:
                state.update(np.ascontiguousarray(array[own, self._first_column:]))
            keys.append(state.digest())
            rows.append([self._rows_of(blob, i, len(images), own) for blob in self._trunk.results])
            if any(where is None for where in rows[-1]):
                return None
        return keys, rows

    @staticmethod
    def _rows_of(blob, image, images, own):
        count = blob.shape[0] if blob.shape else 0
        if count == images and not (len(own) and count == len(own) * images):
            return slice(image, image + 1)
        if len(own) and count == len(own) * images:
            return own
        return None

    def _trunk_fingerprint(self):
        """A hash of the trunk's layers and parameters, anew where a parameter may have changed."""
        layers = self._trunk.layers
        versions = [blob.version for layer in layers for blob in layer.blobs]
        if versions != self._versions:
            state = hashlib.sha256()
            for layer in layers:
                state.update(layer.layer_param.SerializeToString(deterministic=True))
                for blob in layer.blobs:
                    state.update(blob.tensor.cpu().contiguous().numpy())
            self._versions, self._fingerprint = versions, state.digest()
        return self._fingerprint


def _fill(arrays, rows, record):
    """Write an image's results, the bytes of its record, into its rows of the arrays."""
    values, begin = np.frombuffer(record, np.float32), 0
    for array, where in zip(arrays, rows):
        part = array[where]
        array[where] = values[begin:begin + part.size].reshape(part.shape)
        begin += part.size


def _open(folder):
    import lmdb
    folder = os.path.realpath(folder)
    environment = _environments.get(folder)
    if environment is None:
        try:
            os.makedirs(folder, exist_ok=True)
            # what a crash of the whole machine loses is computed again
            environment = lmdb.open(folder, map_size=MAP_SIZE, sync=False)
        except (OSError, lmdb.Error) as error:
            raise CaffeError(
                f'{folder}: cannot keep what the trunk gives there ({error})') from None
        _environments[folder] = environment
    return environment
