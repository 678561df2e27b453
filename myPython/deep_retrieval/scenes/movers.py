"""Objects that move through a clip: people, cars, buses, boats, birds, balloons.

    for mover in random_movers(rng, 'street', gain=(1, 1, 1)):
        draw(frame, mover, seconds, matrix)

Each is a list of sprites, the phases of a step or wing beat, which are drawn once and pasted into
the frames.
"""

from typing import NamedTuple

import numpy as np

from deep_retrieval.scenes.buildings import pick
from deep_retrieval.scenes.drawing import Canvas, ellipse, tint
from deep_retrieval.scenes.settings import GROUND, HEIGHT, METRE, WIDTH
from deep_retrieval.scenes.views import paste

SCALE = 36      # pixels of the sprites per metre
PHASES = 8      # sprites of a step or a wing beat
SKINS = [(150, 182, 226), (120, 160, 212), (84, 116, 164), (54, 78, 116)]
CLOTHES = [(60, 60, 170), (150, 96, 52), (70, 130, 70), (48, 48, 54), (200, 200, 206),
           (60, 170, 214), (140, 70, 130), (90, 110, 130)]
CARS = [(52, 48, 172), (166, 98, 48), (206, 208, 210), (58, 58, 60), (84, 150, 96), (60, 170, 220),
        (150, 150, 156)]
# kinds of movers at each place, and how many of them
CROWDS = {
    'street': (('car', 'car', 'car', 'bus', 'person', 'person', 'person', 'bird'), (5, 11)),
    'square': (('person', 'person', 'person', 'bird', 'balloon'), (6, 13)),
    'park': (('person', 'person', 'bird', 'balloon'), (3, 8)),
    'quay': (('boat', 'boat', 'bird', 'bird'), (3, 7)),
}


class Mover(NamedTuple):
    """A moving object; units are metres and seconds."""

    sprites: list       # of (colour, mask), shown in turn
    rate: float         # sprites per second
    x: float            # centre of its foot at second 0
    y: float
    speed: float        # metres per second to the right
    rise: float         # metres per second upwards


def random_movers(rng: np.random.Generator, place: str, gain: tuple) -> list[Mover]:
    """Draw random Movers of a place, most distant first; gain : of the light, B G R."""
    kinds, (least, most) = CROWDS[place]
    movers = [KINDS[pick(rng, kinds)](rng) for _ in range(rng.integers(least, most))]
    movers = [mover._replace(sprites=[_turned(sprite, mover.speed < 0, gain)
                                      for sprite in mover.sprites]) for mover in movers]
    return sorted(movers, key=lambda mover: -mover.y)


def draw(frame: np.ndarray, mover: Mover, seconds: float, matrix: np.ndarray) -> None:
    """Paste a mover into a frame, in place; matrix : 2 x 3, from setting to frame pixels."""
    colour, mask = mover.sprites[int(seconds * mover.rate) % len(mover.sprites)]
    span = WIDTH + 12       # it returns on the other side
    x = (mover.x + mover.speed * seconds + span / 2) % span - span / 2
    y = mover.y + mover.rise * seconds
    zoom = matrix[0, 0] * METRE / SCALE
    foot = matrix @ ((x + WIDTH / 2) * METRE, (HEIGHT - y) * METRE, 1)
    height, width = mask.shape
    left, top = foot[0] - width * zoom / 2, foot[1] - height * zoom
    x0, y0 = max(0, int(left)), max(0, int(top))
    x1 = min(frame.shape[1], int(left + width * zoom) + 2)
    y1 = min(frame.shape[0], int(top + height * zoom) + 2)
    if x1 > x0 and y1 > y0:
        homography = np.float64([[zoom, 0, left - x0], [0, zoom, top - y0], [0, 0, 1]])
        paste(frame[y0:y1, x0:x1], colour, mask, homography)


