"""Datum <-> image, image files, and lists of image files (util/io.hpp).

Images are arrays of C x H x W, uint8 or float32; colour images are BGR.
"""

import math

import cv2
import numpy as np
from google.protobuf.message import DecodeError

from .errors import CaffeError
from .files import naming, read_text
from .proto import caffe_pb2


def parse_datum(value):
    """Parse a serialized Datum (a bytes-like object)."""
    try:
        return caffe_pb2.Datum.FromString(bytes(value))
    except DecodeError:
        raise CaffeError('is not a Datum, or is truncated') from None


def datum_to_image(datum, is_color=None):
    """Return the image of a Datum.

    is_color : decode an encoded image to 3 channels (True), to 1 (False), or keep its own (None)
    """
    if datum.encoded:
        return decode_image(datum.data, is_color)
    shape = datum.channels, datum.height, datum.width
    values = (np.frombuffer(datum.data, np.uint8) if datum.data
              else np.array(datum.float_data, np.float32))
    if min(shape) < 1 or values.size != math.prod(shape):
        raise CaffeError(f'the Datum holds {values.size} values for a shape of {shape}; '
                         'it is damaged or truncated')
    return values.reshape(shape)


def image_to_datum(image, label):
    """Return a uint8 image as a raw Datum, with the fields that Caffe sets."""
    channels, height, width = image.shape
    return caffe_pb2.Datum(channels=channels, height=height, width=width, data=image.tobytes(),
                           label=label, encoded=False)


def decode_image(data, is_color=None):
    """Decode the bytes of an image file; `is_color` as in datum_to_image."""
    flag = {None: cv2.IMREAD_UNCHANGED, True: cv2.IMREAD_COLOR, False: cv2.IMREAD_GRAYSCALE}
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag[is_color])
    except cv2.error:       # no bytes at all, or more pixels than OpenCV accepts
        image = None
    if image is None:
        raise CaffeError('is not an image that OpenCV can decode')
    if image.dtype != np.uint8:
        raise CaffeError(f'is an image of {image.dtype}; only 8 bits per channel are supported')
    return np.atleast_3d(image).transpose(2, 0, 1)


def encode_image(image, extension):
    """Encode an image as a file: 'png', 'jpg' or another format that OpenCV writes."""
    try:
        done, data = cv2.imencode('.' + extension, _pixels(image))
    except cv2.error:
        done = False
    if not done:
        raise CaffeError(f'OpenCV cannot encode images as {extension!r}')
    return data.tobytes()


def read_image(path, is_color=True, size=None):
    """Read the image file `path`, and resize it to `size` (height, width) if given."""
    data = read_bytes(path)
    with naming(path):
        image = decode_image(data, is_color)
    return resize_image(image, *size) if size else image


def resize_image(image, height, width):
    """Resize an image as Caffe does: bilinear, without anti-aliasing."""
    resized = cv2.resize(_pixels(image), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.atleast_3d(resized).transpose(2, 0, 1)


def _pixels(image):
    return np.ascontiguousarray(image.transpose(1, 2, 0))   # OpenCV's H x W x C


def read_bytes(path):
    try:
        with open(path, 'rb') as file:
            return file.read()
    except OSError as error:
        raise CaffeError(f'{path}: {error.strerror}') from None


def read_list(path):
    """Read (name, label) pairs from a text file with one name and label per line.

    The label follows the last space, so names may contain spaces.
    """
    pairs = [_split(f'{path}:{number}', line)
             for number, line in enumerate(read_text(path).split('\n'), 1) if line.strip()]
    if not pairs:
        raise CaffeError(f'{path}: lists no images')
    return pairs


def _split(place, line):
    name, _, label = line.rpartition(' ')
    try:
        return name, np.int32(int(label)).item()
    except (ValueError, OverflowError):
        raise CaffeError(f'{place}: expected a file name, a space and an integer label, '
                         f'not {line!r}') from None
