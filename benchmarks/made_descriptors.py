"""Unit descriptors that lie as those of pictures do: rows of views among single pictures."""

import numpy as np

VIEWS = 10          # of one thing, a step of the camera between one and the next
STEP = 0.7          # similarity of two views with a step between; of two steps its square, ...
THEMES = 64         # directions that half of each picture is mixed of: all are a little alike


def make(count, dim, seed=0):
    """count x dim float32, unit length: half are VIEWS views of things, then single pictures."""
    rng = np.random.default_rng(seed)
    themes = rng.standard_normal((THEMES, dim), np.float32) / THEMES ** 0.5
    rows = rng.standard_normal((count, dim), np.float32)
    rows += rng.standard_normal((count, THEMES), np.float32) @ themes
    rows = _unit(rows)
    views = rows[:_things(rows) * VIEWS].reshape(-1, VIEWS, dim)    # changes rows too
    for i in range(1, VIEWS):
        views[:, i] = _step(views[:, i - 1], views[:, i])
    return rows


def queries_of(rows, count, seed=0):
    """Queries a step from a view, count x dim, unit length, and the numbers of their things."""
    rng = np.random.default_rng(seed + 1)
    chosen = rng.integers(0, _things(rows) * VIEWS, count)
    noise = _unit(rng.standard_normal((count, rows.shape[1]), np.float32))
    return _step(rows[chosen], noise), chosen // VIEWS


def views_of(thing):
    """The rows of a thing's views."""
    return range(thing * VIEWS, (thing + 1) * VIEWS)


def _things(rows):
    return max(1, len(rows) // (2 * VIEWS))


def _step(rows, other):
    return _unit(STEP * rows + (1 - STEP ** 2) ** 0.5 * other)


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
