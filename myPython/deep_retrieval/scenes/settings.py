"""Places to film: a street, square, park or quay with a building, at some time of day.

    setting = build(random_scene(np.random.default_rng(0)))

A Setting is a still picture larger than a frame; clips.py moves a camera over it, and objects
through it.
"""

from typing import NamedTuple

import cv2
import numpy as np

from deep_retrieval.scenes.buildings import (
    GLASS,
    Style,
    look_alike,
    pick,
    random_style,
    render_facade,
)
from deep_retrieval.scenes.drawing import Canvas, courses, fractal, plaster, tint
from deep_retrieval.scenes.views import light, paste

METRE = 30                      # pixels
WIDTH, HEIGHT = 42.0, 21.0      # metres; x runs from -WIDTH / 2, y upwards from the lower edge
GROUND = 5.4                    # metres; height of the ground that buildings stand on
PLACES = ('street', 'square', 'park', 'quay')
LAMP = (120, 205, 250)          # BGR of lamps and lit windows


class Mood(NamedTuple):
    """The light at a time of day; colours BGR."""

    top: tuple          # colour of the sky overhead
    low: tuple          # colour of the sky at the horizon, and of the haze over distant objects
    gain: tuple         # factors of the light, B G R
    lit: float = 0.0    # share of windows with a lamp behind them
    sun: tuple = None   # colour of the sun, if it is in the picture


MOODS = {
    'noon': Mood((206, 142, 66), (238, 222, 196), (1.0, 1.03, 1.06)),
    'overcast': Mood((178, 170, 164), (216, 212, 206), (0.94, 0.9, 0.87)),
    'evening': Mood((168, 120, 104), (120, 178, 246), (0.68, 0.88, 1.1), 0.1, (190, 240, 255)),
    'dusk': Mood((104, 56, 42), (168, 122, 208), (0.74, 0.56, 0.58), 0.45),
    'night': Mood((44, 24, 14), (96, 62, 44), (0.5, 0.38, 0.34), 0.6, (225, 236, 236)),
    'fog': Mood((196, 196, 194), (204, 206, 206), (0.98, 0.96, 0.94), 0.15),
}


class Scene(NamedTuple):
    """Everything that distinguishes a place."""

    place: str      # one of PLACES
    mood: str       # a key of MOODS
    style: Style    # of the building
    tone: tuple     # gain of all light, B G R
    seed: int       # random seed of the surroundings


class Setting(NamedTuple):
    """A drawn place, H x W pixels, METRE of them per metre."""

    scene: Scene
    colour: np.ndarray      # H x W x 3 uint8 BGR
    solid: np.ndarray       # H x W uint8, 255 where the sky is hidden
    clouds: np.ndarray      # float32 0 .. 1, wraps around
    sun: tuple              # x, y, radius in metres, or None


def random_scene(rng: np.random.Generator) -> Scene:
    """Draw a random Scene."""
    style = random_style(rng)
    wall = tuple(np.clip(style.wall_colour * rng.uniform(0.75, 1.2, 3), 30, 240).tolist())
    return Scene(pick(rng, PLACES), pick(rng, list(MOODS)), style._replace(wall_colour=wall),
                 tuple(rng.uniform(0.8, 1.15, 3).tolist()), int(rng.integers(1 << 31)))


def mood_of(scene: Scene) -> Mood:
    """Return the Mood of a Scene, in its own tone."""
    mood = MOODS[scene.mood]
    top, low, gain = (tuple((np.array(values) * scene.tone).tolist())
                      for values in (mood.top, mood.low, mood.gain))
    return mood._replace(top=top, low=low, gain=gain)


def similar_scene(scene: Scene, rng: np.random.Generator) -> Scene:
    """Draw a different place of the same kind, with the same light and palette."""
    return scene._replace(style=look_alike(scene.style, rng), seed=int(rng.integers(1 << 31)))


