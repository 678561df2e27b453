"""Find groups of near-duplicate images from descriptors, in memory.

    groups = find_groups(photos, threshold=0.75)
    groups[0].anchor, groups[0].hits        # 'a.jpg', [Hit('b.jpg', 0.93), ...]

If the pairs do not fit in memory, use `similar_pairs.py` to write a mapped file, and
`cover_groups.py` to group its images.
"""

import heapq

import numpy as np

from deep_retrieval.duplicates.cover_groups import Group
from deep_retrieval.duplicates.cover_groups import components as connect
from deep_retrieval.feature_shards import FeatureFolder
from deep_retrieval.features import Features, NamedRows, check_described
from deep_retrieval.ranking import Hit

THRESHOLD = 0.75    # cosine, for weights whose json has no thresholds
PRECISION = '0.95'  # the one of the json's thresholds that is the default


def default_threshold(features: Features | FeatureFolder | NamedRows) -> float:
    """Return the cosine from which 95 % of pairs are near-duplicates, as the weights' json says.

    For weights that do not say it, 0.75.
    """
    return (getattr(features, 'thresholds', None) or {}).get(PRECISION, THRESHOLD)


def find_groups(features: Features | FeatureFolder | NamedRows, threshold: float | None = None, *,
                components: bool = False, min_size: int = 2) -> list[Group]:
    """Group images with similarity >= threshold.

    Parameters
    ----------
    features : Features, FeatureFolder or NamedRows
    threshold : float, optional
        Minimum similarity (cosine); by default `default_threshold(features)`.
    components : bool
        Group all images that are connected by similar pairs. By default every image of a group is
        similar to its anchor, so that chains of similar pairs do not join different objects.
        Anchors are chosen greedily, by the number of similar images that are not yet in a group.
    min_size : int
        Leave out groups with fewer images.

    Returns
    -------
    list of Group
        Largest first, then by the anchor's name. No image is in two groups. Hits are sorted by
        decreasing similarity; with `components`, this is the highest threshold at which the image
        is still connected with the anchor.

    Raises
    ------
    ValueError
        `threshold` is not within -1 to 1, or a row has no direction.
    TypeError
        The images are not described yet.
    """
    check_described('features', features)
    if threshold is None:
        threshold = default_threshold(features)
    if not -1 <= threshold <= 1:
        raise ValueError(f'threshold is {threshold}, but must be a cosine from -1 to 1')
    first, second, values = find_pairs(features, threshold)
    if components:
        found = connect(_lines(features.names, first, second, values), threshold)
    else:
        found = _with_centres(features.names, first, second, values)
    found = [group for group in found if 1 + len(group.hits) >= min_size]
    return sorted(found, key=lambda group: (-len(group.hits), group.anchor))


def find_pairs(features: Features | FeatureFolder | NamedRows,
               threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all pairs of rows i < j whose cosine is >= threshold: arrays i, j and cosines.

    The search is exact. Apart from the pairs themselves, memory does not grow with the square of
    the number of rows.
    """
    from deep_retrieval.duplicates.similar_pairs import Exact, check
    squares, _ = check(features)
    parts = [part[1:] for part in Exact()(features, squares, float(threshold))]
    first, second, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    return first, second, values


def _lines(names, first, second, values):
    lines = {}
    for i, j, value in zip(first.tolist(), second.tolist(), values.tolist(), strict=True):
        lines.setdefault(names[i], []).append((names[j], value))
    return lines.items()


def _with_centres(names, first, second, values):
    """Return groups whose images are all similar to the anchor; each image is in one at most."""
    near = {}
    for i, j, value in zip(first.tolist(), second.tolist(), values.tolist(), strict=True):
        near.setdefault(i, {})[j] = value
        near.setdefault(j, {})[i] = value
    # counts only decrease, so an outdated entry is put back when it comes up
    heap = [(-len(others), names[i], i) for i, others in near.items()]
    heapq.heapify(heap)
    taken, groups = set(), []
    while heap:
        count, name, i = heapq.heappop(heap)
        if i in taken:
            continue
        free = {j: value for j, value in near[i].items() if j not in taken}
        if not free:
            continue
        if len(free) < -count:
            heapq.heappush(heap, (-len(free), name, i))
            continue
        taken.update([i, *free])
        hits = sorted((Hit(names[j], value) for j, value in free.items()),
                      key=lambda hit: (-hit.similarity, hit.name))
        groups.append(Group(name, hits))
    return groups