def _turned(sprite, back, gain):
    """Return a sprite's lit colour and its mask, both mirrored if it moves to the left."""
    colour = np.clip(sprite.colour * np.float32(gain), 0, 255).astype(np.uint8)
    step = -1 if back else 1
    return np.ascontiguousarray(colour[:, ::step]), np.ascontiguousarray(sprite.mask[:, ::step])


def _either(rng, least, most):
    """Draw a speed to the left or to the right."""
    return rng.uniform(least, most) * pick(rng, (-1, 1))


def _person(rng):
    tall, y = rng.uniform(1.6, 1.95), rng.uniform(3.9, GROUND - 0.2)
    skin, hair, top, legs = (pick(rng, colours) for colours in (
        SKINS, [(30, 32, 40), (40, 70, 110), (120, 180, 214), (90, 90, 96)], CLOTHES, CLOTHES))
    skirt, bag = rng.random() < 0.3, rng.random() < 0.4
    sprites = []
    for phase in range(PHASES):
        swing = 0.2 * tall * np.sin(2 * np.pi * phase / PHASES)
        sheet = Canvas(1.4, tall + 0.1, SCALE)
        for side, gain in ((-1, 0.75), (1, 1)):
            sheet.line([(0, 0.5 * tall), (side * swing, 0.05)], 0.15, tint(legs, gain))
            foot = side * swing
            sheet.line([(foot - 0.04, 0.05), (foot + 0.12, 0.05)], 0.09, (40, 40, 44))
            sheet.line([(0, 0.78 * tall), (-0.7 * foot, 0.48 * tall)], 0.11, tint(top, gain))
        sheet.fill([(-0.14, 0.46 * tall), (0.14, 0.46 * tall), (0.18, 0.82 * tall),
                    (-0.18, 0.82 * tall)], tint(top, 0.92))
        if skirt:
            sheet.fill([(-0.28, 0.3 * tall), (0.28, 0.3 * tall), (0.13, 0.54 * tall),
                        (-0.13, 0.54 * tall)], tint(legs, 1.15))
        if bag:
            sheet.fill(ellipse(-0.22, 0.66 * tall, 0.13, 0.2), tint(legs, 0.8))
        sheet.disc(0, 0.91 * tall, 0.13, hair)
        sheet.disc(0.04, 0.9 * tall, 0.105, skin)
        sprites.append(sheet)
    return Mover(sprites, 9, rng.uniform(-18, 18), y, _either(rng, 0.7, 1.6), 0)


def _car(rng):
    colour, long = pick(rng, CARS), rng.uniform(3.7, 4.6)
    sheet, half = Canvas(long + 0.4, 1.7, SCALE), long / 2
    sheet.fill([(-half, 0.3), (half, 0.3), (half, 0.75), (half - 0.3, 0.9), (-half + 0.1, 0.95)],
               colour)
    sheet.fill([(-half + 0.35, 0.9), (half - 1.1, 0.9), (half - 1.75, 1.48), (-half + 0.85, 1.5)],
               tint(colour, 0.92))
    glass = (150, 130, 110)
    sheet.fill([(-half + 0.55, 0.93), (-0.1, 0.93), (-0.1, 1.42), (-half + 0.95, 1.42)], glass)
    sheet.fill([(0, 0.93), (half - 1.3, 0.93), (half - 1.85, 1.42), (0, 1.42)], glass)
    sheet.rect(-half, half, 0.28, 0.42, tint(colour, 0.6))
    sheet.disc(half - 0.12, 0.66, 0.1, (210, 240, 250))
    sheet.disc(-half + 0.1, 0.72, 0.08, (40, 40, 200))
    for x in (-0.62 * half, 0.6 * half):
        sheet.disc(x, 0.32, 0.32, (34, 34, 36))
        sheet.disc(x, 0.32, 0.16, (170, 172, 174))
    speed = _either(rng, 3, 8)
    return Mover([sheet], 1, rng.uniform(-22, 22), _lane(rng, speed), speed, 0)


