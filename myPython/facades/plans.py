"""What a building is to look like: the traits of each style family, and a draw of one from them."""
from dataclasses import dataclass, replace

import numpy as np

# surfaces, RGB
WALLS = {
    'red brick': '9a4935', 'plum brick': '7d4440', 'yellow brick': 'bd9c62', 'grey brick': '8b837c',
    'limestone': 'd2c4a2', 'sandstone': 'bf9a66', 'granite': '96979b', 'rose stone': 'c79a86',
    'dark stone': '77706a', 'white': 'e4dfd3', 'ochre': 'd6a447', 'terracotta': 'c0663f',
    'rose': 'd59389', 'mint': '9cbda2', 'azure': '8fb0c8', 'lemon': 'e0cc7c', 'lilac': 'aea0bd',
    'teal': '5f918f', 'coral': 'dc8465', 'cream': 'e6d7b4',
}
BRICKS = ('red brick', 'plum brick', 'yellow brick', 'grey brick')
STONES = ('limestone', 'sandstone', 'granite', 'rose stone', 'dark stone')
PLASTERS = ('white', 'ochre', 'terracotta', 'rose', 'mint', 'azure', 'lemon', 'lilac', 'teal',
            'coral', 'cream')
TRIMS = ('e9e4d8', 'd8cba9', 'c2b394', 'f0ece4', '8c8478')
ROOFS = {'clay': 'a1553b', 'slate': '565d68', 'copper': '6fa48f', 'lead': '8d949b', 'dark': '57473f'}
ACCENTS = ('2f5d4a', '274a6b', '7c2f2c', '38393c', '8a6a2f', '5c7a8c', '4d3a5e', 'b5622d', '50703a')

