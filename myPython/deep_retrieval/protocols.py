"""How a ranking is scored: Oxford and Paris as published, uni-sizes, and the revisited protocols.

    truth = gnd_files.read('datasets/gnd_roxford5k.json')
    for score in protocols.revisited(truth, dataset.queries, rankings):     # Easy, Medium, Hard
        print(protocols.line(score, protocols.conditions('roi')))

Revisited (Radenovic et al., Revisiting Oxford and Paris, CVPR 2018): the query images are outside
the database, and each query grades images as easy, hard or junk.

| protocol | positives | skipped as if absent |
|----------|-----------|----------------------|
| Easy | easy | hard, junk |
| Medium | easy, hard | junk |
| Hard | hard | easy, junk |

A query without positives counts neither in the mean nor as a query of that protocol.
"""

import math
from typing import NamedTuple

import numpy as np

from deep_retrieval import ranking
from deep_retrieval.datasets.revisited import GRADES

REVISITED = {'Easy': ('easy',), 'Medium': ('easy', 'hard'), 'Hard': ('hard',)}
CUTS = (1, 5, 10)       # the k of mP@k


class Score(NamedTuple):
    """What one protocol gives: mean AP and mP@k (0..1) over `precisions`, {query: AP}.

    Both means are NaN where no query has a positive.
    """

    protocol: str
    mean: float
    at: dict
    precisions: dict


def published(dataset_name, crop, uni=None):
    """The name of Oxford's and Paris's own protocol: junk skipped, AP by compute_ap.

    crop : 'roi' (queries cut to their boxes, as published) or 'full'; uni : as of `conditions`
    """
    kind = 'published protocol' if crop == 'roi' and not uni else 'protocol'
    return f"{dataset_name}'s {kind}, {conditions(crop, uni)}"


def conditions(crop, uni=None):
    """What else a number hangs on: the queries' crop, and (height, width) of uni-sizes."""
    sizes = f'uni-sizes {uni[0]} x {uni[1]}, ' if uni else ''
    return f'{sizes}query_crop {crop}'


def uni_size(dataset):
    """(height, width) that all images of a dataset have; ValueError that names one of another."""
    from PIL import Image, UnidentifiedImageError  # reads the head of a file alone
    first = None
    for name in dataset.images:
        path = dataset.image_path(name)
        try:
            with Image.open(path) as image:
                size = image.height, image.width
        except UnidentifiedImageError:
            raise ValueError(f'{path}: is no image') from None
        first = first or size
        if size != first:
            raise ValueError(f'{path}: is of {size[0]} x {size[1]} pixels and others are of '
                             f'{first[0]} x {first[1]}: the uni-sizes protocol needs one size')
    return first


def revisited(truth, queries, rankings):
    """Score rankings by Easy, Medium and Hard; returns three Scores.

    rankings : for each of `queries` (of the truth's), in that order, image names, the best first
    mP@k is the precision among the first k, or down to the last positive where that comes before
    (as the authors' evaluation counts it).
    """
    return [_score(f'{truth.name} {name}', truth, queries, rankings, grades)
            for name, grades in REVISITED.items()]


def line(score, conditions):
    """A Score as a line of text, in percent, with what else it hangs on."""
    cuts = ', '.join(f'mP@{k} {100 * value:.2f}' for k, value in score.at.items())
    return (f'{score.protocol}: mAP {100 * score.mean:.2f}, {cuts} '
            f'({len(score.precisions)} queries, {conditions})')


def _score(protocol, truth, queries, rankings, positive_grades):
    precisions, at = {}, []
    for query, ranked in zip(queries, rankings, strict=True):
        grades = truth.grades[query.name]
        positives = {name for grade in positive_grades for name in grades[grade]}
        if not positives:
            continue
        junk = {name for grade in GRADES for name in grades[grade]} - positives
        precisions[query.name] = ranking.average_precision(ranked, positives, junk)
        at.append([precision_at(k, ranked, positives, junk) for k in CUTS])
    means = np.mean(at, axis=0) if at else [math.nan] * len(CUTS)
    mean = float(np.mean(list(precisions.values()))) if precisions else math.nan
    return Score(protocol, mean, dict(zip(CUTS, map(float, means))), precisions)


def precision_at(k, ranked, positives, junk=()):
    """The share of positives in the first k places, junk skipped; or down to the last positive."""
    places = [place for place, name in enumerate(
        (name for name in ranked if name not in junk), start=1) if name in positives]
    if not places:
        return 0.0
    k = min(k, places[-1])
    return sum(place <= k for place in places) / k
