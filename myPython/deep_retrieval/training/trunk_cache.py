"""Cache the results of a net's frozen trunk on disk, so that each image is computed once.

    solver.net.cache_trunk(TrunkCache('tmp/trunk'))

The key of an image is a hash of the bytes that the trunk reads (so a mirrored image is another
image) and of its regions; the key of the trunk is a hash of its layers and parameters. Nothing has
to be deleted when images, regions or weights change.

Missing images of a batch are computed one at a time. The last bits of a result may depend on the
batch size, so this makes the results of a run independent of the initial contents of the cache. It
costs little, since the convolutions of one photograph keep a CPU busy.
"""

import hashlib
import logging
import math
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from caffe.database import MAP_SIZE, check_lmdb

from deep_retrieval.optional import need

if TYPE_CHECKING:
    from caffe.runtime.trunk import FrozenTrunk

FORMAT = b'trunk cache 2'       # stored under the key `format`
REGION_READER = ('ROIPooling', 1)
REGION_DIM = 5      # image index, x1, y1, x2, y2

logger = logging.getLogger(__name__)

# a process must not open an LMDB twice
_environments = weakref.WeakValueDictionary()


class TrunkCache:
    """An LMDB cache for Net.cache_trunk.

    Parameters
    ----------
    folder : path
        The LMDB, which is created if it does not exist. Several runs may share it.

    Raises
    ------
    ValueError
        If the folder has other contents, or a cache that is damaged or of another format.

    Attributes
    ----------
    asked, computed : int
        Number of images requested so far, and of those that were missing.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = os.fspath(folder)
        self.asked = self.computed = 0
        self._environment = _open(self.folder)
        self._checked = weakref.WeakKeyDictionary()     # trunk -> whether it works by image

    def results(self, trunk: 'FrozenTrunk') -> list[np.ndarray] | None:
        """Return the trunk's results for the batch in its inputs, from the cache or computed.

        Parameters
        ----------
        trunk : caffe.runtime.trunk.FrozenTrunk

        Returns
        -------
        list of float32 arrays, or None if the results do not belong to single images.
        """
        if self._checked.get(trunk) is False:
            return None
        batch = _Batch(trunk)
        if not batch.is_by_image:
            return self._refuse(trunk, 'its blobs do not have one row per image or per region')
        with self._environment.begin() as transaction:
            found = {key: transaction.get(key) for key in batch.keys}
        missing = {key: image for image, key in enumerate(batch.keys) if found[key] is None}
        self.asked += len(batch.keys)
        self.computed += len(missing)
        computed = {key: batch.compute(image) for key, image in missing.items()}
        try:
            if computed and trunk not in self._checked:
                found.update(computed)
                self._checked[trunk] = batch.agrees([found[key] for key in batch.keys])
                if not self._checked[trunk]:
                    return self._refuse(trunk, 'it mixes the images of a batch')
            found.update(self._store(computed))
            return batch.join([found[key] for key in batch.keys])
        except _SizeError:
            raise ValueError(f'{self.folder}: a record does not have the size of its results; '
                             'delete the folder, it will be recomputed') from None

    def _refuse(self, trunk, reason):
        self._checked[trunk] = False
        logger.warning('%s: the trunk from layer %d on is not cached: %s', self.folder,
                       trunk.first, reason)

    def _store(self, records):
        """Write the records that no other run has written; return the stored ones."""
        lmdb = need('lmdb', 'lmdb')
        if not records:
            return {}
        try:
            with self._environment.begin(write=True) as transaction:
                return {key: record if transaction.put(key, record, overwrite=False)
                        else bytes(transaction.get(key)) for key, record in records.items()}
        except lmdb.Error as error:
            raise ValueError(f'{self.folder}: cannot be written ({error}); make room, or use '
                             'another folder') from None


class _SizeError(Exception):
    """The size of a record is not that of the results of an image."""


class _Batch:
    """The inputs of a trunk, split by image.

    Every input has one row per image, except for regions: R x 5, with the index of the image in the
    first column, read only by ROIPooling.
    """

    def __init__(self, trunk):
        self._trunk = trunk
        self._inputs = [np.ascontiguousarray(blob.tensor.cpu().numpy()) for blob in trunk.inputs]
        self._is_region = [trunk.readers(blob) == {REGION_READER} for blob in trunk.inputs]
        inputs = list(zip(self._inputs, self._is_region, strict=True))
        regions = [array.reshape(-1, REGION_DIM)
                   for array, is_region in inputs if is_region]
        counts = {array.shape[:1] for array, is_region in inputs if not is_region}
        self.is_by_image = len(counts) == 1 and len({len(array) for array in regions}) <= 1
        if not self.is_by_image:
            return
        (self._images,), = counts
        self._owner = regions[0][:, 0] if regions else np.empty(0)
        if any((array[:, 0] != self._owner).any() for array in regions):
            self.is_by_image = False
            return
        self._own = [np.flatnonzero(self._owner == image) for image in range(self._images)]
        rows = [blob.shape[0] if blob.shape else 0 for blob in trunk.results]
        self.is_by_image = all(count in (self._images, len(self._owner)) for count in rows)
        # with one region per image both are right, if they are in the same order; this is checked
        self._by_region = [bool(regions) and count == len(self._owner) for count in rows]
        self.keys = [self._key(image) for image in range(self._images)]

    def _key(self, image):
        state = hashlib.sha256(self._trunk.fingerprint())
        for array in self._of_image(image):
            state.update(repr(array.shape).encode())
            state.update(array)
        return state.digest()

    def _of_image(self, image):
        """Return the inputs of one image, as a batch of one."""
        inputs = []
        for array, is_region in zip(self._inputs, self._is_region, strict=True):
            if is_region:
                own = array.reshape(-1, REGION_DIM)[self._own[image]]   # a copy
                own[:, 0] = 0
                inputs.append(own)
            else:
                inputs.append(array[image:image + 1])
        return inputs

    def compute(self, image):
        """Compute the record of one image: the concatenated bytes of its results."""
        return b''.join(array.tobytes() for array in self._trunk.compute(self._of_image(image)))

    def agrees(self, records):
        """Whether the whole batch has the same results as its images one by one, up to rounding."""
        together = self._trunk.compute(self._inputs)
        try:
            apart = self.join(records)
        except _SizeError:
            return False
        return all(np.allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(one).max(initial=0))
                   for one, other in zip(together, apart, strict=True))

    def join(self, records):
        """Return the batch's results, given the records of its images."""
        results = [np.empty(blob.shape, np.float32) for blob in self._trunk.results]
        for image, record in enumerate(records):
            values, begin = np.frombuffer(record, np.float32), 0
            for array, by_region in zip(results, self._by_region, strict=True):
                rows = self._own[image] if by_region else [image]
                part = (len(rows), *array.shape[1:])
                end = begin + math.prod(part)
                if end > len(values):
                    raise _SizeError
                array[rows] = values[begin:end].reshape(part)
                begin = end
            if begin != len(values):
                raise _SizeError
        return results


def _open(folder):
    lmdb = need('lmdb', 'lmdb')
    real = os.path.realpath(folder)
    environment = _environments.get(real)
    if environment is not None:
        return environment
    data = Path(real, 'data.mdb')
    try:
        if data.exists() and data.stat().st_size:
            check_lmdb(real)
        elif os.path.isdir(real) and set(os.listdir(real)) - {'data.mdb', 'lock.mdb'}:
            raise ValueError('holds other files, or a cache of another version')
        os.makedirs(real, exist_ok=True)
        # results lost by a crash of the machine are computed again
        environment = lmdb.open(real, map_size=MAP_SIZE, sync=False)
        with environment.begin(write=True) as transaction:
            if not transaction.stat()['entries']:
                transaction.put(b'format', FORMAT)
            elif transaction.get(b'format') != FORMAT:
                raise ValueError('is not a trunk cache, or one of another version')
    except (ValueError, RuntimeError, OSError, lmdb.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(f'{folder}: cannot be used as the cache of the trunk '
                         f'({reason.removeprefix(f"{real}: ")}); delete it or name another '
                         'folder') from None
    _environments[real] = environment
    return environment