# the traits of a family; what it does not name comes from COMMON
COMMON = {
    'wall': BRICKS + STONES + PLASTERS, 'roof': ('clay', 'slate'), 'bays': (4, 5, 6, 7),
    'storeys': (2, 3), 'shapes': ('rect', 'segment'), 'heads': ('flat', 'keystone'),
    'grids': ((2, 3), (2, 2), (3, 4), (2, 4)), 'shutters': (False,), 'balconies': ('none',),
    'divide': ('none', 'quoins'), 'band': ('plain',), 'frieze': ('none',),
    'cornice': ('plain', 'dentils'), 'ground': ('plain', 'shops'), 'top': ('parapet',),
    'centre': ('none',), 'fill': (0.42, 0.5), 'surface': ('courses',),
}
FAMILIES = {
    'georgian': {
        'wall': BRICKS, 'heads': ('lintel', 'keystone'), 'ground': ('rusticated', 'plain'),
        'top': ('parapet', 'pediment', 'hip'), 'cornice': ('dentils', 'brackets'),
        'band': ('plain', 'key'), 'centre': ('none', 'venetian'), 'storeys': (2, 3)},
    'gothic': {
        'wall': STONES, 'roof': ('slate', 'lead'), 'bays': (3, 4, 5), 'storeys': (1, 2),
        'shapes': ('pointed', 'lancet', 'tudor'), 'heads': ('hood', 'none'), 'divide': ('buttress',),
        'ground': ('portal', 'arcade'), 'top': ('gable', 'spires', 'battlements'),
        'cornice': ('arches', 'plain'), 'frieze': ('quatrefoil', 'none'), 'centre': ('rose',),
        'fill': (0.5, 0.6)},
    'palazzo': {
        'wall': STONES[:4], 'shapes': ('round', 'twin', 'rect'), 'bays': (5, 6, 7),
        'heads': ('voussoirs', 'pediments', 'segments'), 'ground': ('rusticated', 'arcade'),
        'cornice': ('brackets',), 'top': ('parapet', 'hip', 'balustrade'), 'band': ('key', 'plain'),
        'divide': ('none', 'quoins'), 'centre': ('none', 'shield')},
    'baroque': {
        'wall': PLASTERS, 'roof': ('copper', 'clay'), 'bays': (5, 7), 'divide': ('pilasters',),
        'shapes': ('rect', 'segment', 'round', 'oculus'), 'heads': ('pediments', 'segments'),
        'ground': ('rusticated', 'portal'), 'top': ('scroll', 'dome', 'pediment'),
        'frieze': ('garland', 'none'), 'cornice': ('dentils', 'brackets'),
        'centre': ('niche', 'shield'), 'surface': ('plaster',)},
    'canal': {
        'wall': BRICKS, 'bays': (2, 3, 4), 'storeys': (3, 4), 'heads': ('lintel', 'flat'),
        'shutters': (True, False), 'ground': ('plain', 'shops'), 'top': ('steps', 'scroll'),
        'band': ('plain', 'brick'), 'centre': ('none', 'oculus'), 'fill': (0.5, 0.58)},
    'timber': {
        'wall': ('white', 'cream', 'ochre', 'rose', 'lemon', 'terracotta'), 'bays': (3, 4, 5),
        'storeys': (2, 3), 'shapes': ('rect',), 'heads': ('none',), 'grids': ((2, 3), (3, 4)),
        'shutters': (True, False), 'ground': ('shops', 'plain'), 'cornice': ('plain',),
        'top': ('gable', 'hip'), 'surface': ('timber',), 'fill': (0.42, 0.48), 'divide': ('none',)},
    'boulevard': {
        'wall': ('limestone', 'white', 'cream', 'sandstone'), 'roof': ('slate', 'lead'),
        'bays': (4, 5, 6, 7), 'storeys': (3, 4), 'heads': ('segments', 'keystone', 'flat'),
        'balconies': ('iron', 'none', 'long'), 'ground': ('shops', 'arcade'),
        'cornice': ('brackets', 'dentils'), 'top': ('mansard',), 'shutters': (False, True),
        'divide': ('none', 'pilasters')},
    'townhall': {
        'wall': STONES + BRICKS[:2], 'roof': ('slate', 'copper'), 'bays': (5, 7),
        'shapes': ('round', 'twin', 'pointed', 'rect'), 'heads': ('voussoirs', 'hood'),
        'ground': ('arcade',), 'top': ('clocktower',), 'cornice': ('arches', 'brackets'),
        'balconies': ('none', 'stone'), 'frieze': ('shields', 'quatrefoil'), 'band': ('key', 'plain')},
    'abbey': {
        'wall': STONES, 'roof': ('slate', 'clay', 'lead'), 'bays': (3, 5), 'storeys': (1, 2),
        'shapes': ('round', 'twin', 'lancet'), 'heads': ('voussoirs',), 'ground': ('portal',),
        'divide': ('pilasters', 'buttress'), 'cornice': ('arches',), 'top': ('twins', 'gable'),
        'centre': ('rose', 'oculus'), 'frieze': ('none', 'checker')},
    'deco': {
        'wall': ('white', 'cream', 'mint', 'coral', 'azure', 'granite'), 'bays': (5, 6, 7),
        'storeys': (3, 4, 5), 'shapes': ('rect', 'oculus', 'rect'), 'heads': ('none', 'flat'),
        'divide': ('fins',), 'frieze': ('chevron', 'sunburst'), 'band': ('none', 'stripes'),
        'ground': ('shops',), 'top': ('stepped', 'parapet'), 'cornice': ('none',),
        'grids': ((3, 2), (1, 4), (4, 5)), 'fill': (0.58, 0.66), 'surface': ('plaster',)},
    'lagoon': {
        'wall': ('rose stone', 'red brick', 'terracotta', 'coral', 'limestone'), 'bays': (4, 5, 6),
        'shapes': ('ogee', 'pointed', 'round'), 'heads': ('hood', 'framed'), 'top': ('cresting',),
        'ground': ('arcade', 'portal'), 'balconies': ('stone', 'none'), 'band': ('key', 'plain'),
        'frieze': ('quatrefoil', 'diamond'), 'cornice': ('arches',), 'surface': ('stripes', 'courses'),
        'fill': (0.48, 0.58)},
    'temple': {
        'wall': STONES[:3] + ('white',), 'roof': ('copper', 'lead'), 'bays': (5, 7), 'storeys': (1, 2),
        'shapes': ('rect', 'round'), 'heads': ('pediments', 'framed'), 'ground': ('portico',),
        'divide': ('columns',), 'frieze': ('triglyph', 'garland'), 'cornice': ('dentils',),
        'top': ('pediment', 'dome'), 'centre': ('none', 'niche')},
    'mill': {
        'wall': BRICKS, 'bays': (4, 5, 6), 'storeys': (3, 4), 'shapes': ('segment', 'round'),
        'heads': ('lintel', 'voussoirs'), 'grids': ((4, 5), (3, 4), (5, 6)), 'divide': ('pilasters',),
        'ground': ('plain', 'arcade'), 'band': ('brick', 'plain'), 'cornice': ('arches', 'plain'),
        'top': ('gable', 'sawtooth', 'parapet'), 'frieze': ('sign',), 'fill': (0.6, 0.68)},
    'riviera': {
        'wall': PLASTERS, 'bays': (3, 4, 5), 'storeys': (3, 4), 'shapes': ('rect', 'segment', 'round'),
        'heads': ('flat', 'framed', 'segments'), 'shutters': (True,), 'roof': ('clay',),
        'balconies': ('iron', 'none', 'long'), 'ground': ('shops', 'arcade'), 'top': ('hip', 'parapet'),
        'band': ('plain', 'none'), 'frieze': ('none', 'tiles'), 'surface': ('plaster',),
        'fill': (0.34, 0.42)},
}
SHOPS = ('BAKERY', 'CAFE LUNA', 'BOOKS', 'TOBACCO', 'HOTEL MIRA', 'FLOWERS', 'WATCHES', 'PHARMACY',
         'THE OLD INN', 'TAILOR', 'CHEESE & WINE', 'BICYCLES', 'MUSIC', 'GALLERY 9', 'TEA ROOM',
         'HATS', 'ANTIQUES', 'BISTRO', 'SHOES', 'PRINTS', 'GRAND CAFE', 'OPTICIAN', 'TOYS', 'LAMPS')
