"""Images as files: listed, resized, cropped, encoded, and the mean of many.

    for name in list_images('datasets/Oxford/jpg'):
        image = stretch(read_image(os.path.join('datasets/Oxford/jpg', name)), (384, 512))
"""

import os

import cv2
import numpy as np

EXTENSIONS = ('.jpg', '.jpeg', '.png')  # in either case


def list_images(folder):
    """Sorted names of the images in a folder, without hidden files and folders."""
    return sorted(name for name in os.listdir(folder) if _is_image(name)
                  and not os.path.isdir(os.path.join(folder, name)))


def list_classes(folder):
    """Class folders in a folder: name -> names of its images, both sorted. Hidden ones are none.

    Names that are integers are sorted by their value. ValueError where there is no class folder.
    """
    names = [name for name in os.listdir(folder)
             if not name.startswith('.') and os.path.isdir(os.path.join(folder, name))]
    if not names:
        raise ValueError(f'{folder}: holds no folders; a folder for each class is expected')
    return {name: list_images(os.path.join(folder, name)) for name in sorted(names, key=by_value)}


def by_value(name):
    """A key that sorts names that are integers by value, before all others."""
    return (0, int(name), name) if name.isdecimal() and name.isascii() else (1, 0, name)


def stretch(image, size):
    """Resize an image to a size (height, width in pixels), whatever its shape."""
    return cv2.resize(image, size[::-1])


def fill(image, size):
    """Resize an image so that it covers a size (height, width), and cut out its middle."""
    height, width = image.shape[:2]
    ratio = max(size[0] / height, size[1] / width)
    height, width = max(size[0], round(height * ratio)), max(size[1], round(width * ratio))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return cv2.resize(image, (width, height))[top:top + size[0], left:left + size[1]]


def random_crop(image, seed, shares=(0.5, 0.8)):
    """A part of an image with sides of a random share of its own, the same for both, anywhere."""
    random = np.random.default_rng(seed)
    share = random.uniform(*shares)
    height, width = (max(1, round(side * share)) for side in image.shape[:2])
    top = random.integers(image.shape[0] - height + 1)
    left = random.integers(image.shape[1] - width + 1)
    return image[top:top + height, left:left + width]


def encode(image, name):
    """The bytes of an image in the format of a file name's extension."""
    return cv2.imencode(os.path.splitext(name)[1].lower(), image)[1].tobytes()


def channel_mean(image):
    """B, G, R means of an image (H x W x 3 uint8), float64."""
    return image.reshape(-1, 3).mean(axis=0, dtype=np.float64)


def _is_image(name):
    return name.lower().endswith(EXTENSIONS) and not name.startswith('.')
