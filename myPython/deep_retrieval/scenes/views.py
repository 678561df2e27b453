"""Photographs of facades: viewpoint, light, surroundings, occluders and camera flaws."""

from typing import NamedTuple

import cv2
import numpy as np

from deep_retrieval.scenes.buildings import Facade, pick, random_style, render_facade
from deep_retrieval.scenes.drawing import fractal

GOOD, OK = 0.75, 0.25   # minimum visible share of a building in good and ok views

# for each kind of view: (minimum, maximum) share of the building inside the frame, and occluders
KINDS = [((0.96, 1.0), 0), ((0.96, 1.0), 1), ((0.35, 0.65), 0), ((0.9, 1.0), 1),
         ((0.07, 0.2), 0), ((0.9, 1.0), 4), ((0.4, 0.7), 1), ((0.8, 1.0), 0)]
TRIES = 1000            # maximum number of viewpoints to draw until one fits
LONG_SIDES = (1.0, 1.0, 1.0, 0.8, 0.6)     # as a fraction of the requested size
ASPECTS = (3 / 4, 3 / 4, 3 / 4, 2 / 3, 4 / 3, 1.0)      # height / width


class View(NamedTuple):
    """A picture (H x W x 3 uint8 BGR), the building's visible share and its box x1 y1 x2 y2."""

    image: np.ndarray
    visible_share: float
    box: tuple


def grade(share: float) -> str | None:
    """Grade a view by the visible share of its building: good, ok, junk, or None for 0."""
    if share >= GOOD:
        return 'good'
    return 'ok' if share >= OK else 'junk' if share > 0 else None


def frame_size(rng: np.random.Generator, size: int) -> tuple[int, int]:
    """Draw the height and width of a picture whose longer side is at most `size`."""
    side, aspect = size * pick(rng, LONG_SIDES), pick(rng, ASPECTS)
    return round(side * min(1, aspect)), round(side * min(1, 1 / aspect))


def render_view(facade: Facade, rng: np.random.Generator, size: int, kind: int = 0) -> View:
    """Render a View of a facade.

    size : longer side in pixels
    kind : number of the view, which selects one of KINDS in turn
    """
    height, width = frame_size(rng, size)
    (least, most), occluders = KINDS[kind % len(KINDS)]
    homography = place(facade.mask, (height, width), rng, least, most)
    image = surroundings(rng, height, width)
    lit = light(facade, rng)
    alpha = paste(image, lit, facade.mask, homography)
    hidden = np.zeros((height, width), np.uint8)
    for _ in range(occluders):
        occlude(image, hidden, rng)
    share = visible_share(facade.mask, homography, hidden)
    rows, columns = np.flatnonzero(alpha.max(1) > 127), np.flatnonzero(alpha.max(0) > 127)
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return View(photograph(image, rng), share, box)


def render_distractor(rng: np.random.Generator, size: int) -> np.ndarray:
    """Render a picture (BGR uint8) of no landmark: trees, sky, a street, or a surface."""
    height, width = frame_size(rng, size)
    image = surroundings(rng, height, width)
    hidden = np.zeros((height, width), np.uint8)
    if rng.random() < 0.25:
        noise = fractal(rng, 512, rng.uniform(0.5, 1.4))
        colour = rng.uniform(60, 190) + rng.uniform(-40, 40, 3)
        surface = np.clip(colour * (1 + 0.25 * noise[..., None]), 0, 255).astype(np.uint8)
        image[:] = cv2.resize(surface, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.integers(4, 10)):
        occlude(image, hidden, rng)
    return photograph(image, rng)


