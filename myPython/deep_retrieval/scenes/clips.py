"""Short clips of a place: a camera that pans and zooms, moving objects, clouds and weather.

    clip = make_clip(random_scene(rng), rng)
    frame = render_frame(clip, 12)      # 280 x 496 x 3 uint8 BGR
    write_video(clip, 'clip.avi')

A frame depends only on the clip and its number, so each can be rendered separately.
"""

import os
from typing import NamedTuple

import cv2
import numpy as np

from deep_retrieval.scenes.buildings import pick
from deep_retrieval.scenes.movers import draw, random_movers
from deep_retrieval.scenes.settings import (
    GROUND,
    HEIGHT,
    METRE,
    WIDTH,
    Scene,
    Setting,
    build,
    mood_of,
)

SIZE = (280, 496)       # height and width of a frame in pixels
RATE = 12               # frames per second
BELOW = {'street': 4.2, 'square': 3.0, 'park': 3.0, 'quay': 5.0}    # metres in front of a building
QUALITY = 40            # JPEG quality of the video, on OpenCV's own scale
SWAY = 0.06             # movement of a hand-held camera in metres
WEATHERS = ('dry',) * 8 + ('rain', 'snow')


class Shot(NamedTuple):
    """A view of the camera: centre x, y and width of the picture, in metres."""

    x: float
    y: float
    width: float


class Clip(NamedTuple):
    """A setting, the objects moving through it, and how it is filmed."""

    setting: Setting
    movers: list
    first: Shot
    last: Shot
    frames: int         # number of frames
    weather: str        # one of WEATHERS
    wind: float         # speed of the clouds, metres per second
    noise: float        # camera noise, standard deviation in grey levels
    seed: int           # random seed of noise, weather and sway


def make_clip(scene: Scene, rng: np.random.Generator, seconds: float = 3) -> Clip:
    """Make a random Clip of a Scene."""
    movers = random_movers(rng, scene.place, mood_of(scene).gain)
    below = BELOW[scene.place]
    first = _shot(rng, rng.uniform(-3, 3), rng.uniform(20, 32), below)
    way = pick(rng, ('pan', 'pan', 'zoom', 'both', 'still'))
    x = first.x + (rng.uniform(2, 6) * pick(rng, (-1, 1)) if way in ('pan', 'both') else 0)
    width = first.width * (rng.uniform(0.7, 0.9) if way in ('zoom', 'both') else 1)
    shots = [first, _shot(rng, x, width, below)]
    if rng.random() < 0.5:
        shots.reverse()
    return Clip(build(scene), movers, *shots, int(round(seconds * RATE)), pick(rng, WEATHERS),
                rng.uniform(-2, 2), rng.uniform(0.5, 2.5), int(rng.integers(1 << 31)))


def _shot(rng, x, width, below):
    """Return a Shot inside the setting that shows `below` metres below the building."""
    height = width * SIZE[0] / SIZE[1]
    y = np.clip(GROUND - below + height / 2 + rng.uniform(-0.4, 0.4), height / 2 + 0.3,
                HEIGHT - height / 2 - 0.3)
    limit = (WIDTH - width) / 2 - 0.3
    return Shot(float(np.clip(x, -limit, limit)), float(y), width)


def render_frame(clip: Clip, number: int) -> np.ndarray:
    """Render frame `number`, from 0 on: H x W x 3 uint8 BGR."""
    seconds = number / RATE
    rng = np.random.default_rng([clip.seed, number])
    matrix = _camera(clip, number)
    frame = _sky(clip.setting, matrix, seconds * clip.wind)
    solid = cv2.warpAffine(clip.setting.solid, matrix, SIZE[::-1], borderMode=cv2.BORDER_REPLICATE)
    world = cv2.warpAffine(clip.setting.colour, matrix, SIZE[::-1], borderMode=cv2.BORDER_REPLICATE)
    share = solid.astype(np.float32) / 255
    frame = cv2.blendLinear(world, frame, share, 1 - share)
    if clip.setting.scene.place == 'quay':
        _reflect(frame, matrix, seconds)
    for mover in clip.movers:
        draw(frame, mover, seconds, matrix)
    _weather(frame, clip, seconds)
    noisy = frame + rng.standard_normal(frame.shape, np.float32) * clip.noise
    return np.clip(noisy, 0, 255).astype(np.uint8)


def write_video(clip: Clip, path: str | os.PathLike) -> None:
    """Write all frames as an .avi file of JPEGs."""
    video = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter_fourcc(*'MJPG'), RATE,
                            SIZE[::-1])
    if not video.isOpened():
        raise OSError(0, 'OpenCV cannot write this video', str(path))
    video.set(cv2.VIDEOWRITER_PROP_QUALITY, QUALITY)
    for number in range(clip.frames):
        video.write(render_frame(clip, number))
    video.release()