WORKS = ('ALDER & SONS', 'NORTH MILL', 'HARBOUR STORES', 'WOOL EXCHANGE', 'VULCAN WORKS',
         'TEA & SPICE CO', 'RIVER BREWERY', 'COTTON HALL', 'UNION FOUNDRY', 'GRAIN HOUSE')


@dataclass(frozen=True)
class Plan:
    """One building: sizes in metres, colours in BGR; the lists have an entry a storey, ground first.

    `seed` draws what the traits leave open, from the colour of each brick to the open shutters.
    """
    family: str
    seed: int
    bays: int
    storeys: int           # above the ground floor
    bay: float             # width of a bay
    ground_height: float
    storey_height: float
    fill: float            # share of a bay that its window takes
    wall: tuple
    base: tuple            # of the ground floor
    trim: tuple
    roof_colour: tuple
    accent: tuple          # shutters, doors, awnings
    frame: tuple           # of the windows
    roof: str
    surface: str
    shapes: tuple
    heads: tuple
    grids: tuple           # panes across and down
    balconies: tuple
    shutters: bool
    divide: str            # between bays
    band: str              # between storeys
    frieze: str
    cornice: str
    ground: str
    top: str
    centre: str            # what the middle of the front shows
    sign: str
    shops: tuple

    @property
    def width(self):
        """Metres of the front, corners included."""
        return self.bays * self.bay + 1.0

    @property
    def height(self):
        """Metres from the ground to the cornice."""
        return self.ground_height + self.storeys * self.storey_height


