"""Images: read, resized and cropped, as the nets take them.

    image, ratio = resize(read_image('a.jpg'), 800)
    blob = to_blob([image])
"""

import cv2
import numpy as np

MEAN = np.array([103.93900299, 116.77899933, 123.68000031], np.float32)     # B, G, R
LEAST_SIDE = 3      # pixels; of less the nets' first convolution leaves nothing to pool

JPEG, PNG = b'\xff\xd8\xff', b'\x89PNG'


class ImageError(ValueError):
    """A file that is no whole image; one line that names it."""


def read_image(path):
    """The image in a file, H x W x 3 uint8 (B, G, R); grey becomes BGR and alpha is dropped.

    ImageError where the file is missing, no image, or truncated: OpenCV would return the part of
    a JPEG that is there, with grey below.
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
    except cv2.error:       # more pixels than OpenCV reads
        image = None
    if image is None:
        raise ImageError(f'{path}: is no image that OpenCV reads')
    return image


def _is_truncated(data):
    if data.startswith(JPEG):
        # the end marker must come behind the last scan: a thumbnail has an end of its own before
        return data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda')
    return data.startswith(PNG) and b'IEND' not in data[-64:]


def resize(image, S):
    """Scale an image so that its longer side has S pixels; returns it and the ratio.

    The shorter side of a very thin image is stretched to LEAST_SIDE.
    """
    height, width = image.shape[:2]
    ratio = S / max(height, width)
    size = (max(LEAST_SIDE, round(width * ratio)), max(LEAST_SIDE, round(height * ratio)))
    return cv2.resize(image, size), ratio


def crop(image, box, ratio):
    """Cut box (x1, y1, x2, y2 in pixels of the original) from an image scaled by `ratio`.

    What lies outside the image is left off, but LEAST_SIDE pixels remain.
    """
    x1, y1, x2, y2 = (round(value * ratio) for value in box)
    return image[_span(y1, y2, image.shape[0]), _span(x1, x2, image.shape[1])]


def _span(first, end, length):
    first = min(max(first, 0), length - LEAST_SIDE)
    return slice(first, max(end, first + LEAST_SIDE))


def to_blob(images):
    """Images of one size (H x W x 3 uint8) as B x 3 x H x W float32, less the mean."""
    return (np.stack(images).astype(np.float32) - MEAN).transpose(0, 3, 1, 2)
