"""Typical edits of a frame that is shared between platforms, for H x W x 3 uint8 BGR images.

    image = EDITS['letterboxed'](image, np.random.default_rng(0))

Each edit keeps the size of the image, and draws random numbers from the generator.
"""

import cv2
import numpy as np

from deep_retrieval.scenes.buildings import pick

LINES = ('Yesterday, downtown', 'You will not believe this', 'Part 2 of 5', 'WATCH TO THE END',
         'Live from the old town', 'What a day!', 'Can you spot it?', 'MORNING NEWS', 'No comment',
         'Where is this?', 'Follow for more', 'The city in three seconds')
COLOURS = [(250, 250, 250), (60, 220, 250), (90, 90, 235), (230, 180, 60), (120, 230, 120)]
FONTS = (cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SIMPLEX)


def recoded(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Reduce the image, save it as a low-quality JPEG, and enlarge it again."""
    size = image.shape[1::-1]
    share = rng.uniform(0.5, 0.9)
    small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(12, 40))])
    return cv2.resize(cv2.imdecode(data, cv2.IMREAD_COLOR), size)


def cropped(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Crop to 75 to 93 % of both sides, and enlarge to the full size."""
    height, width = image.shape[:2]
    share = rng.uniform(0.75, 0.93)
    h, w = round(height * share), round(width * share)
    y, x = rng.integers(height - h + 1), rng.integers(width - w + 1)
    return cv2.resize(image[y:y + h, x:x + w], (width, height), interpolation=cv2.INTER_CUBIC)


def letterboxed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add black bars above and below, or put a smaller picture in front of a blurred one."""
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        bar = round(height * rng.uniform(0.07, 0.13))
        boxed = np.zeros_like(image)
        boxed[bar:height - bar] = image[bar:height - bar]
        return boxed
    share = rng.uniform(0.72, 0.88)
    boxed = cv2.GaussianBlur(cv2.resize(image, None, fx=1.3, fy=1.3), (0, 0), 12)
    y, x = (boxed.shape[0] - height) // 2, (boxed.shape[1] - width) // 2
    boxed = (0.6 * boxed[y:y + height, x:x + width]).astype(np.uint8)
    small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    y, x = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    boxed[y:y + small.shape[0], x:x + small.shape[1]] = small
    return boxed


def captioned(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a line of text, outlined or on a bar."""
    height, width = image.shape[:2]
    edited = image.copy()
    words, font, colour = (pick(rng, options) for options in (LINES, FONTS, COLOURS))
    size = rng.uniform(0.75, 1.1) * width / 496
    (long, tall), _ = cv2.getTextSize(words, font, size, 2)
    if long > 0.94 * width:
        size *= 0.94 * width / long
        (long, tall), _ = cv2.getTextSize(words, font, size, 2)
    x, y = (width - long) // 2, round(height * pick(rng, (0.14, 0.9, 0.92)))
    if rng.random() < 0.5:
        top, foot = max(0, y - round(1.7 * tall)), min(height, y + tall)
        edited[top:foot] = edited[top:foot] // 4
    else:
        cv2.putText(edited, words, (x, y), font, size, (16, 16, 16), 6, cv2.LINE_AA)
    cv2.putText(edited, words, (x, y), font, size, colour, 2, cv2.LINE_AA)
    return edited


def brightened(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make the image lighter or darker, with another contrast and saturation."""
    curve = rng.uniform(0.65, 0.85) if rng.random() < 0.7 else rng.uniform(1.2, 1.4)
    table = np.clip(255 * (np.arange(256) / 255) ** curve * rng.uniform(1.0, 1.15), 0, 255)
    bright = cv2.LUT(image, table.astype(np.uint8))
    grey = cv2.cvtColor(cv2.cvtColor(bright, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    strength = rng.uniform(0.75, 1.3)
    return cv2.addWeighted(bright, strength, grey, 1 - strength, 0)


def mirrored(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror left and right."""
    return np.ascontiguousarray(image[:, ::-1])


def branded(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a translucent logo in a corner."""
    height, width = image.shape[:2]
    layer, colour = image.copy(), pick(rng, COLOURS)
    radius = round(height * rng.uniform(0.05, 0.08))
    x = pick(rng, (2 * radius, width - 2 * radius))
    y = pick(rng, (2 * radius, height - 2 * radius))
    form = pick(rng, ('play', 'ring', 'letters'))
    if form == 'letters':
        box = (x - round(1.7 * radius), y - radius // 2), (x + round(1.7 * radius), y + radius // 2)
        cv2.rectangle(layer, *box, colour, -1)
        words, font = pick(rng, ('TV 7', 'CITY', 'CLIPS')), cv2.FONT_HERSHEY_DUPLEX
        size = radius / 2.4 / cv2.getTextSize('H', font, 1, 1)[0][1] * 1.3
        long, tall = cv2.getTextSize(words, font, size, 1)[0]
        cv2.putText(layer, words, (x - long // 2, y + tall // 2), font, size, (30, 30, 30), 1,
                    cv2.LINE_AA)
    else:
        cv2.circle(layer, (x, y), radius, colour, -1, cv2.LINE_AA)
        if form == 'ring':
            cv2.circle(layer, (x, y), radius // 2, (40, 40, 40), max(2, radius // 5), cv2.LINE_AA)
        else:
            points = np.array([[-0.35, -0.5], [0.55, 0], [-0.35, 0.5]]) * radius + (x, y)
            cv2.fillPoly(layer, [points.astype(np.int32)], (40, 40, 40), cv2.LINE_AA)
    return cv2.addWeighted(layer, 0.85, image, 0.15, 0)


EDITS = {edit.__name__: edit for edit in (
    recoded, cropped, letterboxed, captioned, brightened, mirrored, branded)}
