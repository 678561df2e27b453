"""Synthetic unit descriptors that are distributed like those of pictures.

    rows = make(100_000, 512)                   # views of objects, and single pictures
    queries, things = queries_of(rows, 70)      # positives of query 0: views_of(things[0])
"""

import numpy as np

VIEWS = 10          # per object, with one step of the camera between neighbouring views
STEP = 0.7          # similarity of views one step apart; two steps apart it is the square
THEMES = 64         # directions that make up half of each picture, so all are slightly similar


def make(count, dim, seed=0):
    """Return count x dim float32 unit rows: VIEWS views per object, then single pictures."""
    rng = np.random.default_rng(seed)
    themes = rng.standard_normal((THEMES, dim), np.float32) / THEMES ** 0.5
    rows = rng.standard_normal((count, dim), np.float32)
    rows += rng.standard_normal((count, THEMES), np.float32) @ themes
    rows = _unit(rows)
    views = rows[:_things(rows) * VIEWS].reshape(-1, VIEWS, dim)    # a view of rows
    for i in range(1, VIEWS):
        views[:, i] = _step(views[:, i - 1], views[:, i])
    return rows


def queries_of(rows, count, seed=0):
    """Return queries (count x dim, unit length), each one step from a view, and their objects."""
    rng = np.random.default_rng(seed + 1)
    chosen = rng.integers(0, _things(rows) * VIEWS, count)
    noise = _unit(rng.standard_normal((count, rows.shape[1]), np.float32))
    return _step(rows[chosen], noise), chosen // VIEWS


def views_of(thing):
    """Return the indices of the rows that are views of an object."""
    return range(thing * VIEWS, (thing + 1) * VIEWS)


def _things(rows):
    return max(1, len(rows) // (2 * VIEWS))


def _step(rows, other):
    return _unit(STEP * rows + (1 - STEP ** 2) ** 0.5 * other)


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
