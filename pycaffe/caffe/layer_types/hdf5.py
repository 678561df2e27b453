"""HDF5Data and HDF5Output: read data from HDF5 files, and write it."""

import os
from itertools import chain

import numpy as np
import torch

from .. import common
from ..data_transformer import shared_generator
from ..database import cycle
from ..errors import CaffeError
from ..files import read_text
from ..layer import ALL, Layer, register
from ..optional import need
from .stored_data import own_share


@register
class HDF5Data(Layer):
    """Rows of the datasets named like the tops, from the files listed in `source`, endlessly."""
    bottom_count = (0, 0)
    top_count = (1, None)

    def setup(self, bottom, top):
        param = self.layer_param.hdf5_data_param
        if self.layer_param.HasField('transform_param'):
            raise CaffeError('HDF5Data does not transform its data; remove transform_param')
        if param.batch_size < 1:
            raise CaffeError('batch_size must be at least 1')
        self.batch_size = param.batch_size
        names = list(self.layer_param.top)
        rows = _rows(_read_source(param.source), names,
                     shared_generator() if param.shuffle else None)
        first = next(rows)
        self._rows = own_share(chain([first], rows), self.phase)
        self._shapes = [dataset.shape[1:] for dataset in first[0]]
        for blob, shape in zip(top, self._shapes, strict=True):
            blob.reshape(self.batch_size, *shape)

    def skip(self, batches):
        """Continue as if that many batches had been delivered."""
        for _ in range(batches * self.batch_size):
            next(self._rows)

    def forward(self, bottom, top):
        arrays = [np.empty((self.batch_size, *shape), np.float32) for shape in self._shapes]
        for item in range(self.batch_size):
            datasets, row, path = next(self._rows)
            for array, dataset in zip(arrays, datasets, strict=True):
                if dataset.shape[1:] != array.shape[1:]:
                    raise CaffeError(f'{path}: has rows of shape {dataset.shape[1:]}, '
                                     f'but an earlier file of {array.shape[1:]}')
                array[item] = dataset[row]
        for blob, array in zip(top, arrays, strict=True):
            blob.reshape(*array.shape)
            blob.tensor = torch.from_numpy(array).to(common.device())


def _rows(paths, names, random):
    """Yield (datasets, row, path) endlessly; only one file at a time is in memory."""
    path, datasets = None, []
    for wanted in cycle(paths, random):
        if wanted != path:
            path, datasets = wanted, _read_rows(wanted, names)
        order = range(len(datasets[0])) if random is None else torch.randperm(
            len(datasets[0]), generator=random).tolist()
        for row in order:
            yield datasets, row, path


def _read_source(path):
    paths = read_text(path).split()
    if not paths:
        raise CaffeError(f'{path}: lists no HDF5 files')
    return paths


def _read_rows(path, names):
    """Read the datasets `names` of an HDF5 file as float32 arrays of equal length."""
    h5py = need('h5py', 'hdf5')
    arrays = []
    try:
        with h5py.File(path, 'r') as file:
            for name in names:
                if not isinstance(file.get(name), h5py.Dataset):
                    raise CaffeError(f'{path}: has no dataset {name!r}; it has '
                                     f'{", ".join(file) or "none"}')
                if not np.issubdtype(file[name].dtype, np.number) or not file[name].shape:
                    raise CaffeError(f'{path}: dataset {name!r} is not an array of numbers')
                arrays.append(file[name][...].astype(np.float32))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else 'is not an HDF5 file, or is damaged'
        raise CaffeError(f'{path}: {reason}') from None
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1 or not lengths[0]:
        raise CaffeError(f'{path}: the datasets {", ".join(names)} have {lengths} rows; they must '
                         'have the same number, at least 1')
    return arrays


@register
class HDF5Output(Layer):
    """Write the bottoms, with 4 axes, to the datasets /data and /label of `file_name`.

    Further forwards append their rows, where genuine Caffe aborts.
    """
    bottom_count = (2, 2)
    top_count = (0, 0)
    no_gradient = ALL

    def setup(self, bottom, top):
        self.path = self.layer_param.hdf5_output_param.file_name
        with self._open('w'):       # an existing file is replaced, as in Caffe
            pass

    def reshape(self, bottom, top):
        if bottom[0].num != bottom[1].num:
            raise CaffeError(f'data and label must have the same number of rows, '
                             f'not {bottom[0].num} and {bottom[1].num}')

    def forward(self, bottom, top):
        # closed each time, so that the file is complete whenever the process ends
        with self._open('r+') as file:
            for name, blob in zip(('data', 'label'), bottom, strict=True):
                _append(file, name, blob)

    def _open(self, mode):
        h5py = need('h5py', 'hdf5')
        try:
            return h5py.File(self.path, mode)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else 'is not an HDF5 file'
            raise CaffeError(f'{self.path}: {reason}') from None


def _append(file, name, blob):
    shape = blob.channels, blob.height, blob.width
    rows = blob.tensor.detach().cpu().numpy().reshape(blob.num, *shape)
    if name not in file:
        file.create_dataset(name, data=rows, maxshape=(None, *shape))
        return
    dataset = file[name]
    if dataset.shape[1:] != shape:
        raise CaffeError(f'{name} has rows of shape {shape}, earlier rows {dataset.shape[1:]}')
    start = len(dataset)
    dataset.resize(start + len(rows), axis=0)
    dataset[start:] = rows
