"""The rigid grid: the square regions of R-MAC (Tolias, Sicre and Jegou, ICLR 2016).

    rois = pack_regions_for_network([get_rmac_region_coordinates(H, W, L)])
"""

import math

import numpy as np

OVERLAP = 0.4           # target overlap of neighbouring regions, as a share of a region
STEPS = range(2, 8)     # possible numbers of level-1 regions along the longer side


def get_rmac_region_coordinates(H: int, W: int, L: int) -> np.ndarray:
    """Return the regions of levels 1 to L of an image.

    At level l, there are l regions of side 2 min(H, W) / (l + 1) along the shorter side, and more
    along the longer side, so that neighbours overlap by about 40 %.

    Parameters
    ----------
    H, W : int
        Height and width in pixels.
    L : int
        0 gives the whole image as one region (MAC).

    Returns
    -------
    ndarray, N x 4 float32
        x, y, width, height.

    Examples
    --------
    Level 1 is the whole square; level 2 has 2 x 2 squares of 2/3 of its side:

    >>> get_rmac_region_coordinates(100, 100, L=2).astype(int).tolist()
    [[0, 0, 100, 100], [0, 0, 66, 66], [34, 0, 66, 66], [0, 34, 66, 66], [34, 34, 66, 66]]
    """
    return _grid(H, W, L, float)


def _grid(H, W, L, number):
    """The regions, computed in numbers of type `number`."""
    if L == 0:
        return np.array([[0, 0, W, H]], np.float32)
    shorter, extra = min(H, W), _extra_regions(H, W, number)
    regions = []
    for level in range(1, L + 1):
        side = max(1, math.floor(2 * shorter / (level + 1)))
        rows = _starts(H, side, level + (extra if H > W else 0), number)
        columns = _starts(W, side, level + (extra if W > H else 0), number)
        regions += [(x, y, side, side) for y in rows for x in columns]
    return np.array(regions, np.float32)


def get_map_region_coordinates(H: int, W: int, L: int) -> np.ndarray:
    """Return the regions of a map: the whole map, then those of levels 1 to L that fit it.

    As in cnnimageretrieval-pytorch (Radenovic et al., TPAMI 2019), which divides the map instead of
    the image, and in float32, whose rounding moves some regions by a cell.

    Parameters
    ----------
    H, W : int
        Height and width in cells.
    L : int

    Returns
    -------
    ndarray, N x 4 float32
        x, y, width, height.

    Examples
    --------
    >>> get_map_region_coordinates(1, 1, L=3).astype(int).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    fitting = min(L, 2 * min(H, W) - 1)     # of the next level, regions are smaller than a cell
    return np.vstack([_grid(H, W, 0, np.float32), _grid(H, W, fitting, np.float32)])


def pack_regions_for_network(regions: list[np.ndarray]) -> np.ndarray:
    """Return the regions of a batch as the ROIPooling layer reads them.

    Parameters
    ----------
    regions : list of N_i x 4, one per image

    Returns
    -------
    ndarray, sum(N_i) x 5 float32
        Image index, x1, y1, x2, y2; the corners are inclusive.

    Examples
    --------
    >>> boxes = np.array([[0, 0, 100, 50]])
    >>> pack_regions_for_network([boxes, boxes]).astype(int).tolist()
    [[0, 0, 0, 99, 49], [1, 0, 0, 99, 49]]
    """
    packed = []
    for index, boxes in enumerate(regions):
        first, size = boxes[:, :2], boxes[:, 2:]
        packed.append(np.hstack([np.full((len(boxes), 1), index), first, first + size - 1]))
    return np.vstack(packed).astype(np.float32)


def _extra_regions(H, W, number):
    """Return how many more regions a level has along the longer side than along the shorter one."""
    if H == W:
        return 0
    side = min(H, W)
    steps = [number(max(H, W) - side) / number(count - 1) for count in STEPS]
    area = number(side * side)
    misses = [abs((area - number(side) * step) / area - number(OVERLAP)) for step in steps]
    return 1 + misses.index(min(misses))


def _starts(length, side, count, number):
    """Return the first pixels of `count` regions of `side` pixels, spaced evenly along `length`."""
    half = math.floor(side / 2 - 1)
    step = number((length - side) / (count - 1) if count > 1 else 0)
    # via the centres, as in the paper's code: if half is -1, rounding makes a difference
    starts = [math.floor(number(half) + step * number(k)) - half for k in range(count)]
    return [min(start, length - side) for start in starts]
