"""Scale vectors to unit length.

    normalize(rows)     # as the nets' NormalizeLayer
    unit(rows)          # rows without a direction become NaN
"""

import numpy as np

EPSILON = 1e-8      # avoids a division by zero
UNIT = 1e-5         # a norm this close to 1 counts as 1


def normalize(x: np.ndarray) -> np.ndarray:
    """Return x / (EPSILON + its L2 norm over axis 1), the formula of the original's NormalizeLayer.

    x : N x D x ...

    >>> normalize(np.array([[3.0, 4.0]])).round(4)
    array([[0.6, 0.8]])
    """
    return x / (EPSILON + np.linalg.norm(x, axis=1, keepdims=True))


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows as float32 of unit length; rows of zeros or non-finite values become NaN.

    Rows that already have unit length (within UNIT) are returned unchanged.

    rows : N x D

    >>> unit([[3, 4], [0, 0]])
    array([[0.6, 0.8],
           [nan, nan]], dtype=float32)
    """
    rows = np.asarray(rows, np.float32)
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    norms[np.abs(norms - 1) < UNIT] = 1
    norms[(norms == 0) | ~np.isfinite(norms)] = np.nan
    return (rows / norms).astype(np.float32)
