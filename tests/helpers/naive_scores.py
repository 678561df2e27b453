"""Scores of a dataset computed one image and one place at a time."""

from fractions import Fraction

import cv2
import numpy as np
from deep_retrieval import metrics, model
from tiny import PROTO
from tiny import WEIGHTS as TINY

NEAR = 1e-6     # what the order of sums in a net and in inner products can change


def naive_precisions(dataset, S, L=2, crop=True, scales=(0,), dbe=0, aqe=0):
    """The whole of test.py one image at a time, in plain NumPy behind the net.

    Returns {query: [least AP, greatest AP]}, over the orders of similarities closer than NEAR.
    """
    net = model.DescriptorNet(PROTO, TINY, L)

    def describe(name, box):
        total = 0
        for step in scales:
            image = cv2.imread(dataset.image_path(name))
            ratio = (S + step) / max(image.shape[:2])
            image = cv2.resize(image, (round(image.shape[1] * ratio),
                                       round(image.shape[0] * ratio)))
            if box:
                x1, y1, x2, y2 = (round(value * ratio) for value in box)
                image = image[y1:y2, x1:x2]
            total = total + net([image])[0]
        return total / np.linalg.norm(total)
    X = np.array([describe(name, None) for name in dataset.images])
    Q = np.array([describe(query.image, query.box if crop else None) for query in dataset.queries])
    if dbe:
        weights = np.array([1] + [(dbe - i) / dbe for i in range(dbe)])
        order = np.argsort(-(X @ X.T), axis=1)
        X = np.array([weights @ X[row[:dbe + 1]] / weights.sum() for row in order])
    if aqe:
        order = np.argsort(-(Q @ X.T), axis=1)
        Q = np.array([np.vstack([q, X[row[:aqe]]]).mean(0) for q, row in zip(Q, order)])
    result = {}
    for query, similar in zip(dataset.queries, Q @ X.T):
        good, ok, junk = dataset.ground_truth(query)
        order = np.argsort(-similar)
        group = np.cumsum(np.diff(similar[order], prepend=2) < -NEAR)
        found = [dataset.images[i] for i in order]
        ends = []
        for first in (False, True):     # the positives of a group come last, or first
            places = sorted(range(len(found)), key=lambda place: (
                group[place], (found[place] in good + ok) != first))
            ends.append(100 * metrics.average_precision_oxford(
                [found[place] for place in places], good + ok, junk))
        result[query.name] = ends
    return result


def within(value, ends):
    """Whether a printed value is between two numbers, in percent."""
    return ends[0] - 0.011 <= value <= ends[1] + 0.011


def naive_voc(relevance, positives):
    """At each recall r/R the best precision of any prefix that recalls at least as much."""
    total = Fraction(0)
    for r in range(1, positives + 1):
        total += max((Fraction(sum(relevance[:k]), k) for k in range(1, len(relevance) + 1)
                      if sum(relevance[:k]) >= r), default=Fraction(0))
    return total / positives


def naive_precision(relevance, positives):
    return Fraction(sum(relevance[:positives]), positives)
