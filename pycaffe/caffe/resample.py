"""resize_image, which resamples as pycaffe does by scikit-image and SciPy."""

import numpy as np

from .errors import CaffeError


class InputError(CaffeError, ValueError):
    """An invalid argument; a ValueError too, as in pycaffe."""


def resize_image(im, new_dims, interp_order=1):
    """Resize an H x W x K array to `new_dims` (height, width in pixels); returns float32.

    interp_order : 0 nearest, 1 linear, 3 cubic (up to 5); splines if K is neither 1 nor 3

    An image with 1 or 3 channels is smoothed before it is reduced, and padded with its minimum, so
    an enlarged image fades to it at the border. With any other number of channels, the corner
    pixels stay in the corners, and nothing is smoothed. Raises InputError for other arguments.
    """
    from scipy import ndimage  # slow to import (0.5 s), so only when it is needed
    im = np.asarray(im)
    dims = tuple(int(dim) for dim in new_dims)
    if im.ndim != 3 or 0 in im.shape:
        raise InputError(f'resize_image needs an H x W x K array, not one of shape {im.shape}')
    if len(dims) != 2 or min(dims) < 1:
        raise InputError(f'cannot resize an image to {dims}: (height, width) is expected')
    if interp_order not in range(6):
        raise InputError(f'interp_order must be 0 to 5, not {interp_order!r}')
    if im.shape[2] not in (1, 3):
        scale = (dims[0] / im.shape[0], dims[1] / im.shape[1], 1)
        return ndimage.zoom(im, scale, order=interp_order).astype(np.float32)
    im = im.astype(float)
    low, high = im.min(), im.max()
    if not high > low:
        return np.full((*dims, im.shape[2]), low, np.float32)
    resized = _resize((im - low) / (high - low), dims, interp_order)
    return (resized * (high - low) + low).astype(np.float32)


def _resize(im, dims, order):
    """Apply a Gaussian, then interpolate between pixel centres; zeros beyond the border."""
    from scipy import ndimage
    shrink = np.array([im.shape[0] / dims[0], im.shape[1] / dims[1], 1])
    smooth = ndimage.gaussian_filter(im, np.maximum(0, (shrink - 1) / 2), mode='constant')
    if order == 3:
        rows, columns = (_cubic(*sizes) for sizes in zip(im.shape[:2], dims, strict=True))
        resized = np.einsum('yi,ijk,xj->yxk', rows, smooth, columns, optimize=True)
    else:
        resized = ndimage.zoom(smooth, 1 / shrink, order=order, mode='grid-constant',
                               grid_mode=True)
    return np.clip(resized, smooth.min(), smooth.max()) if order else resized


def _cubic(size, new_size):
    """Return the new_size x size matrix of the Catmull-Rom cubic interpolation."""
    at = (np.arange(new_size) + 0.5) * size / new_size - 0.5
    left = np.floor(at).astype(int)
    t = at - left
    taps = ((2 * t**2 - t - t**3) / 2, (2 - 5 * t**2 + 3 * t**3) / 2,
            (t + 4 * t**2 - 3 * t**3) / 2, (t**3 - t**2) / 2)
    matrix = np.zeros((new_size, size + 4))     # padded with two zeros at each end
    for offset, tap in enumerate(taps, start=1):
        matrix[np.arange(new_size), left + offset] = tap
    return matrix[:, 2:-2]