def _bus(rng):
    colour, speed = pick(rng, CARS), _either(rng, 2.5, 5)
    sheet = Canvas(9.2, 3.2, SCALE)
    sheet.rect(-4.5, 4.5, 0.35, 3.0, colour)
    sheet.rect(-4.5, 4.5, 0.35, 0.9, tint(colour, 0.7))
    for x in np.arange(-4.2, 3.6, 1.25):
        sheet.rect(x, x + 1.05, 1.5, 2.55, (146, 128, 108))
    sheet.rect(3.6, 4.5, 1.3, 2.6, (160, 142, 120))
    for x in (-2.8, 2.7):
        sheet.disc(x, 0.45, 0.45, (34, 34, 36))
        sheet.disc(x, 0.45, 0.22, (150, 152, 154))
    return Mover([sheet], 1, rng.uniform(-22, 22), _lane(rng, speed), speed, 0)


def _lane(rng, speed):
    return rng.uniform(2.9, 3.2) if speed < 0 else rng.uniform(1.5, 1.8)


def _boat(rng):
    hull, sail = pick(rng, CARS), pick(rng, [(226, 232, 236), (90, 110, 210), (150, 210, 236)])
    sheet, tall = Canvas(5.2, 6.0, SCALE), rng.uniform(3.5, 5.5)
    sheet.fill([(-2.3, 0.75), (2.5, 0.85), (1.7, 0), (-1.9, 0)], hull)
    sheet.line([(-2.25, 0.72), (2.4, 0.8)], 0.1, tint(hull, 1.5))
    if rng.random() < 0.6:
        sheet.line([(0.1, 0.8), (0.1, tall)], 0.1, (70, 96, 124))
        sheet.fill([(-0.05, 1.1), (-0.05, tall - 0.1), (-2.0, 1.1)], sail)
        sheet.fill([(0.25, 1.1), (0.25, tall - 0.6), (1.7, 1.1)], tint(sail, 0.88))
    else:
        sheet.rect(-1.3, 0.6, 0.75, 1.6, (220, 226, 228))
        sheet.rect(-1.0, -0.3, 1.0, 1.4, (140, 120, 100))
    return Mover([sheet], 1, rng.uniform(-18, 18), rng.uniform(1.2, 3.4), _either(rng, 0.6, 2), 0)


def _bird(rng):
    colour = pick(rng, [(50, 50, 54), (226, 230, 232), (90, 90, 100)])
    sprites = []
    for phase in range(PHASES):
        lift = 0.32 * np.cos(2 * np.pi * phase / PHASES)
        sheet = Canvas(1.5, 1.0, SCALE)
        for side in (-1, 1):
            sheet.fill([(0, 0.56), (side * 0.35, 0.56 + 0.7 * lift), (side * 0.68, 0.5 + lift),
                        (side * 0.3, 0.46 + 0.5 * lift), (0, 0.44)], colour)
        sheet.fill(ellipse(0.04, 0.5, 0.18, 0.07), tint(colour, 0.9))
        sprites.append(sheet)
    return Mover(sprites, rng.uniform(10, 18), rng.uniform(-18, 18), rng.uniform(12, 19),
                 _either(rng, 1.5, 4), rng.uniform(-0.3, 0.3))


def _balloon(rng):
    colour, sheet = pick(rng, CARS), Canvas(1.0, 2.4, SCALE)
    sheet.line([(0, 0), (0.06, 0.6), (-0.04, 1.1), (0, 1.6)], 0.04, (90, 90, 90))
    sheet.fill(ellipse(0, 1.95, 0.34, 0.42), colour)
    sheet.fill(ellipse(-0.1, 2.1, 0.09, 0.13), tint(colour, 1.6))
    return Mover([sheet], 1, rng.uniform(-12, 12), rng.uniform(6, 13), _either(rng, 0.1, 0.5),
                 rng.uniform(0.3, 0.8))


KINDS = {'person': _person, 'car': _car, 'bus': _bus, 'boat': _boat, 'bird': _bird,
         'balloon': _balloon}
