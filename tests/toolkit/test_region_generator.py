import math

import numpy as np
import pytest
from region_generator import get_rmac_region_coordinates, pack_regions_for_network


def test_the_grid_of_a_cover_image():
    """The numbers that the original gives for 280 x 496 at L = 2."""
    regions = get_rmac_region_coordinates(280, 496, 2)
    assert regions.dtype == np.float32
    assert pack_regions_for_network([regions]).tolist() == [
        [0, 0, 0, 279, 279], [0, 216, 0, 495, 279], [0, 0, 0, 185, 185], [0, 155, 0, 340, 185],
        [0, 310, 0, 495, 185], [0, 0, 94, 185, 279], [0, 155, 94, 340, 279],
        [0, 310, 94, 495, 279]]


def test_portrait_is_landscape_turned():
    landscape = {tuple(row) for row in get_rmac_region_coordinates(280, 496, 3)}
    portrait = {tuple(row) for row in get_rmac_region_coordinates(496, 280, 3)}
    assert portrait == {(y, x, h, w) for x, y, w, h in landscape}


@pytest.mark.parametrize('L, count', [(1, 1), (2, 1 + 4), (3, 1 + 4 + 9)])
def test_a_square_has_no_extra_regions(L, count):
    assert len(get_rmac_region_coordinates(300, 300, L)) == count


def test_level_0_is_the_whole_image():
    regions = get_rmac_region_coordinates(30, 40, 0)
    assert pack_regions_for_network([regions]).tolist() == [[0, 0, 0, 39, 29]]


def naive(H, W, L):
    """The grid as words have it, one region at a time."""
    small, large = min(H, W), max(H, W)
    best, extra = None, 0
    if H != W:
        for steps in range(2, 8):
            b = (large - small) / (steps - 1)
            miss = abs((small * small - small * b) / (small * small) - 0.4)
            if best is None or miss < best:
                best, extra = miss, steps - 1
    regions = []
    for level in range(1, L + 1):
        side = math.floor(2 * small / (level + 1))
        half = math.floor(side / 2 - 1)
        places = []
        for length in (H, W):
            count = level + (extra if length > small else 0)
            step = (length - side) / (count - 1) if count > 1 else 0
            line = []
            for k in range(count):
                start = math.floor(half + k * step) - half
                if start + side > length:
                    start -= start + side - length
                line.append(start)
            places.append(line)
        for y in places[0]:
            for x in places[1]:
                regions.append([x, y, side, side])
    return regions


@pytest.mark.parametrize('L', [1, 2, 3, 4])
def test_many_sizes(L):
    rng = np.random.default_rng(L)
    for H, W in rng.integers(20, 1100, (60, 2)):
        regions = get_rmac_region_coordinates(int(H), int(W), L)
        assert regions.tolist() == naive(int(H), int(W), L)
        assert (regions[:, :2] >= 0).all()
        assert (regions[:, 0] + regions[:, 2] <= W).all()
        assert (regions[:, 1] + regions[:, 3] <= H).all()


@pytest.mark.parametrize('size', [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_tiny_images_have_regions_of_a_pixel_or_more(size):
    regions = get_rmac_region_coordinates(*size, 3)
    assert len(regions) and (regions[:, 2:] >= 1).all() and (regions[:, :2] >= 0).all()


def test_a_batch_is_packed_with_image_indices():
    packed = pack_regions_for_network([get_rmac_region_coordinates(10, 10, 1),
                                       get_rmac_region_coordinates(20, 20, 1)])
    assert packed.tolist() == [[0, 0, 0, 9, 9], [1, 0, 0, 19, 19]]