def build(scene: Scene) -> Setting:
    """Draw the Setting of a Scene."""
    rng = np.random.default_rng(scene.seed)
    mood = mood_of(scene)
    world, lamps = Canvas(WIDTH, HEIGHT, METRE), Canvas(WIDTH, HEIGHT, METRE)
    world.colour[:] = _hazed((0, 0, 0), mood, 1)        # edges in front of the sky blend into it
    if scene.place == 'park' or rng.random() < 0.3:
        _hills(world, rng, mood)
    if scene.place != 'park':
        _skyline(world, lamps, rng, mood)
    _building(world, lamps, rng, scene.style, mood)
    _ground(world, rng, scene.place)
    for _ in range(rng.integers(3, 6) if scene.place == 'park' else rng.integers(0, 3)):
        _tree(world, lamps, rng)
    if scene.place in ('street', 'square'):
        for x in np.arange(rng.uniform(-19, -14), WIDTH / 2, rng.uniform(7, 12)):
            _lamp_post(world, lamps, x, mood)
    colour = world.colour * np.float32(mood.gain)
    if scene.mood == 'fog':
        colour += (np.float32(mood.low) - colour) * rng.uniform(0.35, 0.55)
    colour += lamps.colour
    colour += 0.9 * _blurred(lamps.colour)
    sun = None if mood.sun is None else (rng.uniform(-16, 16), rng.uniform(11, 19),
                                         rng.uniform(0.5, 1.1))
    amount, bias = rng.uniform(0.25, 0.6), rng.uniform(-0.3, 0.5)
    clouds = np.clip(amount * (fractal(rng, 512, 0.15) - bias), 0, 0.95)
    return Setting(scene, np.clip(colour, 0, 255).astype(np.uint8), world.mask, clouds, sun)


def _blurred(image, factor=4):
    """Blur an image by 9 pixels (standard deviation), on a smaller copy for speed; float32."""
    small = cv2.resize(image, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small.astype(np.float32), (0, 0), 9 / factor),
                      image.shape[1::-1])


def _hazed(colour, mood, share):
    """Mix a share of the horizon's colour into a colour; the gain is applied later."""
    low = np.float32(mood.low) / np.float32(mood.gain)
    return tuple(float(c) for c in np.clip(np.float32(colour) * (1 - share) + low * share, 0, 255))


def _hills(world, rng, mood):
    """Draw two ranges of hills, one behind the other."""
    x = np.linspace(-WIDTH / 2, WIDTH / 2, 60)
    for share, rise in ((0.65, rng.uniform(4, 7)), (0.35, rng.uniform(1.5, 4))):
        phase = rng.uniform(0, 2 * np.pi, 3)
        y = GROUND + rise + sum(rise * 0.3 / k * np.sin(k * x * 0.16 + phase[k - 1])
                                for k in (1, 2, 3))
        outline = np.vstack([[(x[0], 0)], np.stack([x, y], 1), [(x[-1], 0)]])
        world.fill(outline, _hazed((92, 122, 96), mood, share))


def _skyline(world, lamps, rng, mood):
    """Draw plain houses, dim with distance."""
    x = -WIDTH / 2 - rng.uniform(0, 3)
    while x < WIDTH / 2:
        wide, tall = rng.uniform(3, 7), rng.uniform(3, 9)
        bare = rng.uniform(110, 200) + rng.uniform(-26, 26, 3)
        wall, pane = _hazed(bare, mood, 0.35), _hazed(bare * 0.5, mood, 0.25)
        world.rect(x, x + wide, 0, GROUND + tall, wall)
        if rng.random() < 0.6:
            world.fill([(x - 0.2, GROUND + tall), (x + wide + 0.2, GROUND + tall),
                        (x + wide / 2, GROUND + tall + rng.uniform(0.8, 2))],
                       _hazed(pick(rng, [(70, 84, 140), (90, 90, 96)]), mood, 0.3))
        for y in np.arange(GROUND + 0.9, GROUND + tall - 1.2, 2.1):
            for left in np.arange(x + 0.5, x + wide - 0.9, 1.4):
                world.rect(left, left + 0.7, y, y + 1.1, pane)
                if rng.random() < mood.lit * 0.6:
                    lamps.rect(left, left + 0.7, y, y + 1.1, tint(LAMP, rng.uniform(0.3, 0.55)))
        x += wide + (rng.uniform(0, 3) if rng.random() < 0.5 else 0)


def _building(world, lamps, rng, style, mood):
    """Draw a building near the middle, seen almost from the front."""
    facade = render_facade(style)
    sheet = light(facade, rng)
    panes = _lit_panes(facade.colour, rng, mood.lit)
    tall = rng.uniform(11, 14.5) * METRE
    ratio = min(tall / sheet.shape[0], 24 * METRE / sheet.shape[1])
    sheet, mask, panes = (cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
                          for image in (sheet, facade.mask, panes))
    height, width = mask.shape
    x = (WIDTH / 2 + rng.uniform(-5, 5)) * METRE
    foot = (HEIGHT - GROUND + 0.3) * METRE
    left, right = rng.uniform(0.9, 1, 2)        # the more distant edge is shorter
    a, b = x - width / 2, x + width / 2
    corners = np.float32([[a, foot - height * left], [b, foot - height * right],
                          [b, foot], [a, foot]])
    source = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    homography = cv2.getPerspectiveTransform(source, corners)
    alpha = paste(world.colour, sheet, mask, homography)
    np.maximum(world.mask, alpha, out=world.mask)
    lamps.colour[alpha > 127] = 0       # of the windows behind it
    shine = cv2.warpPerspective(panes, homography, alpha.shape[::-1])[..., None] / np.float32(255)
    lamps.colour[:] = np.maximum(lamps.colour, shine * np.float32(tint(LAMP, 0.75)))