def visible_share(mask: np.ndarray, homography: np.ndarray, hidden: np.ndarray) -> float:
    """Compute the share of a building's area that a picture shows.

    Parameters
    ----------
    mask : h x w uint8, the building on its canvas
    homography : 3 x 3, from the canvas to the picture
    hidden : H x W of the picture, nonzero where something is in front of the building
    """
    seen = cv2.warpPerspective((hidden == 0).astype(np.uint8), homography, mask.shape[::-1],
                               flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    building = mask > 127
    return float(np.count_nonzero(seen[building]) / np.count_nonzero(building))


def place(mask: np.ndarray, frame: tuple[int, int], rng: np.random.Generator, least: float,
          most: float) -> np.ndarray:
    """Draw a homography (3 x 3, canvas to frame) that shows a share least..most of the mask."""
    (height, width), sheet = frame, mask.shape
    empty = np.zeros(frame, np.uint8)
    small = cv2.resize(mask, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    enlarge = np.diag([sheet[1] / small.shape[1], sheet[0] / small.shape[0], 1.0])
    fit = min(height / sheet[0], width / sheet[1])
    for _ in range(TRIES):
        # a whole building fits; the frame shows about 1 / zoom^2 of a closer one
        zoom = fit * (rng.uniform(0.72, 0.98) if least > 0.7
                      else rng.uniform(0.9, 2) / np.sqrt(rng.uniform(least, most)))
        h, w = sheet[0] * zoom, sheet[1] * zoom
        near, far = 1.0, rng.uniform(0.7, 1.0)
        turn = rng.uniform(0.72, 1.0)               # foreshortening of the width
        left, right = (near, far) if rng.random() < 0.5 else (far, near)
        lean = rng.uniform(-0.04, 0.04) * w
        corners = np.float32([[-turn * w / 2 + lean, -h * left], [turn * w / 2 + lean, -h * right],
                              [turn * w / 2, h * 0.12 * (right - 1)],
                              [-turn * w / 2, h * 0.12 * (left - 1)]])
        spread = 0.1 if least > 0.7 else 0.6
        foot = np.float32([width * (0.5 + rng.uniform(-spread, spread)),
                           height * (0.5 + rng.uniform(-spread, spread)) + h / 2])
        source = np.float32([[0, 0], [sheet[1], 0], [sheet[1], sheet[0]], [0, sheet[0]]])
        homography = cv2.getPerspectiveTransform(source, corners + foot)
        share = visible_share(small, homography @ enlarge, empty)
        if least <= share <= most:
            return homography
    raise RuntimeError(f'no viewpoint shows {least} to {most} of a facade')


def light(facade: Facade, rng: np.random.Generator) -> np.ndarray:
    """Light a facade by a sun from the left or the right; returns H x W x 3 uint8."""
    side, rise = (1 if rng.random() < 0.5 else -1), rng.uniform(0.5, 1.3)
    edges = cv2.GaussianBlur(facade.relief, (0, 0), 1.2)
    bright = (side * cv2.Sobel(edges, cv2.CV_32F, 1, 0) * 0.5
              + cv2.Sobel(edges, cv2.CV_32F, 0, 1) * 0.5)
    shadow = np.zeros_like(facade.relief)
    for step in range(2, 22, 3):    # pixels; what stands out by d metres casts a shadow of d / rise
        matrix = np.float32([[1, 0, side * step], [0, 1, step * rise]])
        moved = cv2.warpAffine(facade.relief, matrix, facade.relief.shape[::-1],
                               borderMode=cv2.BORDER_REPLICATE)
        shadow = np.maximum(shadow, moved - facade.relief > 0.012 * step + 0.04)
    shadow = cv2.GaussianBlur(shadow, (0, 0), 1.0)
    depth = rng.uniform(0.25, 0.55)
    gain = 1 + np.clip(bright * 0.5, -0.25, 0.3) - depth * shadow
    return np.clip(facade.colour * gain[..., None], 0, 255).astype(np.uint8)


def paste(image: np.ndarray, colour: np.ndarray, mask: np.ndarray,
          homography: np.ndarray) -> np.ndarray:
    """Warp a building into a picture, in place; return its alpha, H x W uint8."""
    size = image.shape[1::-1]
    warped = cv2.warpPerspective(colour, homography, size, flags=cv2.INTER_AREA)
    alpha = cv2.warpPerspective(mask, homography, size)
    share = alpha.astype(np.float32) / 255
    image[:] = cv2.blendLinear(warped, image, share, 1 - share)
    return alpha


def surroundings(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw sky, a street, and plain neighbouring houses; return H x W x 3 uint8."""
    horizon = int(height * rng.uniform(0.72, 0.92))
    top, low = (
        np.float32(pick(rng, [(210, 160, 90), (200, 190, 180), (225, 190, 140), (150, 170, 220)])),
        np.float32([235, 228, 220]))
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    clouds = cv2.resize(fractal(rng, 128, 0.2), (width, height), interpolation=cv2.INTER_CUBIC)
    clouds = np.clip(clouds * rng.uniform(0.1, 0.5), 0, 1)[..., None]
    sky = top * (1 - ramp) + low * ramp
    image = sky * (1 - clouds) + 240 * clouds
    grain = cv2.resize(fractal(rng, 256, 1.2), (width, height))[..., None]
    image[horizon:] = (np.float32(rng.uniform(70, 150)) * (1 + 0.08 * grain))[horizon:]
    image = np.clip(image, 0, 255).astype(np.uint8)
    x = -rng.uniform(0, 0.2) * width
    while x < width:
        wide, tall = rng.uniform(0.12, 0.3) * width, rng.uniform(0.15, 0.55) * height
        # plain, so that they are not distinctive
        colour = rng.uniform(80, 180) + rng.uniform(-22, 22, 3)
        a, b, c = int(x), int(x + wide), int(horizon - tall)
        cv2.rectangle(image, (a, c), (b, horizon), colour, -1)
        for row in np.arange(c + 0.03 * height, horizon - 0.06 * height, 0.075 * height):
            for column in np.arange(a + 0.02 * width, b - 0.03 * width, 0.05 * width):
                cv2.rectangle(image, (int(column), int(row)),
                              (int(column + 0.02 * width), int(row + 0.04 * height)),
                              colour * 0.55, -1)
        x += wide * rng.uniform(0.9, 1.6)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 2.5))


def occlude(image: np.ndarray, hidden: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a tree, a lamp post, a van or a passer-by into a picture and its mask, in place."""
    height, width = hidden.shape
    layer, stencil = image.copy(), np.zeros_like(hidden)
    x, foot = rng.uniform(0, width), height * rng.uniform(0.88, 1.0)
    kind = pick(rng, ('tree', 'post', 'van', 'person', 'person'))
    if kind == 'tree':
        tall, colour = (rng.uniform(0.4, 0.8) * height,
                        np.array(pick(rng, [(40, 90, 60), (50, 110, 100)])))
        _shape(layer, stencil, 'rect',
               (x - 0.012 * width, foot - 0.6 * tall, x + 0.012 * width, foot), (40, 56, 74))
        for _ in range(160):
            r = rng.normal(0, 0.13, 2) * tall
            _shape(layer, stencil, 'disc', (x + r[0], foot - 0.72 * tall + r[1],
                                            tall * rng.uniform(0.012, 0.035)),
                   colour * rng.uniform(0.5, 1.4))
    elif kind == 'post':
        tall = rng.uniform(0.4, 0.75) * height
        _shape(layer, stencil, 'rect', (x - 0.006 * width, foot - tall, x + 0.006 * width, foot),
               (48, 52, 50))
        _shape(layer, stencil, 'disc', (x, foot - tall, 0.022 * width), (190, 226, 240))
    elif kind == 'van':
        w, h, colour = 0.24 * width, 0.15 * height, rng.uniform(40, 230, 3)
        _shape(layer, stencil, 'rect', (x - w / 2, foot - h, x + w / 2, foot - 0.2 * h), colour)
        _shape(layer, stencil, 'rect', (x + 0.2 * w, foot - 0.9 * h, x + 0.45 * w, foot - 0.55 * h),
               (90, 70, 60))
        for wheel in (-0.3, 0.3):
            _shape(layer, stencil, 'disc', (x + wheel * w, foot - 0.18 * h, 0.2 * h), (30, 30, 30))
    else:
        tall, colour = rng.uniform(0.14, 0.26) * height, rng.uniform(20, 170, 3)
        _shape(layer, stencil, 'rect', (x - 0.14 * tall, foot - 0.8 * tall, x + 0.14 * tall,
                                        foot - 0.4 * tall), colour)
        _shape(layer, stencil, 'rect', (x - 0.11 * tall, foot - 0.4 * tall, x + 0.11 * tall, foot),
               colour * 0.5)
        _shape(layer, stencil, 'disc', (x, foot - 0.9 * tall, 0.1 * tall), (150, 180, 220))
    np.copyto(image, layer)
    np.maximum(hidden, stencil, out=hidden)


def _shape(layer, stencil, kind, place, colour):
    """Draw a rectangle (x1 y1 x2 y2) or a disc (x y radius) into a picture and a mask."""
    place = [int(round(value)) for value in place]
    for sheet, paint in ((layer, colour), (stencil, 255)):
        if kind == 'rect':
            cv2.rectangle(sheet, tuple(place[:2]), tuple(place[2:]), paint, -1)
        else:
            cv2.circle(sheet, tuple(place[:2]), max(1, place[2]), paint, -1)


def photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply exposure, colour temperature, a light gradient, blur and noise; H x W x 3 uint8."""
    height, width = image.shape[:2]
    warmth = rng.uniform(-0.15, 0.15)
    gain = rng.uniform(0.65, 1.2) * np.float32([1 - warmth, 1, 1 + warmth])
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32),
                       np.linspace(-1, 1, height, dtype=np.float32))
    slope = rng.uniform(-0.18, 0.18, 2)
    picture = image * gain * (1 + slope[0] * x + slope[1] * y)[..., None].astype(np.float32)
    if rng.random() < 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 2.2) * width / 1024 + 0.2)
    picture += rng.standard_normal(image.shape, np.float32) * rng.uniform(1, 7)
    return np.clip(picture, 0, 255).astype(np.uint8)


def strange_facade(rng: np.random.Generator) -> Facade:
    """Render the facade of a building that is not a landmark."""
    return render_facade(random_style(rng))
