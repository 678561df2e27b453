"""Count same-origin and unrelated pairs at several similarity thresholds.

    values = steps('0.60', '0.70', '0.01')      # 11 Decimals, both ends included
    table = sweep('mapped.txt', values, groups='groups.txt')
    table.best_f1()                             # an index into table.thresholds

The counts are those of pairs, images (in at least one such pair) and groups. With a ground truth of
groups, a pair is two images, no matter which of them is the anchor. With a list of anchors, as in
the original, a pair is an anchor and an item, and belongs to the anchor's group. An image is never
paired with itself.
"""

import logging
import os
from collections.abc import Iterable
from decimal import Decimal
from itertools import chain
from typing import NamedTuple

import numpy as np

from deep_retrieval.duplicates import mapped_files

HELD = 1 << 20      # pairs collected in lists before they are converted to arrays
NAMED = 3           # number of missing images named in a message

logger = logging.getLogger(__name__)


class Counts(NamedTuple):
    """Pairs, images and groups at each threshold: lists of int."""

    pairs: list
    images: list
    groups: list


class Table(NamedTuple):
    """The counts of a sweep.

    Attributes
    ----------
    thresholds : list of Decimal
    same_origin, unrelated : Counts
    relevant : int
        All same-origin pairs that exist, the denominator of recall.
    asked : int
        Number of anchors asked for; with a ground truth, of images in a same-origin pair.
    missing : list of str
        Those of them that are not in the mapped file.
    lowest : float or None
        The lowest score in the mapped file.
    """

    thresholds: list
    same_origin: Counts
    unrelated: Counts
    relevant: int
    asked: int
    missing: list
    lowest: float | None

    def precision(self) -> list[float | None]:
        """Return the share of same-origin pairs among all, per threshold; None without pairs."""
        return [same / (same + other) if same + other else None
                for same, other in zip(self.same_origin.pairs, self.unrelated.pairs, strict=True)]

    def recall(self) -> list[float | None]:
        """Return the share of existing same-origin pairs that are found; None if there are none."""
        return [same / self.relevant if self.relevant else None
                for same in self.same_origin.pairs]

    def f1(self) -> list[float | None]:
        """Return the harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN)."""
        return [2 * same / (same + other + self.relevant) if same + other + self.relevant else None
                for same, other in zip(self.same_origin.pairs, self.unrelated.pairs, strict=True)]

    def best_f1(self) -> int | None:
        """Return the index of the highest F1 (ties: lowest threshold); None without pairs."""
        values = [value or 0 for value in self.f1()]
        return values.index(max(values)) if any(values) else None

    def reaching(self, precision: Decimal | float) -> int | None:
        """Return the index of the lowest threshold with at least this precision, or None."""
        return next((place for place, value in enumerate(self.precision())
                     if value is not None and value >= float(precision)), None)


def sweep(mapped: str | os.PathLike, thresholds: list[Decimal], *,
          groups: str | os.PathLike | None = None, anchors: list[str] | None = None,
          missing: str | os.PathLike | None = None) -> Table:
    """Count the pairs of a mapped file at several thresholds.

    Warns about missing anchors, and about thresholds below the lowest score in the file.

    Parameters
    ----------
    mapped : str or PathLike
        The mapped file.
    thresholds : list of Decimal
        In ascending order.
    groups : str or PathLike, optional
        The ground truth (see `mapped_files.read_groups`). Without it, pairs are counted by anchors.
    anchors : list of str, optional
        Anchors whose items are of the same origin; by default all.
    missing : str or PathLike, optional
        File to write the names of the missing anchors to.

    Raises
    ------
    ValueError
        None of the anchors is in the mapped file.
    """
    lines = mapped_files.read(mapped)
    if groups is None:
        table, noun = count_anchors(lines, anchors, thresholds), 'anchors'
    else:
        table = count_groups(lines, mapped_files.read_groups(groups), thresholds)
        noun = 'images with others of their origin'
    report_missing(table.missing, table.asked, mapped, noun, missing)
    if table.lowest is not None and table.lowest >= thresholds[min(1, len(thresholds) - 1)]:
        logger.warning('%s: its lowest score is %s; pairs below it cannot be counted', mapped,
                       table.lowest)
    return table


def report_missing(names: list[str], asked: int, where: str | os.PathLike, noun: str = 'anchors',
                   path: str | os.PathLike | None = None) -> None:
    """Warn about names that were not found.

    Parameters
    ----------
    names : list of str
    asked : int
        How many names were looked for.
    where : str or PathLike
        The file that they were looked for in.
    noun : str
        What the names stand for.
    path : str or PathLike, optional
        File to write the missing names to.

    Raises
    ------
    ValueError
        All of them are missing.
    """
    if path:
        mapped_files.write_names(path, names)
    if names and len(names) == asked:
        raise ValueError(f'{where}: has none of the {asked} {noun}, such as {names[0]!r}')
    if names:
        more = (f' and {len(names) - NAMED} more (--missing FILE lists them)'
                if len(names) > NAMED else '')
        some = ', '.join(map(mapped_files.printable, names[:NAMED]))
        logger.warning('%s: %d of %d %s are not in it: %s%s', where, len(names), asked, noun, some,
                       more)