def _lit_panes(colour, rng, share):
    """Return the mask, H x W uint8, of a random share of a facade's panes."""
    glass = np.all(colour == np.uint8(GLASS), 2).astype(np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(glass, connectivity=4)
    lit = rng.random(count) < share
    lit[0] = False
    lit &= boxes[:, cv2.CC_STAT_AREA] > 12
    return np.where(lit, 255, 0).astype(np.uint8)[labels]


def _ground(world, rng, place):
    """Draw the ground in front of the building."""
    half = WIDTH / 2
    if place == 'street':
        paving = courses(rng, METRE, (150, 156, 160), (0.8, 0.4))
        world.rect(-half, half, 0, GROUND, paving)
        world.rect(-half, half, 0, 4.0, plaster(rng, (92, 88, 86), 0.06))
        world.rect(-half, half, 3.95, 4.15, (176, 180, 182))
        for x in np.arange(-half + rng.uniform(0, 3), half, 4.2):
            world.fill([(x, 2.55), (x + 2.2, 2.55), (x + 2.3, 2.72), (x + 0.1, 2.72)],
                       (214, 220, 222))
    elif place == 'square':
        stone = pick(rng, [(140, 158, 172), (156, 158, 160), (120, 136, 156)])
        world.rect(-half, half, 0, GROUND, courses(rng, METRE, stone, (0.5, 0.25), wander=0.3))
        for x in np.linspace(-60, 60, 25):      # joints that meet at the horizon
            world.line([(x, 0), (x * 0.35, GROUND)], 0.06, tint(stone, 0.7))
        for share in (0.12, 0.28, 0.5, 0.8):
            world.line([(-half, GROUND * (1 - share)), (half, GROUND * (1 - share))], 0.05,
                       tint(stone, 0.7))
    elif place == 'park':
        grass = pick(rng, [(58, 128, 92), (70, 140, 116), (60, 116, 72)])
        world.rect(-half, half, 0, GROUND, plaster(rng, grass, 0.1))
        x = rng.uniform(-8, 8)
        world.fill([(x - 6, 0), (x + 1, 0), (x + 3.4, GROUND), (x + 2.2, GROUND)],
                   plaster(rng, (150, 186, 206), 0.05))
    else:       # clips.py mirrors the rest in the water, frame by frame
        world.rect(-half, half, 0, GROUND, (120, 104, 86))
        wall = courses(rng, METRE, (120, 132, 140), (0.9, 0.5))
        world.rect(-half, half, GROUND - 1.0, GROUND, wall)
        world.rect(-half, half, GROUND - 0.1, GROUND + 0.08, (170, 176, 180))


def _tree(world, lamps, rng):
    """Draw a trunk, and leaves that are darker below and behind."""
    x, foot = rng.uniform(-20, 20), GROUND - rng.uniform(0, 0.9)
    tall = rng.uniform(4.5, 8.5)
    leaf = np.float32(pick(rng, [(44, 104, 68), (56, 124, 98), (40, 112, 138), (60, 92, 60)]))
    world.fill([(x - 0.22, foot), (x + 0.22, foot), (x + 0.1, foot + 0.6 * tall),
                (x - 0.1, foot + 0.6 * tall)], (48, 66, 86))
    wide, high = rng.uniform(0.24, 0.34), rng.uniform(0.24, 0.32)      # of the crown, half of each
    angle, radius = rng.uniform(0, 2 * np.pi, 240), np.sqrt(rng.uniform(0, 1, 240))
    spots = radius[:, None] * np.stack([wide * np.cos(angle), high * np.sin(angle)], 1) * tall
    for layer, gain in enumerate((0.6, 0.85, 1.1)):
        for dx, dy in spots[layer::3] * (1 - 0.1 * layer):
            place = x + dx - 0.1 * layer, foot + 0.66 * tall + dy + 0.13 * layer
            size = tall * rng.uniform(0.025, 0.055)
            shade = gain * rng.uniform(0.88, 1.12) * (1 + 0.5 * dy / tall)
            world.disc(*place, size, tint(leaf, shade))
            lamps.disc(*place, size, (0, 0, 0))


def _lamp_post(world, lamps, x, mood):
    world.rect(x - 0.07, x + 0.07, GROUND - 0.7, GROUND + 3.6, (52, 54, 52))
    world.disc(x, GROUND + 3.7, 0.3, (214, 226, 230))
    if mood.lit > 0.2:
        lamps.disc(x, GROUND + 3.7, 0.3, tint(LAMP, 0.9))
