"""Read R-CNN's window files, and cut windows out of images (window_data_layer.cpp).

    # 0                             the number of the image
    path/to/image.jpg
    3 375 500                       channels, height, width
    2                               number of windows
    12 0.87 10 20 200 220           class, overlap with an object, x1 y1 x2 y2, all inclusive
    0 0.1 5 5 90 120
"""

import math
from collections import namedtuple

import numpy as np

from .datum import resize_image
from .errors import CaffeError

Window = namedtuple('Window', 'path label box where')   # box: x1, y1, x2, y2; where: file:line


def read_windows(param):
    """Return two lists: the foreground and the background windows of a WindowDataParameter's file.

    Windows whose overlap is between the two thresholds are left out.
    """
    foreground, background = [], []
    tokens = _Tokens(param.source)
    while tokens.left:
        tokens.take('#', str)
        tokens.take('the number of an image', int)
        path = param.root_folder + tokens.take('the path of an image', str)
        channels, _, _ = (tokens.take(what, int) for what in ('channels', 'height', 'width'))
        if channels != 3:
            raise CaffeError(f'{tokens.where}: images have 3 channels here, not {channels}')
        for _ in range(tokens.take('the number of windows', int)):
            label = tokens.take('a class', int)
            overlap = tokens.take('an overlap', np.float32)
            box = [tokens.take(side, int) for side in ('x1', 'y1', 'x2', 'y2')]
            if overlap >= param.fg_threshold:
                if label < 1:
                    raise CaffeError(f'{tokens.where}: a window of overlap {overlap} needs a class '
                                     f'of at least 1, not {label}')
                foreground.append(Window(path, label, box, tokens.where))
            elif overlap < param.bg_threshold:
                background.append(Window(path, 0, box, tokens.where))
    for windows, what in ((foreground, 'foreground'), (background, 'background')):
        if not windows:
            raise CaffeError(f'{param.source}: no window is {what} by its overlap')
    return foreground, background


class _Tokens:
    """The words of a text file, taken one by one."""

    def __init__(self, path):
        self.where = path
        try:
            with open(path, encoding='utf-8', errors='surrogateescape') as file:
                self._words = [(f'{path}:{number}', word) for number, line in enumerate(file, 1)
                               for word in line.split()]
        except OSError as error:
            raise CaffeError(f'{path}: {error.strerror}') from None
        self._words.reverse()

    @property
    def left(self):
        return len(self._words)

    def take(self, what, kind):
        """Return the next word as a `kind`; error messages call it `what`."""
        if not self._words:
            raise CaffeError(f'{self.where}: the file ends where {what} is expected')
        self.where, word = self._words.pop()
        try:
            if what == '#' and word != '#':
                raise ValueError
            return kind(word)
        except ValueError:
            raise CaffeError(f'{self.where}: {word!r} is not {what}') from None


def cut(image, box, crop_size, context_pad, square, mirrored):
    """Cut a window out of a C x H x W image, warp it to crop_size x crop_size, maybe mirror it.

    box : x1, y1, x2, y2 in pixels, inclusive
    context_pad : pixels of the result around the box that show its surroundings
    square : enlarge the box to a square first
    Returns the warped pixels that lie within the image, and their position (top, left) in the
    result.
    """
    x1, y1, x2, y2 = box
    height, width = image.shape[1:]
    size = (crop_size, crop_size)   # height, width
    top = left = 0
    if context_pad or square:
        x1, y1, x2, y2 = _grow(box, crop_size, context_pad, square)
        y1, y2, height_out, top, _ = _clip(y1, y2, height, crop_size)
        x1, x2, width_out, before, after = _clip(x1, x2, width, crop_size)
        left = after if mirrored else before
        # rounding may have made both one pixel too large
        size = (min(height_out, crop_size - top), min(width_out, crop_size - left))
    if not (0 <= x1 <= x2 < width and 0 <= y1 <= y2 < height) or min(size) < 1:
        raise CaffeError(f'the window {box} is outside the image of {width} x {height} pixels')
    pixels = resize_image(image[:, y1:y2 + 1, x1:x2 + 1], *size)
    return pixels[:, :, ::-1] if mirrored else pixels, top, left


def _grow(box, crop_size, context_pad, square):
    # in float32 as in Caffe, because rounding decides about pixels
    x1, y1, x2, y2 = (np.float32(side) for side in box)
    scale = np.float32(crop_size) / np.float32(crop_size - 2 * context_pad)
    half_width, half_height = (x2 - x1 + 1) / 2, (y2 - y1 + 1) / 2
    center_x, center_y = x1 + half_width, y1 + half_height
    if square:
        half_width = half_height = max(half_width, half_height)
    return (_round(center_x - half_width * scale), _round(center_y - half_height * scale),
            _round(center_x + half_width * scale), _round(center_y + half_height * scale))


def _clip(first, last, length, crop_size):
    """Clip a side of the box to the image; return it, its warped length and its two paddings."""
    scale = np.float32(crop_size) / np.float32(last - first + 1)
    before, after = max(0, -first), max(0, last - length + 1)
    first, last = first + before, last - after
    warped = (_round(np.float32(count) * scale) for count in (last - first + 1, before, after))
    return first, last, *warped


def _round(value):
    """Round half away from zero, like C's round."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))