def count_groups(lines: Iterable, groups: dict[str, list[str]], thresholds: list) -> Table:
    """Count the pairs of images in a mapped file using a ground truth.

    Parameters
    ----------
    lines : iterable of (anchor, [(item, score), ...])
        Read once.
    groups : dict of id to names
        An image in no group has no same-origin images.
    thresholds : list of Decimal
    """
    numbers = {name: k for k, name in enumerate(chain.from_iterable(groups.values()))}
    group_of = np.repeat(np.arange(len(groups)), [len(names) for names in groups.values()])
    pairs = _Pairs(lines, numbers, thresholds)
    group_of = np.append(group_of, np.full(len(numbers) - len(group_of), -1))
    a, b, levels = pairs.of_images()
    same = (group_of[a] == group_of[b]) & (group_of[a] >= 0)
    counts = [_count(len(thresholds), levels[kind], [a[kind], b[kind]],
                     [group_of[a[kind]], group_of[b[kind]]]) for kind in (same, ~same)]
    relevant = sum(len(names) * (len(names) - 1) // 2 for names in groups.values())
    asked = [name for names in groups.values() if len(names) > 1 for name in names]
    return _table(thresholds, counts, relevant, asked, pairs)


def count_anchors(lines: Iterable, good: list[str] | None, thresholds: list) -> Table:
    """Count pairs of anchors and items; the items of the anchors `good` are of the same origin.

    Parameters
    ----------
    lines : iterable of (anchor, [(item, score), ...])
        Read once.
    good : list of str, or None
        None for all anchors. All their pairs in the file count as relevant.
    thresholds : list of Decimal
    """
    asked = list(dict.fromkeys(good or ()))
    pairs = _Pairs(lines, {name: k for k, name in enumerate(asked)}, thresholds)
    same = pairs.a < (len(asked) if good is not None else np.inf)
    counts = [_count(len(thresholds), pairs.levels[kind], [pairs.a[kind], pairs.b[kind]],
                     [pairs.a[kind]]) for kind in (same, ~same)]
    return _table(thresholds, counts, int(same.sum()), asked, pairs)


def _table(thresholds, counts, relevant, asked, pairs):
    missing = [name for name in asked if name not in pairs.anchors]
    return Table(thresholds, *counts, relevant, len(asked), missing, pairs.lowest)


def _count(count, levels, images, groups):
    """Return the Counts of pairs that reach the first `levels` of `count` thresholds.

    images, groups : lists of arrays with the images and groups of each pair; -1 is no group
    """
    counts = Counts([], [], [])
    for level in range(1, count + 1):
        reach = levels >= level
        counts.pairs.append(int(reach.sum()))
        for found, numbers in ((counts.images, images), (counts.groups, groups)):
            seen = np.zeros(2 + max(values.max(initial=-1) for values in numbers), bool)
            for values in numbers:
                seen[values[reach] + 1] = True      # the first entry stands for no group
            found.append(int(seen[1:].sum()))
    return counts


class _Pairs:
    """The pairs of a mapped file, 10 bytes each: arrays of one length.

    a, b : numbers of anchor and item; new names are added to `numbers` (name -> number)
    levels : how many thresholds each pair reaches
    anchors : the names with a line
    lowest : the lowest score; None for a file without scores
    """

    def __init__(self, lines, numbers, thresholds):
        limits = np.array([float(value) for value in thresholds])
        self.anchors, self.lowest = set(), None
        parts, held = [], ([], [], [], [])
        for anchor, items in lines:
            self.anchors.add(anchor)
            held[0].append(numbers.setdefault(anchor, len(numbers)))
            held[1].append(len(items))
            held[2].extend([numbers.setdefault(item, len(numbers)) for item, _ in items])
            held[3].extend([score for _, score in items])
            if len(held[2]) >= HELD:
                parts.append(self._part(held, limits))
                held = ([], [], [], [])
        parts.append(self._part(held, limits))
        self.a, self.b, self.levels = map(np.concatenate, zip(*parts, strict=True))

    def _part(self, held, limits):
        anchors, counts, items, scores = map(np.array, held)
        if len(scores):
            self.lowest = min(scores.min(), np.inf if self.lowest is None else self.lowest)
        a, b = np.repeat(anchors.astype(np.int32), counts.astype(int)), items.astype(np.int32)
        # comparing floats that were parsed from at most 15 digits compares the decimals
        levels = np.searchsorted(limits, scores, 'right').astype(np.int16)
        other = a != b      # an image is not paired with itself
        return a[other], b[other], levels[other]

    def of_images(self):
        """Return a, b and levels of each pair of images once, no matter which is the anchor."""
        keys = np.minimum(self.a, self.b).astype(np.int64) << 32 | np.maximum(self.a, self.b)
        order = np.argsort(keys, kind='stable')
        keys = keys[order]
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[:len(keys)])
        levels = np.maximum.reduceat(self.levels[order], starts) if len(keys) else self.levels
        return keys[starts] >> 32, keys[starts] & 0xffffffff, levels
