"""Groups of near-duplicate images from a mapped file.

    found = group_mapped('mapped.txt', Decimal('0.7'), more_than=5)
    found[0].anchor, found[0].hits          # 'a.jpg', [Hit('b.jpg', 0.93), ...]

A group is an anchor with its similar images, or all images that are connected by similar pairs.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from deep_retrieval.duplicates import GIANT, mapped_files
from deep_retrieval.duplicates.mapped_files import printable
from deep_retrieval.ranking import Hit

logger = logging.getLogger(__name__)


class Component(NamedTuple):
    """Facts about a group of connected images.

    Attributes
    ----------
    images : int
    pairs : int
        Number of pairs with similarity >= threshold, out of images * (images - 1) / 2.
    lowest : float
        The lowest similarity of two of the images.
    known : bool
        Whether the mapped file has all pairs of the group. If not, `lowest` is the lowest score in
        the file, and some pairs are below it.
    link : float
        The weakest similarity needed: at a higher threshold the group falls apart.
    """

    images: int
    pairs: int
    lowest: float
    known: bool
    link: float

    def lowest_text(self) -> str:
        """Return the lowest similarity as text."""
        return str(self.lowest) if self.known else f'below {self.lowest}'


class Group(NamedTuple):
    """Near-duplicate (same-origin) images.

    Attributes
    ----------
    anchor : str
    hits : list of Hit
        The other images with their similarity to the anchor, most similar first.
    component : Component or None
        Set if the images were grouped as connected ones.
    """

    anchor: str
    hits: list
    component: Component | None = None

    @property
    def names(self) -> list[str]:
        """The names of all images of the group, the anchor first."""
        return [self.anchor, *(hit.name for hit in self.hits)]


class Totals(NamedTuple):
    """Numbers of groups, of images in them, and of pairs of an anchor and an item."""

    groups: int
    images: int
    pairs: int


def group_mapped(mapped: str | os.PathLike, threshold: Decimal | float, *, more_than: int = 5,
                 connected: bool = False, giant: int = GIANT,
                 most: int | None = None) -> list[Group]:
    """Group the images of a mapped file.

    Parameters
    ----------
    mapped : str or PathLike
    threshold : Decimal
        Minimum similarity.
    more_than : int
        Leave out groups with this many images or fewer.
    connected : bool
        Group all images connected by pairs, so that each image is in one group (see `components`).
        By default every anchor with its items is a group.
    giant : int
        Warn about connected groups with more images.
    most : int, optional
        Return only the first groups.

    Raises
    ------
    ValueError
        There are no groups.
    """
    lines = mapped_files.read(mapped)
    if connected:
        found = components(lines, threshold, more_than)
        for anchor, _, component in found:
            if component.images > giant:
                logger.warning('the component of %s is a giant of %d images with a lowest '
                               'similarity %s; above %s it falls apart', printable(anchor),
                               component.images, component.lowest_text(), component.link)
    else:
        found = list(by_anchor(lines, threshold, more_than))
    if not found:
        raise ValueError(f'{mapped}: no group has more than {more_than} images '
                         f'(--min_img_num_per_group) at a threshold of {threshold}')
    return found[:most]


def totals(groups: list[Group]) -> Totals:
    """Count groups, their images, and pairs of an anchor and an item."""
    images = {name for group in groups for name in group.names}
    return Totals(len(groups), len(images), sum(len(group.hits) for group in groups))


def by_anchor(lines: Iterable, threshold: Decimal | float, more_than: int = 0) -> Iterator[Group]:
    """Yield each anchor with its items with similarity >= threshold, if there are any.

    Parameters
    ----------
    lines : iterable of (anchor, [(item, score), ...])
    threshold : Decimal
    more_than : int
        Leave out groups with this many images or fewer, counting the anchor.
    """
    threshold = float(threshold)    # 0.7 as a float64 is less than as a Decimal
    for anchor, items in lines:
        hits = _hits(anchor, items, threshold)
        if hits and len(hits) + 1 > more_than:
            yield Group(anchor, hits)


def select(lines: Iterable, anchors: list[str],
           threshold: Decimal | float) -> tuple[list[Group], list[str]]:
    """Return the groups of some anchors, in their order, and the anchors without a line.

    Raises
    ------
    ValueError
        None of the anchors has a line.
    """
    wanted, threshold = set(anchors), float(threshold)
    found = {anchor: _hits(anchor, items, threshold) for anchor, items in lines if anchor in wanted}
    missing = [anchor for anchor in anchors if anchor not in found]
    if wanted and not found:
        raise ValueError(f'none of the {len(wanted)} anchors, such as {anchors[0]!r}, has a line '
                         'in the mapped file')
    return [Group(anchor, found[anchor]) for anchor in anchors if anchor in found], missing


def components(lines: Iterable, threshold: Decimal | float, more_than: int = 1) -> list[Group]:
    """Group all images that are connected by similar pairs (single-linkage clustering).

    Parameters
    ----------
    lines : iterable of (anchor, [(item, score), ...])
    threshold : Decimal
        Minimum similarity of a pair.
    more_than : int
        Leave out groups with this many images or fewer.

    Returns
    -------
    list of Group
        By decreasing size, then by anchor. The anchor is the image with the most similar images
        (ties: first by name). A hit's similarity is the highest threshold at which it is still
        connected with the anchor. So for any higher threshold, the hits at or above it are exactly
        the anchor's group at that threshold.
    """
    names, a, b, scores = _edges(lines)
    kept = scores >= float(threshold)
    if not kept.any():
        return []
    values, labels, firsts, widths = _linked(names, a[kept], b[kept], scores[kept])
    facts = _facts(labels, a, b, scores, kept)
    sizes = np.bincount(labels)
    members = np.split(np.argsort(labels, kind='stable'), np.cumsum(sizes)[:-1])
    found = []
    for label in sorted(np.flatnonzero((sizes > 1) & (sizes > more_than)).tolist(),
                        key=lambda label: (-sizes[label], firsts[label])):
        hits = sorted((Hit(names[k], float(-values[widths[k] - 1]))
                       for k in members[label].tolist() if k != firsts[label]),
                      key=lambda hit: (-hit.similarity, hit.name))
        found.append(Group(names[firsts[label]], hits, Component(
            int(sizes[label]), *facts(label, int(sizes[label])), hits[-1].similarity)))
    return found


def _hits(anchor, items, threshold):
    return [Hit(item, score) for item, score in items if score >= threshold and item != anchor]


def _linked(names, a, b, scores):
    """Compute how names are connected by pairs (a, b).

    Returns `values`: the negative scores, ascending; `labels`: the component of each name;
    `firsts`: the anchor of each component; `widths`: for each name, the rank in `values` (from 1)
    that connects it with its anchor.
    """
    from scipy.sparse import coo_array, csgraph
    # ranks as weights, 1 for the most similar: a minimum spanning tree keeps the best links
    values, ranks = np.unique(-scores, return_inverse=True)
    graph = coo_array((ranks + 1.0, (a, b)), (len(names), len(names))).tocsr()
    _, labels = csgraph.connected_components(graph, directed=False)
    degrees = np.bincount(a, minlength=len(names)) + np.bincount(b, minlength=len(names))
    tree = csgraph.minimum_spanning_tree(graph).tocoo()
    # names are sorted: the first of equal degrees comes first
    order = np.lexsort((np.arange(len(names)), -degrees, labels))
    firsts = order[np.unique(labels[order], return_index=True)[1]]
    return values, labels, firsts, _widths(len(names), tree, firsts)


def _facts(labels, a, b, scores, kept):
    """Return a function (label, size of a component) -> its `pairs`, `lowest` and `known`."""
    count = labels.max() + 1
    inside = labels[a] == labels[b]
    pairs, mapped = (np.bincount(labels[a[some]], minlength=count) for some in (kept, inside))
    lowest = np.full(count, np.inf)
    np.minimum.at(lowest, labels[a[inside]], scores[inside])
    end = float(scores.min())

    def of(label, size):
        known = bool(mapped[label] == size * (size - 1) // 2)
        return int(pairs[label]), float(lowest[label]) if known else end, known
    return of


def _edges(lines):
    """Return the sorted names, and each pair once: indices a < b, and its higher score."""
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
    """Return the largest weight on each node's path to the first node of its tree in a forest."""
    from scipy.sparse import coo_array, csgraph
    # a common root above all first nodes, so that one walk visits every tree
    rows = np.concatenate([tree.row, np.full(len(firsts), count)])
    columns = np.concatenate([tree.col, firsts])
    weights = np.concatenate([tree.data, np.ones(len(firsts))])
    graph = coo_array((weights, (rows, columns)), (count + 1, count + 1)).tocsr()
    graph = graph + graph.T
    order, above = csgraph.breadth_first_order(graph, count, directed=False)
    widths = np.zeros(count + 1, np.int64)
    weights = {}
    edges = (tree.row.tolist(), tree.col.tolist(), tree.data.tolist())
    for row, column, weight in zip(*edges, strict=True):
        weights[row, column] = weights[column, row] = int(weight)
    for node in order[1:].tolist():
        parent = int(above[node])
        widths[node] = max(widths[parent], weights.get((parent, node), 0))
    return widths
