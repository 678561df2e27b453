"""TransformationParameter: crop, mirror, subtract the mean, scale (data_transformer.hpp)."""

import numpy as np
import torch

from .common import TRAIN, generator, shared_seed
from .errors import CaffeError
from .files import naming, read_message
from .proto import weights_pb2
from .weights import blob_arrays


class DataTransformer:
    """top = (crop(image) - mean) * scale, randomly mirrored; images are C x H x W."""

    def __init__(self, param, phase, random=None):
        if param.mean_file and param.mean_value:
            raise CaffeError('mean_file and mean_value cannot both be given')
        if param.force_color and param.force_gray:
            raise CaffeError('force_color and force_gray cannot both be set')
        self.crop_size, self.mirror = param.crop_size, param.mirror
        self.scale = np.float32(param.scale)
        self.is_color = True if param.force_color else False if param.force_gray else None
        self._train = phase == TRAIN
        self._random = random or own_generator()
        self._mean = (read_mean(param.mean_file) if param.mean_file
                      else np.array(param.mean_value or [0], np.float32).reshape(-1, 1, 1))
        self._mean_file = param.mean_file

    def shape(self, shape):
        """Return the shape (C, H, W) of a transformed image of the given shape."""
        channels, height, width = shape
        self._check_mean(shape)
        if min(height, width) < self.crop_size:
            raise CaffeError(f'the image is {height} x {width}, smaller than crop_size '
                             f'{self.crop_size}')
        return (channels, self.crop_size or height, self.crop_size or width)

    def _check_mean(self, shape):
        if self._mean_file and self._mean.shape != tuple(shape):
            raise CaffeError(f'{self._mean_file} is a mean of shape {self._mean.shape}, '
                             f'the image has {tuple(shape)}')
        if len(self._mean) not in (1, shape[0]):
            raise CaffeError(f'{len(self._mean)} mean_values for an image of {shape[0]} channels; '
                             'give a single one, or one per channel')

    def __call__(self, image, out):
        """Write the transformed `image` to the float32 array `out`, of the shape from `shape`."""
        mirrored = self.mirror and self.rand(2)
        top, left = self._crop_offset(image.shape[1] - out.shape[1], image.shape[2] - out.shape[2])
        window = np.s_[:, top:top + out.shape[1], left:left + out.shape[2]]
        mean = self._mean[window] if self._mean_file else self._mean
        np.subtract(image[window], mean, out=out[:, :, ::-1] if mirrored else out)
        if self.scale != 1:
            out *= self.scale

    def _crop_offset(self, spare_height, spare_width):
        if not self.crop_size:
            return 0, 0
        if self._train:
            return self.rand(spare_height + 1), self.rand(spare_width + 1)
        return spare_height // 2, spare_width // 2

    def window_mean(self, size):
        """Return the centre of the mean, which WindowData subtracts from 3 x size x size pixels."""
        mean = self._mean
        if self._mean_file:
            offset = (mean.shape[2] - size) // 2    # Caffe uses it for the height too
            mean = mean[:, offset:offset + size, offset:offset + size] if offset >= 0 else mean[:0]
        if len(mean) not in (1, 3) or self._mean_file and mean.shape != (3, size, size):
            raise CaffeError(f'the mean of shape {self._mean.shape} does not fit 3 x {size} x '
                             f'{size}')
        return np.broadcast_to(mean, (3, size, size))

    def rand(self, n):
        """A random integer from 0 to n - 1."""
        return int(torch.randint(n, (), generator=self._random))


def own_generator():
    """Return a generator seeded from the engine's, for random numbers drawn in another thread."""
    seed = int(torch.randint(2 ** 62, (), generator=generator()))
    return torch.Generator().manual_seed(seed)


def shared_generator():
    """Return a generator that draws the same numbers in all layers and all parallel solvers."""
    return torch.Generator().manual_seed(shared_seed())


def read_mean(path):
    """The mean image in a BlobProto file, C x H x W."""
    blob = read_message(path, weights_pb2.RawBlob(), 'mean image (a binary BlobProto)')
    with naming(path):
        mean, _ = blob_arrays(blob)
        mean = mean.reshape((1,) * (4 - mean.ndim) + mean.shape)
        if mean.ndim != 4 or len(mean) != 1 or not mean.size:
            raise CaffeError(f'has the shape {mean.shape}, which is not a mean image of '
                             '1 x channels x height x width')
    return mean[0]
