"""Generalized-mean (GeM) pooling (Radenovic, Tolias and Chum, TPAMI 2019, equation 3).

    y = gem(x, p=3)

    y_k = (mean over positions i of max(x_ki, eps)^p)^(1/p)

p = 1 is average pooling, and p -> infinity is max pooling. Result and gradients are computed
relative to each channel's maximum, so that powers do not overflow.
"""

import numpy as np

EPSILON = 1e-6      # as in the authors' code


def gem(x: np.ndarray, p: float, eps: float = EPSILON) -> np.ndarray:
    """Return the generalized mean of each channel.

    Parameters
    ----------
    x : ... x H x W
        Values below `eps` are raised to `eps`.
    p : float, positive
    eps : float, positive

    Returns
    -------
    ndarray, ... x 1 x 1
    """
    ratio, largest = _relative(x, eps)
    return largest * _mean(ratio ** p) ** (1 / p)


def gem_backward(x: np.ndarray, p: float, diff: np.ndarray, eps: float = EPSILON
                 ) -> tuple[np.ndarray, float]:
    """Return the gradients w.r.t. x and p, given `diff` (... x 1 x 1), that w.r.t. gem(x, p).

    With z = max(x, eps), m = mean(z^p) and y = m^(1/p) over n positions:

        dy/dx = y / (n m) z^(p-1), and 0 where x < eps
        dy/dp = y / p (mean(z^p log z) / m - log(m) / p)
    """
    ratio, largest = _relative(x, eps)
    powers = ratio ** p
    mean = _mean(powers)
    y = largest * mean ** (1 / p)
    to_x = diff * y * powers / (ratio * largest * mean * np.prod(x.shape[-2:]))
    # logarithms of the ratios, since log(largest) cancels
    slope = y / p * (_mean(powers * np.log(ratio)) / mean - np.log(mean) / p)
    return np.where(x >= eps, to_x, 0), float(np.sum(diff * slope))


def windows(rois: np.ndarray, H: int, W: int, scale: float) -> list[tuple[int, slice, slice]]:
    """Return the image, rows and columns of each region on a map of H x W cells.

    Corners are rounded to cells as in ROIPooling; a region has at least one cell, unless it lies
    outside the map.

    Parameters
    ----------
    rois : R x 5
        Image index, x1, y1, x2, y2 in pixels, corners inclusive.
    H, W : size of the map
    scale : cells per pixel
    """
    corners = np.floor(rois[:, 1:] * np.float32(scale) + np.float32(0.5)).astype(int)
    cells = np.column_stack([rois[:, 0].astype(int), corners]).tolist()
    return [(image, slice(max(y1, 0), min(max(y2, y1) + 1, H)),
             slice(max(x1, 0), min(max(x2, x1) + 1, W))) for image, x1, y1, x2, y2 in cells]


def _relative(x, eps):
    """Return max(x, eps) relative to its maximum in each channel, and that maximum."""
    x = np.maximum(x, eps)
    largest = x.max((-2, -1), keepdims=True)
    return x / largest, largest


def _mean(x):
    return x.mean((-2, -1), keepdims=True)