def _camera(clip, number):
    """Return the matrix (2 x 3) from pixels of the setting to pixels of a frame."""
    share = number / max(1, clip.frames - 1)
    share = share * share * (3 - 2 * share)     # smooth start and end
    x, y, width = (a + (b - a) * share for a, b in zip(clip.first, clip.last, strict=True))
    phase = clip.seed % 100 + number / RATE * np.array([2.1, 2.9])
    x, y = np.array([x, y]) + SWAY * np.sin(phase)
    zoom = SIZE[1] / (width * METRE)
    return np.float64([[zoom, 0, SIZE[1] / 2 - zoom * (x + WIDTH / 2) * METRE],
                       [0, zoom, SIZE[0] / 2 - zoom * (HEIGHT - y) * METRE]])


def _sky(setting, matrix, drift):
    """Draw sky, sun and clouds, the clouds moved by `drift` metres."""
    mood = mood_of(setting.scene)
    zoom, top = matrix[0, 0] * METRE, matrix[1, 2]
    # 0 at the top of the setting, 1 at the ground
    rows = (np.arange(SIZE[0]) - top) / zoom / (HEIGHT - GROUND)
    ramp = np.clip(rows, 0, 1)[:, None, None].astype(np.float32)
    low = np.float32(mood.low)
    sky = np.broadcast_to(np.float32(mood.top) * (1 - ramp) + low * ramp, (*SIZE, 3)).copy()
    if setting.sun is not None:
        x, y, radius = setting.sun
        _shine(sky, (x + WIDTH / 2) * zoom + matrix[0, 2], (HEIGHT - y) * zoom + top, radius * zoom,
               np.float32(mood.sun))
    # clouds are far away, so they follow the camera only in part; they are wider than high
    stretch = np.float64([[0.5 / matrix[0, 0], 0, 6 * drift - 0.3 * matrix[0, 2]],
                          [0, 1.1 / matrix[0, 0], -0.6 * top]])
    cover = cv2.warpAffine(setting.clouds, stretch, SIZE[::-1], borderMode=cv2.BORDER_WRAP,
                           flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    cover = (cover * np.clip(1.3 - rows, 0, 1)[:, None].astype(np.float32))[..., None]
    cloud = np.minimum(low * 0.5 + 120 * np.float32(mood.gain), 250)
    return np.clip(sky * (1 - cover) + cloud * cover, 0, 255).astype(np.uint8)


def _shine(sky, x, y, radius, colour):
    """Draw the sun and the glow around it, in place; x, y, radius in pixels."""
    rows, columns = np.ogrid[:SIZE[0], :SIZE[1]]
    outside = np.hypot(columns - x, rows - y).astype(np.float32)[..., None] - radius
    glow = 0.4 * np.exp(-np.maximum(outside, 0) / radius)
    sky += colour * glow * (1 - sky / 255)
    sky += (colour - sky) * np.clip(0.5 - outside, 0, 1)


def _reflect(frame, matrix, seconds):
    """Fill the water, in place, with a dim, wavy mirror image of the picture above it."""
    zoom = matrix[0, 0] * METRE
    level = int(round((HEIGHT - GROUND + 1.0) * zoom + matrix[1, 2]))
    if level >= SIZE[0]:
        return
    rows, columns = np.mgrid[level:SIZE[0], 0:SIZE[1]].astype(np.float32)
    depth = rows - level
    waves = (1 + 0.05 * depth) * np.sin(depth * 90 / (20 + depth) - 5 * seconds
                                        + 0.02 * columns + np.sin(0.05 * columns + seconds))
    mirror = cv2.remap(frame, columns + 0.8 * waves, level - 1 - depth - 0.6 * waves,
                       cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    water = np.float32((110, 86, 58))
    shade = (0.74 + 0.05 * waves / (1 + 0.05 * depth))[..., None]
    frame[level:] = np.clip(mirror * shade + 0.16 * water, 0, 255).astype(np.uint8)


def _weather(frame, clip, seconds):
    """Draw falling rain or snow, in place."""
    if clip.weather == 'dry':
        return
    rng = np.random.default_rng(clip.seed)      # the same drops in every frame, lower
    height, width = SIZE
    layer, rain = frame.copy(), clip.weather == 'rain'
    for x, y, near in rng.random((260 if rain else 200, 3)):
        fall = (380 if rain else 45) * (0.6 + near)     # pixels per second
        aside = 0.12 * fall * seconds if rain else 12 * np.sin(3 * seconds + 20 * near)
        x = int((x * width + aside) % width)
        y = int((y * height + fall * seconds) % (height + 20) - 10)
        if rain:
            cv2.line(layer, (x, y), (int(x + 1 + near), int(y + 6 + 8 * near)), (226, 222, 216), 1,
                     cv2.LINE_AA)
        else:
            cv2.circle(layer, (x, y), 1 + int(near * 1.9), (246, 244, 240), -1, cv2.LINE_AA)
    share = 0.4 if rain else 0.8
    cv2.addWeighted(layer, share, frame, 1 - share, 0, dst=frame)
