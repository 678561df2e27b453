"""How many similar pairs are of the same origin at each of some thresholds, and how many are not.

    values = steps('0.60', '0.70', '0.01')      # 11 Decimals, both ends among them
    table = count_groups(read('mapped.txt'), read_groups('groups.txt'), values)
    table.best_f1()         # a place in table.thresholds

Counted are pairs, images (those in at least one such pair) and groups. With the ground truth of
groups a pair is one of two images, whichever of them is the anchor; with a list of anchors, as the
original has it, a pair is an anchor with an item, and its group is the anchor's. An image is in no
pair with itself.
"""

from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import NamedTuple, Optional

import numpy as np

HELD = 1 << 20      # pairs that are held in lists before they become arrays


def decimal(text):
    """A number exactly as it is written; ValueError for anything else."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal('nan')
    if not value.is_finite():
        raise ValueError(f'{text!r} is no number')
    return value


def steps(low, high, step):
    """The thresholds from `low` to `high`, both among them, as exact Decimals.

    ValueError for a step that does not lead from one to the other.
    """
    low, high, step = map(decimal, (low, high, step))
    if step <= 0:
        raise ValueError(f'thresholds from {low} to {high} by {step}: the step must be above 0')
    if low > high or (high - low) % step:
        raise ValueError(f'no whole number of steps of {step} leads from {low} to {high}')
    return [low + step * k for k in range(int((high - low) / step) + 1)]


class Counts(NamedTuple):
    """Pairs, images and groups at each threshold: lists of int."""

    pairs: list
    images: list
    groups: list


class Table(NamedTuple):
    """What a sweep counts.

    same_origin, unrelevant : Counts
    relevant : the same-origin pairs that there are to be found
    asked : how many anchors are wanted; in a ground truth, images of a same-origin pair
    missing : those of them that have no line in the mapped file
    lowest : the lowest score of the mapped file, or None
    """

    thresholds: list
    same_origin: Counts
    unrelevant: Counts
    relevant: int
    asked: int
    missing: list
    lowest: Optional[float]

    def precision(self):
        """The share of same-origin pairs among all, at each threshold; None for no pair."""
        return [same / (same + other) if same + other else None
                for same, other in zip(self.same_origin.pairs, self.unrelevant.pairs)]

    def recall(self):
        """The share of the same-origin pairs that is found; None where there are none."""
        return [same / self.relevant if self.relevant else None
                for same in self.same_origin.pairs]

    def f1(self):
        """The harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN)."""
        return [2 * same / (same + other + self.relevant) if same + other + self.relevant else None
                for same, other in zip(self.same_origin.pairs, self.unrelevant.pairs)]

    def best_f1(self):
        """The place of the greatest F1, the lowest threshold of equal ones; None without pairs."""
        values = [value or 0 for value in self.f1()]
        return values.index(max(values)) if any(values) else None

    def reaching(self, precision):
        """The place of the lowest threshold with at least this precision, or None."""
        return next((place for place, value in enumerate(self.precision())
                     if value is not None and value >= float(precision)), None)


def count_groups(lines, groups, thresholds):
    """Table of the pairs of images in a mapped file, by the ground truth {id: [name, ...]}.

    lines : (anchor, [(item, score), ...]), read once; images of no group are of no other's origin
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


def count_anchors(lines, good, thresholds):
    """Table of the anchors with their items: those of the anchors `good` are of the same origin.

    good : names, or None for all anchors; relevant are all pairs of theirs that the file has
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
    """Counts of pairs that reach the first `levels` of `count` thresholds.

    images, groups : the numbers of those that a pair is in, lists of arrays; -1 is no group
    """
    counts = Counts([], [], [])
    for level in range(1, count + 1):
        reach = levels >= level
        counts.pairs.append(int(reach.sum()))
        for found, numbers in ((counts.images, images), (counts.groups, groups)):
            seen = np.zeros(2 + max(values.max(initial=-1) for values in numbers), bool)
            for values in numbers:
                seen[values[reach] + 1] = True      # the first place is of no group
            found.append(int(seen[1:].sum()))
    return counts


class _Pairs:
    """The pairs of a mapped file, 10 bytes each: arrays of one length.

    a, b : numbers of anchor and item, which `numbers` (name -> number) is given more of
    levels : how many thresholds each reaches
    anchors : the names that have a line
    lowest : the lowest score, None for a file without any
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
        self.a, self.b, self.levels = (np.concatenate(values) for values in zip(*parts))

    def _part(self, held, limits):
        anchors, counts, items, scores = map(np.array, held)
        if len(scores):
            self.lowest = min(scores.min(), np.inf if self.lowest is None else self.lowest)
        a, b = np.repeat(anchors.astype(np.int32), counts.astype(int)), items.astype(np.int32)
        # comparing floats that were decimals of 15 digits or fewer compares the decimals
        levels = np.searchsorted(limits, scores, 'right').astype(np.int16)
        other = a != b      # an image is not similar to itself
        return a[other], b[other], levels[other]

    def of_images(self):
        """a, b and levels of each pair of images once, whichever of them is the anchor."""
        keys = np.minimum(self.a, self.b).astype(np.int64) << 32 | np.maximum(self.a, self.b)
        order = np.argsort(keys, kind='stable')
        keys = keys[order]
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[:len(keys)])
        levels = np.maximum.reduceat(self.levels[order], starts) if len(keys) else self.levels
        return keys[starts] >> 32, keys[starts] & 0xffffffff, levels
