"""Read, resize and crop images for the nets.

    image, ratio = resize(read_image('a.jpg'), 800)
    blob = to_blob([image])     # 1 x 3 x H x W
"""

from __future__ import annotations  # for Python 3.9 of Debian 11, which has genuine pycaffe

import os
from collections.abc import Sequence

import cv2
import numpy as np

from deep_retrieval import image_means
from deep_retrieval.arguments import finite
from deep_retrieval.scales import LEAST_SIDE

MEAN = np.array(image_means.NET, np.float32)     # B, G, R

JPEG, PNG = b'\xff\xd8\xff', b'\x89PNG'


class ImageError(ValueError):
    """A file is not a complete image; the one-line message names the file."""


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read an image.

    Grey images become BGR, and transparency is dropped.

    Returns
    -------
    ndarray, H x W x 3 uint8, in the order B, G, R

    Raises
    ------
    ImageError
        The file is missing, is not an image, or is truncated. (OpenCV alone would return the
        readable part of a truncated JPEG and fill the rest with grey.)
    """
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except OSError as error:
        raise ImageError(f'{path}: {error.strerror}') from None
    if _is_truncated(data):
        raise ImageError(f'{path}: is truncated')
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:       # more pixels than OpenCV accepts
        image = None
    if image is None:
        raise ImageError(f'{path}: is not an image that OpenCV can read')
    return image


def _is_truncated(data):
    if data.startswith(JPEG):
        # an end marker must follow the last scan, since an embedded thumbnail has its own
        return data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda')
    return data.startswith(PNG) and b'IEND' not in data[-64:]


def resize(image: np.ndarray, S: int) -> tuple[np.ndarray, float]:
    """Scale an image so that its longer side has S pixels.

    The shorter side of a very thin image is stretched to `LEAST_SIDE` pixels.

    Returns
    -------
    image : ndarray, h x w x 3 uint8
    ratio : S / longer side

    >>> image, ratio = resize(np.zeros((100, 200, 3), np.uint8), S=50)
    >>> image.shape, ratio
    ((25, 50, 3), 0.25)
    """
    height, width = image.shape[:2]
    ratio = S / max(height, width)
    size = (max(LEAST_SIDE, round(width * ratio)), max(LEAST_SIDE, round(height * ratio)))
    return cv2.resize(image, size), ratio


def crop(image: np.ndarray, box: tuple, ratio: float, name: str = 'the image') -> np.ndarray:
    """Cut a box out of an image that was scaled by `ratio`.

    Parameters
    ----------
    image : ndarray, h x w x 3
    box : (x1, y1, x2, y2) in pixels of the original image
        Parts outside the image are ignored, but at least `LEAST_SIDE` pixels remain.
    name : str
        What messages call the image.

    Raises
    ------
    ValueError
        The box is not four finite numbers, or lies outside the image.
    """
    box = finite(f'{name}: the box', box, 4)
    x1, y1, x2, y2 = (value * ratio for value in box)
    height, width = image.shape[:2]
    # the shorter side was rounded, so that it may have been up to half a pixel longer
    right, bottom = (side + (0.5 if side < max(height, width) else -1e-6)
                     for side in (width, height))
    if x2 <= 0 or y2 <= 0 or x1 >= right or y1 >= bottom:
        raise ValueError(f'{name}: the box {", ".join(f"{value:g}" for value in box)} lies outside '
                         f'its {round(width / ratio)} x {round(height / ratio)} pixels')
    return image[_span(round(y1), round(y2), height), _span(round(x1), round(x2), width)]


def _span(first, end, length):
    first = min(max(first, 0), length - LEAST_SIDE)
    return slice(first, max(end, first + LEAST_SIDE))


def to_blob(images: list[np.ndarray], mean: Sequence[float] | np.ndarray = MEAN, scale: float = 1,
            colour: str = 'BGR') -> np.ndarray:
    """Turn images of one size into the blob that a net reads.

    Parameters
    ----------
    images : list of H x W x 3 uint8, B G R
    mean : three numbers in the net's colour order, subtracted first
    scale : factor applied after the subtraction
    colour : 'BGR' or 'RGB', the net's colour order

    Returns
    -------
    ndarray, B x 3 x H x W float32
    """
    blob = np.stack(images).astype(np.float32)
    if colour == 'RGB':
        blob = blob[..., ::-1]
    blob = blob - np.asarray(mean, np.float32)
    return (blob if scale == 1 else blob * np.float32(scale)).transpose(0, 3, 1, 2)


def check_images(images: list[np.ndarray]) -> None:
    """Check that arrays are images as `read_image` returns them.

    Raises
    ------
    ValueError
        An array is not H x W x 3 uint8. Floats are refused, since the ranges 0 to 1 and 0 to 255
        cannot be distinguished reliably.
    """
    for index, image in enumerate(images):
        if not isinstance(image, np.ndarray):
            raise ValueError(f'image {index} is {type(image).__name__}, but must be an array as '
                             'returned by read_image')
        if image.dtype != np.uint8:
            raise ValueError(f'image {index} has values of type {image.dtype}, but must have '
                             'uint8 from 0 to 255; for floats from 0 to 1 pass '
                             '(255 * image).round().astype(np.uint8)')
        if image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(f'image {index} has shape {image.shape}, but must be H x W x 3 (B, G, '
                             'R)')
