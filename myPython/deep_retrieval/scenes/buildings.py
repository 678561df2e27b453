"""Random buildings: a Style describes a building, and `render_facade` draws it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from deep_retrieval.scenes.drawing import Canvas, courses, ellipse, plaster, seams, tiles, tint

SCALE = 44      # pixels per metre

# BGR colours of the bare materials
WALLS = {
    'brick': [(58, 72, 148), (70, 88, 120), (88, 110, 168), (52, 60, 104)],
    'stone': [(150, 178, 196), (168, 176, 180), (124, 150, 172), (180, 196, 206)],
    'plaster': [(150, 205, 232), (196, 206, 176), (160, 168, 226), (206, 186, 150),
                (214, 220, 226), (128, 186, 222)],
}
TRIMS = [(226, 232, 236), (196, 214, 224), (120, 136, 150), (90, 96, 108)]
PAINTS = [(96, 84, 44), (60, 92, 48), (44, 52, 128), (108, 74, 58), (40, 44, 52), (150, 140, 120)]
GLASS = (84, 66, 52)
ROOFS = [(60, 78, 146), (84, 84, 92), (128, 150, 108), (70, 90, 116)]
WINDOWS = ('flat', 'arched', 'gothic', 'round')
TOPS = ('parapet', 'gable', 'hip', 'dome', 'tower', 'steps')
WORDS = ('BAKERY', 'HOTEL', 'MUSEUM', 'CAFE', 'BOOKS', 'THEATRE', 'BANK', 'MARKET', 'POST', 'INN')


class Style(NamedTuple):
    """Everything that distinguishes a building; lengths in metres, colours BGR."""

    storeys: int
    bays: int
    bay: float              # width of a bay
    storey: float           # height of a storey
    wall: str               # a key of WALLS
    wall_colour: tuple
    stripe: tuple           # colour of every second course of blocks, or None
    trim: tuple
    paint: tuple            # colour of doors and shutters
    roof: tuple
    windows: tuple          # a shape of WINDOWS for each storey
    window: tuple           # size as fractions of the bay's width and the storey's height
    panes: tuple            # columns and rows of a window's panes
    top: str                # one of TOPS
    door: int               # the bay with the door
    shutters: bool
    balconies: tuple        # (storey, bay) of each balcony
    pilasters: bool
    bands: bool             # a cornice between storeys
    clock: bool
    sign: str               # lettering above the ground floor, or ''
    seed: int               # random seed of the materials' grain


class Facade(NamedTuple):
    """A drawn building: H x W x 3 uint8 BGR, H x W float32 relief in metres, H x W uint8 mask."""

    colour: np.ndarray
    relief: np.ndarray
    mask: np.ndarray


def pick(rng: np.random.Generator, options: Sequence) -> Any:
    """Draw one of the options."""
    return options[rng.integers(len(options))]


def random_style(rng: np.random.Generator) -> Style:
    """Draw a random Style."""
    storeys, bays = int(rng.integers(2, 6)), int(rng.integers(3, 8))
    wall = pick(rng, list(WALLS))
    balconies = {(int(rng.integers(1, storeys)), int(rng.integers(bays)))
                 for _ in range(rng.integers(0, 4))}
    return Style(
        storeys, bays, rng.uniform(1.9, 2.9), rng.uniform(2.7, 3.7), wall, pick(rng, WALLS[wall]),
        pick(rng, WALLS['stone']) if wall == 'brick' and rng.random() < 0.4 else None,
        pick(rng, TRIMS), pick(rng, PAINTS), pick(rng, ROOFS),
        tuple(pick(rng, WINDOWS[:3]) for _ in range(storeys - 1)) + (pick(rng, WINDOWS),),
        (rng.uniform(0.4, 0.62), rng.uniform(0.5, 0.68)),
        (int(rng.integers(1, 4)), int(rng.integers(1, 5))), pick(rng, TOPS),
        int(rng.integers(bays)), bool(rng.random() < 0.35), tuple(sorted(balconies)),
        bool(rng.random() < 0.4), bool(rng.random() < 0.6), bool(rng.random() < 0.3),
        pick(rng, WORDS) if rng.random() < 0.4 else '', int(rng.integers(1 << 31)))


def look_alike(style: Style, rng: np.random.Generator) -> Style:
    """Draw the Style of another building with the same materials and colours."""
    other = random_style(rng)
    storeys = style.storeys + int(pick(rng, (-1, 1))) if 2 < style.storeys < 5 else style.storeys
    bays = max(3, style.bays + int(pick(rng, (-2, -1, 1, 2))))
    return other._replace(
        storeys=storeys, bays=bays, bay=style.bay, storey=style.storey, wall=style.wall,
        wall_colour=style.wall_colour, stripe=style.stripe, trim=style.trim, paint=style.paint,
        roof=style.roof, windows=tuple(pick(rng, WINDOWS[:3]) for _ in range(storeys)),
        door=int(rng.integers(bays)),
        balconies=tuple((storey % storeys, bay % bays) for storey, bay in other.balconies))


def render_facade(style: Style) -> Facade:
    """Draw the building of a Style; return its Facade."""
    rng = np.random.default_rng(style.seed)
    width, height = style.bays * style.bay, style.storeys * style.storey
    crown = 0.34 * width if style.top in ('gable', 'dome', 'steps') else 0.24 * width
    if style.top == 'tower':
        crown = 0.55 * width
    canvas = Canvas(width + 1.6, height + crown + 0.6, SCALE)
    wall, roof = _materials(style, rng)
    _draw_top(canvas, style, width, height, crown, wall, roof)
    canvas.rect(-width / 2, width / 2, 0, height, wall)
    canvas.rect(-width / 2, width / 2, 0, 0.5, tint(style.trim, 0.7), 0.1)
    for storey in range(style.storeys):
        for bay in range(style.bays):
            _draw_bay(canvas, style, storey, bay)
        if style.bands and storey:
            y = storey * style.storey
            canvas.rect(-width / 2 - 0.1, width / 2 + 0.1, y - 0.12, y + 0.1, style.trim, 0.2)
    if style.pilasters:
        for bay in range(style.bays + 1):
            x = (bay - style.bays / 2) * style.bay
            canvas.rect(x - 0.18, x + 0.18, 0, height, tint(style.trim, 0.92), 0.12, bulge=0.12)
            canvas.rect(x - 0.28, x + 0.28, height - 0.45, height - 0.1, style.trim, 0.3)
    canvas.rect(-width / 2 - 0.4, width / 2 + 0.4, height - 0.2, height + 0.25, style.trim, 0.45)
    if style.sign:
        y = style.storey
        canvas.rect(-width * 0.3, width * 0.3, y - 0.35, y + 0.4, style.paint, 0.25)
        canvas.text(style.sign, 0, y - 0.18, 0.45, (225, 240, 245), width * 0.55)
    return Facade(canvas.colour, canvas.relief, canvas.mask)


def _materials(style, rng):
    """Return the Materials of the wall and of the roof."""
    if style.wall == 'brick':
        wall = courses(rng, SCALE, style.wall_colour, (0.3, 0.1), stripe=style.stripe)
    elif style.wall == 'stone':
        wall = courses(rng, SCALE, style.wall_colour, (0.9, 0.45), wander=rng.uniform(0, 0.6))
    else:
        wall = plaster(rng, style.wall_colour)
    roof = seams(rng, SCALE, style.roof) if rng.random() < 0.4 else tiles(rng, SCALE, style.roof)
    return wall, roof


def _draw_top(canvas, style, width, height, crown, wall, roof):
    """Draw the part above the last storey."""
    half, top = width / 2, height + crown
    if style.top == 'parapet':
        for x in np.arange(-half + 0.2, half - 0.3, 1.0):
            canvas.rect(x, x + 0.55, height, height + 1.0, wall, 0.1)
        canvas.rect(-half, half, height, height + 0.6, wall)
    elif style.top == 'gable':
        canvas.fill([(-half - 0.3, height), (half + 0.3, height), (0, top)],
                    tint(style.trim, 0.8), 0.3)
        canvas.fill([(-half + 0.3, height), (half - 0.3, height), (0, top - 0.5)], wall)
        _draw_rose(canvas, style, 0, height + 0.35 * crown, 0.14 * width)
    elif style.top == 'hip':
        canvas.fill([(-half - 0.3, height), (half + 0.3, height), (half - 0.16 * width, top),
                     (-half + 0.16 * width, top)], roof, -0.4, slope=-0.5)
        for bay in range(1, style.bays, 2):
            x = (bay - style.bays / 2 + 0.5) * style.bay - style.bay / 2
            canvas.rect(x - 0.6, x + 0.6, height + 0.2, height + 0.55 * crown, wall, 0.1)
            canvas.rect(x - 0.35, x + 0.35, height + 0.3, height + 0.45 * crown, (70, 56, 44), -0.1)
            canvas.fill([(x - 0.8, height + 0.55 * crown), (x + 0.8, height + 0.55 * crown),
                         (x, height + 0.85 * crown)], style.trim, 0.2)
    elif style.top == 'dome':
        canvas.rect(-half, half, height, height + 0.25 * crown, wall)
        canvas.fill(ellipse(0, height + 0.25 * crown, 0.3 * width, 0.65 * crown, 0, 180), roof,
                    bulge=0.8)
        canvas.rect(-0.25, 0.25, height + 0.85 * crown, top, style.trim, 0.2)
    elif style.top == 'tower':
        canvas.rect(-half, half, height, height + 0.5, wall)
        side = 0.16 * width
        canvas.rect(-side, side, height, height + 0.6 * crown, wall, 0.3)
        canvas.fill([(-side - 0.3, height + 0.6 * crown), (side + 0.3, height + 0.6 * crown),
                     (0, top)], roof, 0.3, bulge=0.3)
        _draw_rose(canvas, style, 0, height + 0.4 * crown, 0.6 * side)
    else:
        for i in range(4):
            canvas.rect(-half * (1 - i / 4), half * (1 - i / 4), height + i * crown / 4,
                        height + (i + 1) * crown / 4, wall)
            canvas.rect(-half * (1 - i / 4), half * (1 - i / 4),
                        height + (i + 1) * crown / 4 - 0.15, height + (i + 1) * crown / 4,
                        style.trim, 0.2)


def _draw_rose(canvas, style, x, y, radius):
    """Draw a clock, or a round window with spokes."""
    canvas.disc(x, y, radius * 1.18, style.trim, 0.2)
    canvas.disc(x, y, radius, (215, 225, 230) if style.clock else (74, 58, 48),
                0.15 if style.clock else -0.15)
    ink = (40, 40, 44) if style.clock else style.trim
    for k in range(12):
        a = np.pi * k / 6
        near = 0.8 if style.clock else 0.15
        canvas.line([(x + near * radius * np.cos(a), y + near * radius * np.sin(a)),
                     (x + radius * 0.97 * np.cos(a), y + radius * 0.97 * np.sin(a))],
                    0.07, ink, 0.15)
    if style.clock:
        canvas.line([(x, y), (x + 0.5 * radius, y + 0.3 * radius)], 0.1, ink, 0.15)
        canvas.line([(x, y), (x - 0.1 * radius, y + 0.75 * radius)], 0.07, ink, 0.15)


def _opening(shape, x, y, width, height):
    """Return the outline of a window or door with its base at y, centred on x."""
    if shape == 'round':
        return ellipse(x, y + height / 2, width / 2, width / 2)
    left, right = (x - width / 2, y), (x + width / 2, y)
    if shape == 'flat':
        return np.array([left, right, (right[0], y + height), (left[0], y + height)])
    spring = y + height - width * (0.5 if shape == 'arched' else 0.75)
    if shape == 'arched':
        arc = ellipse(x, spring, width / 2, width / 2, 0, 180, 24)
    else:   # gothic: two arcs about the opposite springing points
        arc = np.vstack([ellipse(left[0], spring, width, width * 0.87, 0, 60, 12),
                         ellipse(right[0], spring, width, width * 0.87, 120, 180, 12)])
    return np.vstack([[left, right], arc])


def _draw_bay(canvas, style, storey, bay):
    """Draw the window, or the door, of one bay in one storey."""
    x = (bay - style.bays / 2 + 0.5) * style.bay
    y = storey * style.storey
    shape = style.windows[storey]
    width, height = style.window[0] * style.bay, style.window[1] * style.storey
    is_door = storey == 0 and bay == style.door
    if is_door:
        width, height, shape = (width * 1.25, style.storey * 0.78,
                                'arched' if shape == 'round' else shape)
    else:
        y += 0.2 * style.storey
    outline = _opening(shape, x, y, width, height)
    frame = _opening(shape, x, y - (0 if is_door else 0.12), width + 0.34, height + 0.3)
    canvas.fill(frame, style.trim, 0.12)
    if is_door:
        canvas.fill(outline, style.paint, -0.2)
        canvas.line([(x, y), (x, y + height * 0.8)], 0.06, tint(style.paint, 0.5), -0.2)
        for side in (-0.25, 0.25):
            canvas.rect(x + side * width - 0.15 * width, x + side * width + 0.15 * width, y + 0.3,
                        y + 0.45 * height, tint(style.paint, 1.35), -0.17)
        return
    canvas.fill(outline, GLASS, -0.25)
    _draw_panes(canvas, style, outline)
    if shape == 'round':
        return
    canvas.rect(x - width / 2 - 0.25, x + width / 2 + 0.25, y - 0.2, y - 0.02, style.trim, 0.28)
    if style.shutters:
        for side in (-1, 1):
            edge = x + side * width / 2
            a, b = sorted((edge, edge + side * 0.38 * width))
            canvas.rect(a, b, y, y + height * 0.9, style.paint, 0.1)
            for slat in np.arange(y + 0.15, y + height * 0.85, 0.16):
                canvas.line([(a + 0.04, slat), (b - 0.04, slat)],
                            0.05, tint(style.paint, 0.6), 0.08)
    if (storey, bay) in style.balconies:
        a, b = x - style.bay * 0.45, x + style.bay * 0.45
        canvas.rect(a, b, y - 0.3, y - 0.1, tint(style.trim, 0.8), 0.7)
        for bar in np.arange(a, b, 0.16):
            canvas.line([(bar, y - 0.1), (bar, y + 0.7)], 0.045, (36, 36, 40), 0.6)
        canvas.line([(a, y + 0.7), (b, y + 0.7)], 0.08, (36, 36, 40), 0.6)


def _draw_panes(canvas, style, outline):
    """Draw glazing bars across an opening, clipped to its outline."""
    (left, low), (right, high) = outline.min(0), outline.max(0)
    bars = [[(left + (right - left) * i / style.panes[0], low),
             (left + (right - left) * i / style.panes[0], high)] for i in range(1, style.panes[0])]
    bars += [[(left, low + (high - low) * i / style.panes[1]),
              (right, low + (high - low) * i / style.panes[1])] for i in range(1, style.panes[1])]
    polygon = outline.astype(np.float32)
    for start, end in bars:
        points = [p for p in np.linspace(start, end, 24)
                  if cv2.pointPolygonTest(polygon, (float(p[0]), float(p[1])), False) > 0]
        if len(points) > 1:
            canvas.line([points[0], points[-1]], 0.08, style.trim, -0.15)
    canvas.line(outline, 0.09, style.trim, -0.1, closed=True)
