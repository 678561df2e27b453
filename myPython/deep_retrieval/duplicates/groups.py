"""Groups of near-duplicate images from their descriptors, in memory.

    groups = find_groups(photos, threshold=0.75)
    groups[0].anchor, groups[0].hits        # 'a.jpg', [Hit('b.jpg', 0.93), ...]

For more pairs than fit in memory, `similar_pairs.py` writes mapped files and `cover_groups.py`
groups their images.
"""

import heapq

import numpy as np

from deep_retrieval.duplicates.cover_groups import Group
from deep_retrieval.duplicates.cover_groups import components as connect
from deep_retrieval.features import check_described
from deep_retrieval.ranking import Hit

THRESHOLD = 0.75    # a cosine; what it means depends on the weights


def find_groups(features, threshold: float = THRESHOLD, *, components: bool = False,
                min_size: int = 2) -> list[Group]:
    """Group images that are at least `threshold` similar.

    Parameters
    ----------
    features : Features, FeatureFolder or NamedRows
    threshold : float
        Least similarity, a cosine.
    components : bool
        Group all images that are connected by similar pairs. By default a group has one centre,
        its anchor: every other image is similar to the anchor itself, so that chains of similar
        pairs do not join different things. Anchors are chosen by falling number of similar images
        that are not yet in a group.
    min_size : int
        Leave out groups of fewer images.

    Returns
    -------
    list of Group
        Largest first, then by the anchor's name. No image is in two groups. Hits are sorted by
        falling similarity; with `components` it is the highest threshold at which the image is
        still connected with the anchor.

    Raises
    ------
    ValueError
        `threshold` is not within -1 to 1, or a row has no direction.
    TypeError
        The images are not described yet.
    """
    check_described('features', features)
    if not -1 <= threshold <= 1:
        raise ValueError(f'threshold is {threshold}, but must be a cosine from -1 to 1')
    first, second, values = find_pairs(features, threshold)
    if components:
        found = connect(_lines(features.names, first, second, values), threshold)
    else:
        found = _with_centres(features.names, first, second, values)
    found = [group for group in found if 1 + len(group.hits) >= min_size]
    return sorted(found, key=lambda group: (-len(group.hits), group.anchor))


def find_pairs(features, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all pairs of rows i < j whose cosine is at least `threshold`: i, j and the cosines.

    The search is exact; memory is independent of the square of the number of rows, except for the
    pairs themselves.
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
    """Groups whose images are all similar to their anchor; each image is in one at most."""
    near = {}
    for i, j, value in zip(first.tolist(), second.tolist(), values.tolist(), strict=True):
        near.setdefault(i, {})[j] = value
        near.setdefault(j, {})[i] = value
    # counts only fall, so an entry with an outdated count is put back when it comes up
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
