"""Groups of similar images from a mapped file: an anchor with its items, or connected images.

    for anchor, items in by_anchor(read('mapped.txt'), 0.7, least=5): ...
    found, details = components(read('mapped.txt'), 0.7)

A grouping is a list of (anchor, [(item, score), ...]): lines of a mapped file, as which it is kept.
"""

from typing import NamedTuple

import numpy as np

GIANT = 200     # images


class Component(NamedTuple):
    """What there is to say about connected images, beside who they are.

    images : how many
    pairs : of the images * (images - 1) / 2 pairs, those at or above the threshold
    lowest : the lowest similarity of two of them
    known : whether the mapped file has all pairs; if not, some are below `lowest`, the file's own
    link : the weakest similarity that is needed: above it the group falls apart
    """

    images: int
    pairs: int
    lowest: float
    known: bool
    link: float


def by_anchor(lines, threshold, more_than=0):
    """Yield the lines, with the items at or above a threshold, that have an item then.

    more_than : leave out groups of no more images than this, the anchor among them
    """
    threshold = float(threshold)    # 0.7 as a float64 is less than as a Decimal
    for anchor, items in lines:
        items = [(item, score) for item, score in items if score >= threshold and item != anchor]
        if items and len(items) + 1 > more_than:
            yield anchor, items


def select(lines, anchors, threshold):
    """The lines of some anchors, in the anchors' order, with the items at or above a threshold.

    Returns them and the anchors that have no line. ValueError where none has one.
    """
    wanted, threshold = set(anchors), float(threshold)
    found = {anchor: [(item, score) for item, score in items
                      if score >= threshold and item != anchor]
             for anchor, items in lines if anchor in wanted}
    missing = [anchor for anchor in anchors if anchor not in found]
    if wanted and not found:
        raise ValueError(f'none of the {len(wanted)} anchors, such as {anchors[0]!r}, has a line '
                         'in the mapped file')
    return [(anchor, found[anchor]) for anchor in anchors if anchor in found], missing


def components(lines, threshold, more_than=1):
    """Groups of all images that similar pairs connect: the grouping, and a Component for each.

    Sorted by falling size, then by anchor, which is the image with the most similar ones, the
    first by name of equal ones. An item's score is the highest threshold at which it is still
    connected with the anchor (single-linkage clustering): so the items at or above any threshold
    are those that the anchor's group has there.
    """
    from scipy.sparse import coo_array, csgraph
    names, a, b, scores = _edges(lines)
    kept = scores >= float(threshold)
    if not kept.any():
        return [], []
    end = float(scores.min())
    a, b, scores, below = a[kept], b[kept], scores[kept], (a[~kept], b[~kept], scores[~kept])
    # ranks as weights, 1 the most similar: a spanning tree of the least weight keeps the best
    values, ranks = np.unique(-scores, return_inverse=True)
    graph = coo_array((ranks + 1.0, (a, b)), (len(names), len(names))).tocsr()
    _, labels = csgraph.connected_components(graph, directed=False)
    degrees = np.bincount(a, minlength=len(names)) + np.bincount(b, minlength=len(names))
    tree = csgraph.minimum_spanning_tree(graph).tocoo()
    # names are sorted: of equal degrees the first comes first
    order = np.lexsort((np.arange(len(names)), -degrees, labels))
    firsts = order[np.unique(labels[order], return_index=True)[1]]
    widths = _widths(len(names), tree, firsts)
    sizes, pairs = np.bincount(labels), np.bincount(labels[a], minlength=len(firsts))
    lowest = np.full(len(firsts), np.inf)
    np.minimum.at(lowest, labels[a], scores)
    inside = labels[below[0]] == labels[below[1]]
    np.minimum.at(lowest, labels[below[0][inside]], below[2][inside])
    mapped = pairs + np.bincount(labels[below[0][inside]], minlength=len(firsts))
    members = np.split(order, np.cumsum(sizes)[:-1])
    found = []
    for label in sorted(np.flatnonzero((sizes > 1) & (sizes > more_than)).tolist(),
                        key=lambda label: (-sizes[label], firsts[label])):
        items = sorted(((names[k], float(-values[widths[k] - 1])) for k in members[label].tolist()
                        if k != firsts[label]), key=lambda item: (-item[1], item[0]))
        size = int(sizes[label])
        known = bool(mapped[label] == size * (size - 1) // 2)
        found.append(((names[firsts[label]], items), Component(
            size, int(pairs[label]), float(lowest[label]) if known else end, known,
            items[-1][1])))
    return [group for group, _ in found], [detail for _, detail in found]


def _edges(lines):
    """Sorted names, and each pair once: numbers a < b of names, and the higher of its scores."""
    numbers, a, b, scores = {}, [], [], []
    for anchor, items in lines:
        for item, score in items:
            if item != anchor:
                a.append(numbers.setdefault(anchor, len(numbers)))
                b.append(numbers.setdefault(item, len(numbers)))
                scores.append(score)
    names = sorted(numbers)
    places = np.empty(len(names), np.int64)
    places[[numbers[name] for name in names]] = np.arange(len(names))
    ends = np.sort([places[a], places[b]], axis=0) if a else np.empty((2, 0), np.int64)
    scores = np.array(scores, np.float64)
    order = np.lexsort((-scores, ends[1], ends[0]))
    ends, scores = ends[:, order], scores[order]
    new = np.ones(len(scores), bool)
    new[1:] = (ends[:, 1:] != ends[:, :-1]).any(0)
    return names, *ends[:, new], scores[new]


def _widths(count, tree, firsts):
    """The greatest weight on the way in a forest from each node to the first of its tree."""
    from scipy.sparse import coo_array, csgraph
    # one root above all firsts: so one walk visits every tree
    rows = np.concatenate([tree.row, np.full(len(firsts), count)])
    columns = np.concatenate([tree.col, firsts])
    weights = np.concatenate([tree.data, np.ones(len(firsts))])
    graph = coo_array((weights, (rows, columns)), (count + 1, count + 1)).tocsr()
    graph = graph + graph.T
    order, above = csgraph.breadth_first_order(graph, count, directed=False)
    widths = np.zeros(count + 1, np.int64)
    weights = {}
    for row, column, weight in zip(tree.row.tolist(), tree.col.tolist(), tree.data.tolist()):
        weights[row, column] = weights[column, row] = int(weight)
    for node in order[1:].tolist():
        parent = int(above[node])
        widths[node] = max(widths[parent], weights.get((parent, node), 0))
    return widths
