"""Edit images (H x W x 3 uint8) for new sets, and encode them.

    image = stretch(read_image('datasets/Oxford/jpg/a.jpg'), (384, 512))
"""

import os
from collections.abc import Sequence

import cv2
import numpy as np


def stretch(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image to (height, width) pixels without keeping its aspect ratio."""
    return cv2.resize(image, size[::-1])


def fill(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image to cover (height, width) pixels, and crop the centre."""
    height, width = image.shape[:2]
    ratio = max(size[0] / height, size[1] / width)
    height, width = max(size[0], round(height * ratio)), max(size[1], round(width * ratio))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return cv2.resize(image, (width, height))[top:top + size[0], left:left + size[1]]


def random_crop(image: np.ndarray, seed: int | Sequence[int],
                shares: tuple[float, float] = (0.5, 0.8)) -> np.ndarray:
    """Crop a random part of an image, keeping the aspect ratio.

    Parameters
    ----------
    image : H x W x 3 uint8
    seed : for `np.random.default_rng`
    shares : (minimum, maximum) side length of the crop, as a fraction of the image's
    """
    random = np.random.default_rng(seed)
    share = random.uniform(*shares)
    height, width = (max(1, round(side * share)) for side in image.shape[:2])
    top = random.integers(image.shape[0] - height + 1)
    left = random.integers(image.shape[1] - width + 1)
    return image[top:top + height, left:left + width]


def encode(image: np.ndarray, name: str) -> bytes:
    """Encode an image in the format of a file name's extension."""
    return cv2.imencode(os.path.splitext(name)[1].lower(), image)[1].tobytes()
