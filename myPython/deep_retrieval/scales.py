"""The sets of scales for multi-resolution descriptors, by name.

    scales_of(800, 'papers')        # [550, 800, 1050]
    scales_of(512, 'original')      # [256, 512, 768]
"""

from __future__ import annotations  # Debian 11, which has genuine pycaffe, has 3.9

from deep_retrieval.arguments import whole

LEAST_SIDE = 3  # pixels; below that nothing is left to pool after the first convolution
STEP = 250      # pixels of S between the scales of `papers`

# name -> function of S and the step that returns the longer sides in pixels
SCALES = {
    # Gordo et al., ECCV 2016 and arXiv 1610.07940
    'papers': lambda S, step: [S - step, S, S + step],
    # used by the original for its own studies and students
    'original': lambda S, step: [max(LEAST_SIDE, round(S * share))
                                 for share in (1 / 2, 1, 3 / 2)],
}


def scales_of(S: int, name: str | bool | None = None, step: int = STEP) -> list[int]:
    """Return the longer sides, in pixels, at which an image is described.

    Parameters
    ----------
    S : int
        Longer side in pixels.
    name : a name of SCALES; None or False for S alone, True for 'papers'
    step : int
        Pixels between the scales of 'papers'.

    Raises
    ------
    ValueError, TypeError
        The name is unknown, or a scale is not an integer of at least `LEAST_SIDE`.

    Examples
    --------
    >>> scales_of(800), scales_of(800, 'papers'), scales_of(512, 'original')
    ([800], [550, 800, 1050], [256, 512, 768])
    """
    whole('S', S, LEAST_SIDE)
    if not name:
        return [S]
    name = 'papers' if name is True else name
    if name not in SCALES:
        raise ValueError(f'unknown scales {name!r}; known are {", ".join(SCALES)}')
    scales = SCALES[name](S, step)
    if min(scales) < LEAST_SIDE:
        raise ValueError(f'three resolutions need an S of at least {LEAST_SIDE} above the step of '
                         f'{step} pixels, not {S}')
    return scales
