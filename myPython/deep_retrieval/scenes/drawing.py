"""The canvas and the materials to draw buildings with.

A drawing has no light: its colour is that of the bare surface, and its relief is how far the
surface stands out from the wall. views.py computes highlights and shadows from both.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

SHIFT = 4    # fractional bits of the coordinates given to cv2
TILE = 512   # side of a material in pixels; it repeats seamlessly


class Material(NamedTuple):
    """A repeating surface: TILE x TILE x 3 uint8 BGR colour, TILE x TILE float32 relief (m)."""

    colour: np.ndarray
    relief: np.ndarray


class Canvas:
    """A drawing in metres: x runs from -width / 2 to width / 2, y upwards from the ground.

    colour : H x W x 3 uint8 BGR
    relief : H x W float32, metres in front of the wall
    mask : H x W uint8, 255 where the building is
    scale : pixels per metre
    """

    def __init__(self, width, height, scale):
        self.left, self.top, self.scale = -width / 2, height, scale
        shape = int(round(height * scale)), int(round(width * scale))
        self.colour = np.zeros(shape + (3,), np.uint8)
        self.relief = np.zeros(shape, np.float32)
        self.mask = np.zeros(shape, np.uint8)

    def fill(self, points: np.ndarray | Sequence, paint: tuple | Material, z: float = 0.0,
             slope: float = 0.0, bulge: float = 0.0) -> None:
        """Fill a polygon (N x 2, metres) with a BGR colour or a Material.

        z : metres in front of the wall
        slope : increase of z per metre upwards
        bulge : metres that the middle stands out, as for a column
        """
        corners = self._pixels(points)
        cv2.fillPoly(self.mask, [corners], 255, cv2.LINE_AA, SHIFT)
        if slope or bulge or isinstance(paint, Material):
            self._fill_surface(corners, paint, z, slope, bulge)
        else:
            cv2.fillPoly(self.colour, [corners], paint, cv2.LINE_AA, SHIFT)
            cv2.fillPoly(self.relief, [corners], z, cv2.LINE_8, SHIFT)

    def rect(self, x0: float, x1: float, y0: float, y1: float, paint: tuple | Material,
             z: float = 0.0, **surface) -> None:
        """Fill a rectangle; see `fill`."""
        self.fill([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], paint, z, **surface)

    def disc(self, x: float, y: float, radius: float, paint: tuple | Material, z: float = 0.0,
             **surface) -> None:
        """Fill a disc; see `fill`."""
        self.fill(ellipse(x, y, radius, radius), paint, z, **surface)

    def line(self, points: np.ndarray | Sequence, width: float, paint: tuple, z: float = 0.0,
             closed: bool = False) -> None:
        """Draw a band `width` metres wide along a polyline."""
        corners = [self._pixels(points)]
        pixels = max(1, int(round(width * self.scale)))
        for sheet, value in ((self.mask, 255), (self.colour, paint)):
            cv2.polylines(sheet, corners, closed, value, pixels, cv2.LINE_AA, SHIFT)
        cv2.polylines(self.relief, corners, closed, z, pixels, cv2.LINE_8, SHIFT)

    def text(self, words: str, x: float, y: float, height: float, paint: tuple,
             width: float | None = None) -> None:
        """Write words centred on x with their base at y; smaller if they would exceed `width`."""
        font, thick = cv2.FONT_HERSHEY_DUPLEX, max(1, int(round(height * self.scale / 9)))
        size = height * self.scale / cv2.getTextSize('H', font, 1, 1)[0][1]
        extent = cv2.getTextSize(words, font, size, thick)[0][0]
        if width and extent > width * self.scale:
            size *= width * self.scale / extent
            extent = width * self.scale
        left = (x - self.left) * self.scale - extent / 2
        origin = int(round(left)), int(round((self.top - y) * self.scale))
        cv2.putText(self.colour, words, origin, font, size, paint, thick, cv2.LINE_AA)

    def _pixels(self, points):
        points = np.asarray(points, np.float64)
        pixels = np.stack([points[:, 0] - self.left, self.top - points[:, 1]], 1) * self.scale
        return np.round(pixels * (1 << SHIFT)).astype(np.int32)

    def _fill_surface(self, corners, paint, z, slope, bulge):
        height, width = self.mask.shape
        x0, y0 = np.maximum((corners.min(0) >> SHIFT) - 1, 0)
        x1, y1 = np.minimum((corners.max(0) >> SHIFT) + 2, (width, height))
        if x1 <= x0 or y1 <= y0:
            return
        stencil = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(stencil, [corners - np.array([x0, y0]) * (1 << SHIFT)], 255,
                     cv2.LINE_AA, SHIFT)
        rows, cols = np.arange(y0, y1), np.arange(x0, x1)
        relief = z + slope * (y1 - 1 - rows)[:, None] / self.scale
        relief = relief + bulge * np.sqrt(1 - np.linspace(-1, 1, len(cols)) ** 2)
        if isinstance(paint, Material):
            where = np.ix_(rows % TILE, cols % TILE)
            colour, relief = paint.colour[where], relief + paint.relief[where]
        else:
            colour = np.full(stencil.shape + (3,), np.round(paint), np.uint8)
        region = self.colour[y0:y1, x0:x1]
        share = stencil.astype(np.float32) / 255
        region[:] = cv2.blendLinear(colour, region, share, 1 - share)
        np.copyto(self.relief[y0:y1, x0:x1], relief, where=stencil > 127, casting='same_kind')


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360,
            steps: int = 40) -> np.ndarray:
    """Return points of an elliptic arc; angles in degrees, counter-clockwise from the right."""
    angle = np.radians(np.linspace(start, end, steps, endpoint=end - start < 360))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], 1)


def tint(colour: tuple, gain: float) -> tuple:
    """Make a BGR colour darker (gain < 1) or lighter."""
    return tuple(float(min(255, c * gain)) for c in colour)


def fractal(rng: np.random.Generator, size: int, roughness: float = 1.0) -> np.ndarray:
    """Make size x size float32 noise that wraps around, with mean 0 and standard deviation 1.

    A larger roughness gives finer noise.
    """
    y, x = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing='ij')
    radius = np.hypot(y, x)
    radius[0, 0] = 1
    spectrum = (np.fft.rfft2(rng.standard_normal((size, size), np.float32))
                / radius ** (2 - roughness))
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, (size, size))
    return (noise / noise.std()).astype(np.float32)


def courses(rng: np.random.Generator, scale: float, colour: tuple, block: tuple,
            joint: float = 0.012, contrast: float = 0.07, joint_gain: float = 0.72,
            stagger: float = 0.5, wander: float = 0.0, stripe: tuple | None = None) -> Material:
    """Make rows of blocks of (width, height) metres: bricks, ashlar, rubble (wander > 0)."""
    cols, rows = (max(2, 2 * int(round(TILE / (side * scale) / 2))) for side in block)
    y, x = np.mgrid[0:TILE, 0:TILE].astype(np.float32) / TILE
    row = (y * rows).astype(np.int64)
    phase = rng.uniform(0, 2 * np.pi, rows)[row] if wander else 0
    u = x * cols + stagger * (row % 2) + wander * np.sin(4 * np.pi * x + phase) * cols / 8
    u, v = u % cols, y * rows - row
    col = u.astype(np.int64) % cols
    tone = rng.normal(1, contrast, (rows, cols, 1)) + rng.normal(0, contrast / 4, (rows, cols, 3))
    edge = np.minimum(np.minimum(u % 1, 1 - u % 1) * block[0], np.minimum(v, 1 - v) * block[1])
    joints = np.clip((joint + 0.5 / scale - edge) * scale, 0, 1)
    base = np.broadcast_to(np.float32(colour), (rows, 3))
    if stripe is not None:
        base = np.where(np.arange(rows)[:, None] % 2, base, np.float32(stripe))
    grain = 1 + 0.035 * fractal(rng, TILE, 1.3)[..., None]
    surface = base[row] * tone[row, col] * grain
    surface *= 1 - (1 - joint_gain) * joints[..., None]
    return Material(_bytes(surface), (-0.03 * joints).astype(np.float32))


def plaster(rng: np.random.Generator, colour: tuple, unevenness: float = 0.045) -> Material:
    """Make painted plaster with stains."""
    stains, grain = fractal(rng, TILE, 0.6), fractal(rng, TILE, 1.5)
    surface = np.float32(colour) * (1 + unevenness * (stains + 0.5 * grain))[..., None]
    return Material(_bytes(surface), 0.004 * grain)


def tiles(rng: np.random.Generator, scale: float, colour: tuple,
          tile: tuple = (0.32, 0.34)) -> Material:
    """Make roof tiles: rows of scales that overlap downwards."""
    cols, rows = (max(2, 2 * int(round(TILE / (side * scale) / 2))) for side in tile)
    y, x = np.mgrid[0:TILE, 0:TILE].astype(np.float32) / TILE
    row = (y * rows).astype(np.int64)
    u = (x * cols + 0.5 * (row % 2)) % cols
    v = y * rows - row
    tone = rng.normal(1, 0.09, (rows, cols, 1))[row, u.astype(np.int64)]
    lap = 1 - 0.45 * (v < 0.22) - 0.15 * np.abs(u % 1 - 0.5)
    return Material(_bytes(np.float32(colour) * tone * lap[..., None]),
                    (0.05 * v).astype(np.float32))


def seams(rng: np.random.Generator, scale: float, colour: tuple, spacing: float = 0.6) -> Material:
    """Make sheet metal (copper, lead, zinc) with standing seams."""
    cols = max(2, int(round(TILE / (spacing * scale))))
    u = np.arange(TILE, dtype=np.float32) * cols / TILE % 1
    ridge = np.broadcast_to((np.abs(u - 0.5) < 0.06).astype(np.float32), (TILE, TILE))
    tone = 1 + 0.05 * fractal(rng, TILE, 0.8) - 0.12 * ridge
    return Material(_bytes(np.float32(colour) * tone[..., None]), 0.05 * ridge)


def _bytes(surface):
    return np.clip(surface, 0, 255).astype(np.uint8)