def draw_plan(rng, family=None):
    """A Plan of a family of FAMILIES, or of any."""
    family = family or str(rng.choice(list(FAMILIES)))
    traits = {**COMMON, **FAMILIES[family]}
    storeys = _pick(rng, traits['storeys'])
    wall = _pick(rng, traits['wall'])
    trim = _colour(rng, _pick(rng, TRIMS), 5)
    surface = _pick(rng, traits['surface'])
    if surface == 'courses':
        surface = 'brick' if wall in BRICKS else 'ashlar' if wall in STONES else 'plaster'
    base = trim if rng.random() < 0.35 else _colour(rng, WALLS[_pick(rng, STONES)], 8)
    roof = _pick(rng, traits['roof'])
    return Plan(
        family=family, seed=int(rng.integers(1 << 31)), bays=_pick(rng, traits['bays']),
        storeys=storeys, bay=rng.uniform(2.5, 3.5), ground_height=rng.uniform(3.9, 4.9),
        storey_height=rng.uniform(3.2, 4.1) * (1.3 if storeys == 1 else 1), wall=_colour(rng, WALLS[wall], 9),
        fill=rng.uniform(*traits['fill']), trim=trim, roof=roof, surface=surface, base=base,
        roof_colour=_colour(rng, ROOFS[roof], 9), accent=_colour(rng, _pick(rng, ACCENTS), 8),
        frame=_colour(rng, 'f1efe9', 4) if rng.random() < 0.65 else _colour(rng, '3a3430', 6),
        shutters=_pick(rng, traits['shutters']), divide=_pick(rng, traits['divide']),
        band=_pick(rng, traits['band']), cornice=_pick(rng, traits['cornice']),
        sign=_pick(rng, WORKS), **_structure(rng, traits, storeys))


def _structure(rng, traits, storeys):
    """The traits that tell a building from its neighbours of the same make."""
    each = {name: tuple(_pick(rng, traits[name]) for _ in range(storeys))
            for name in ('shapes', 'heads', 'grids', 'balconies')}
    return {**each, 'frieze': _pick(rng, traits['frieze']), 'ground': _pick(rng, traits['ground']),
            'top': _pick(rng, traits['top']), 'centre': _pick(rng, traits['centre']),
            'shops': tuple(str(name) for name in rng.permutation(SHOPS)[:8])}


def vary_plan(plan, rng):
    """Another building of the same family, colours and material: other bays, windows, top, ground.

    The number of bays or storeys always differs, and so do the windows of most storeys.
    """
    traits = {**COMMON, **FAMILIES[plan.family]}
    bays = max(2, plan.bays + _pick(rng, (-2, -1, 1, 2)))
    storeys = max(1, plan.storeys + _pick(rng, (-1, 0, 0, 1)))
    structure = _structure(rng, traits, storeys)
    other = [shape for shape in ('rect', 'segment', 'round', 'pointed', 'twin', 'tudor')
             if shape not in plan.shapes]
    structure['shapes'] = tuple(shape if shape not in plan.shapes else _pick(rng, other)
                                for shape in structure['shapes'])
    return replace(
        plan, seed=int(rng.integers(1 << 31)), bays=bays, storeys=storeys,
        bay=plan.bay * rng.uniform(0.88, 1.12), storey_height=plan.storey_height * rng.uniform(0.9, 1.1),
        ground_height=plan.ground_height * rng.uniform(0.9, 1.1), sign=_pick(rng, WORKS),
        accent=_colour(rng, _pick(rng, ACCENTS), 8),
        **{name: _jitter(rng, getattr(plan, name), 5) for name in ('wall', 'base', 'trim', 'roof_colour')},
        **structure)


def _pick(rng, choices):
    return choices[rng.integers(len(choices))]


def _colour(rng, rgb, spread):
    """BGR of a hexadecimal RGB, each channel off by up to `spread`."""
    return _jitter(rng, tuple(bytes.fromhex(rgb)[::-1]), spread)


def _jitter(rng, colour, spread):
    return tuple(float(np.clip(c + rng.uniform(-spread, spread), 0, 255)) for c in colour)
