"""Score rankings: definitions of average precision, protocols, and text reports.

    average_precision_oxford(['c', 'a', 'b'], {'a', 'b'}, junk={'c'})       # 1.0
    easy, medium, hard = revisited(dataset.gnd, dataset.queries, rankings)
    print(*report(per_query, 'query_crop roi'), sep='\n')

Two definitions of average precision are in use:

| name | sum over the positives' places of | used for |
|------|-----------------------------------|----------|
| oxford | the mean precision of this place and the one before | Oxford, Paris, revisited |
| voc2010 | the best precision from this place on | covers, landmarks, classes |

In the revisited protocols (Radenovic et al., Revisiting Oxford and Paris, CVPR 2018), each query
grades images as easy, hard or junk:

| protocol | positives | skipped as if absent |
|----------|-----------|----------------------|
| Easy | easy | hard, junk |
| Medium | easy, hard | junk |
| Hard | hard | easy, junk |

A query without positives is not included in the mean of that protocol.
"""

import math
import os
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from deep_retrieval import optional
from deep_retrieval.datasets.base import Dataset
from deep_retrieval.datasets.revisited import GRADES, GroundTruth

REVISITED = {'Easy': ('easy',), 'Medium': ('easy', 'hard'), 'Hard': ('hard',)}
CUTS = (1, 5, 10)       # the k of mP@k


def average_precision_oxford(ranked: Iterable, positives: Iterable, junk: Iterable = ()) -> float:
    """Return the average precision of a ranking as defined by `eval/compute_ap`, in float64.

    It is the area under the precision-recall curve by trapezoids, starting at precision 1 and
    recall 0 (Philbin et al., CVPR 2007).

    Parameters
    ----------
    ranked : names or indices, best first
        If an item is ranked twice, only its first place counts.
    positives : items
        All positives, ranked or not, count for recall.
    junk : items
        Skipped as if absent, even if they are positives.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    ValueError
        There are no positives.

    Examples
    --------
    >>> average_precision_oxford(['c', 'a', 'b'], {'a', 'b'}, junk={'c'})
    1.0

    a adds (1 + 1) / 2, b after x adds (1/2 + 2/3) / 2; the sum is divided by two positives:

    >>> round(average_precision_oxford(['a', 'x', 'b'], {'a', 'b'}), 4)
    0.7917
    """
    positives, junk = set(positives), set(junk)
    if not positives:
        raise ValueError('average precision needs at least one positive')
    area, hits, last_precision = 0.0, 0, 1.0
    items = (item for item in dict.fromkeys(ranked) if item not in junk)
    for place, item in enumerate(items, start=1):
        hit = item in positives
        hits += hit
        precision = hits / place
        if hit:  # recall increases only at a hit
            area += (last_precision + precision) / 2
        last_precision = precision
    return area / len(positives)


def average_precision_voc2010(relevance: Sequence[bool] | np.ndarray, positives: int) -> float:
    """Return the average precision of a ranking as defined by VOC 2010, in float64.

    It is the area under the monotone precision-recall curve: the precision at each recall is the
    best precision at this or a higher recall (Everingham and Winn, The PASCAL Visual Object Classes
    Challenge 2010 Development Kit).

    Parameters
    ----------
    relevance : N booleans
        Whether each place of the ranking is a positive, best first, without junk.
    positives : int
        Number of positives, ranked or not; those that are not ranked contribute 0.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    ValueError
        `positives` is 0, or less than the number of positives in the ranking.

    Examples
    --------
    The precisions at the two positives are 1 and 2/3:

    >>> round(average_precision_voc2010([True, False, True], positives=2), 4)
    0.8333
    """
    places = np.flatnonzero(_relevance(relevance, positives))
    precisions = np.arange(1, len(places) + 1) / (places + 1)  # at each recall that is reached
    return float(np.maximum.accumulate(precisions[::-1]).sum() / positives)


def precision_at_r(relevance: Sequence[bool] | np.ndarray, positives: int) -> float:
    """Return the share of positives in the first R places, where R is the number of positives.

    Parameters and errors are those of `average_precision_voc2010`. Missing places count as wrong.

    >>> precision_at_r([True, False, True], positives=2)
    0.5
    """
    return float(_relevance(relevance, positives)[:positives].sum() / positives)


def precision_at_k(k: int, ranked: Iterable, positives: Collection, junk: Collection = ()) -> float:
    """Return the share of positives in the first k places, without junk.

    If the last positive is ranked before place k, its rank is used instead of k, as in the
    evaluation code of the revisited datasets.

    Parameters
    ----------
    k : int
    ranked : names or indices, best first
    positives, junk : sets of items

    Examples
    --------
    >>> precision_at_k(2, ['a', 'x', 'b'], {'a', 'b'})
    0.5
    >>> round(precision_at_k(10, ['a', 'x', 'b', 'y'], {'a', 'b'}), 4)      # of the first 3
    0.6667
    """
    places = [place for place, name in enumerate(
        (name for name in ranked if name not in junk), start=1) if name in positives]
    if not places:
        return 0.0
    k = min(k, places[-1])
    return sum(place <= k for place in places) / k


class Score(NamedTuple):
    """The result of one protocol.

    Attributes
    ----------
    protocol : str
    mean : float
        Mean average precision, 0 to 1; NaN if no query has positives.
    at : dict of k to mP@k, 0 to 1, for the same queries
    precisions : dict of query name to average precision
    """

    protocol: str
    mean: float
    at: dict
    precisions: dict


def published(dataset_name: str, crop: str, uni: tuple | None = None) -> str:
    """Return the name of the protocol of Oxford and Paris: junk skipped, AP by compute_ap.

    crop : 'roi' (queries cropped to their boxes, as published) or 'full'; uni : as in `conditions`
    """
    kind = 'published protocol' if crop == 'roi' and not uni else 'protocol'
    return f"{dataset_name}'s {kind}, {conditions(crop, uni)}"


def conditions(crop: str, uni: tuple | None = None) -> str:
    """Return the conditions of a score as text: query crop, and (height, width) of uni-sizes."""
    sizes = f'uni-sizes {uni[0]} x {uni[1]}, ' if uni else ''
    return f'{sizes}query_crop {crop}'


def uni_size(dataset: Dataset) -> tuple[int, int]:
    """Return the (height, width) in pixels of all images of a dataset.

    Raises
    ------
    ValueError
        An image has another size, or is not an image. The one-line message names it.
    """
    Image = optional.need('PIL.Image', 'gallery')   # reads the header only
    first = None
    for name in dataset.images:
        path = dataset.image_path(name)
        try:
            with Image.open(path) as image:
                size = image.height, image.width
        except Image.UnidentifiedImageError:
            raise ValueError(f'{path}: is not an image') from None
        first = first or size
        if size != first:
            raise ValueError(f'{path}: has {size[0]} x {size[1]} pixels, and others have '
                             f'{first[0]} x {first[1]}: the uni-sizes protocol needs one size')
    return first


def revisited(gnd: GroundTruth, queries: list, rankings: list) -> list[Score]:
    """Score rankings with the revisited protocols Easy, Medium and Hard.

    Parameters
    ----------
    gnd : revisited.GroundTruth
    queries : list of Query
    rankings : list of lists of image names, one per query, best first

    Returns
    -------
    list of three Scores
    """
    return [_score(f'{gnd.name} {name}', gnd, queries, rankings, grades)
            for name, grades in REVISITED.items()]


def mean(precisions: dict) -> float:
    """Return the mean of a dict {query: AP}."""
    return sum(precisions.values()) / len(precisions)


def report(precisions: dict, condition: str) -> list[str]:
    """Format each query's AP and the mean, in percent, as lines of text.

    >>> print(*report({'bell': 1.0, 'gate': 0.5}, 'query_crop roi'), sep='\\n')
    bell: 100.00
    gate: 50.00
    --------------------
    Mean: 75.00 (query_crop roi)
    """
    return [*(f'{printable(name)}: {100 * value:.2f}' for name, value in precisions.items()),
            '-' * 20, f'Mean: {100 * mean(precisions):.2f} ({condition})']


def report_voc(answers: list) -> list[str]:
    """Format each query's AP, the mean precision at R and the mAP, in percent, as lines of text.

    answers : list of evaluate.Answer
    """
    precision = np.mean([answer.precision for answer in answers])
    mean = np.mean([answer.average_precision for answer in answers])
    return [*(f'{printable(answer.query.name)}: {100 * answer.average_precision:.2f}'
              for answer in answers), '-' * 20,
            f'precision: {100 * precision:.2f} (at R, the number of positives of a query)',
            f'mAP: {100 * mean:.2f} (VOC 2010)']


def line(score: Score, conditions: str) -> str:
    """Format a Score and its conditions as a line of text, in percent."""
    cuts = ', '.join(f'mP@{k} {100 * value:.2f}' for k, value in score.at.items())
    return (f'{score.protocol}: mAP {100 * score.mean:.2f}, {cuts} '
            f'({len(score.precisions)} queries, {conditions})')


def printable(name: str) -> str:
    """Return a file name as printable text, even if it has bytes that are not text."""
    return os.fsencode(name).decode('utf-8', 'replace')


def _score(protocol, gnd, queries, rankings, positive_grades):
    precisions, at = {}, []
    for query, ranked in zip(queries, rankings, strict=True):
        grades = gnd.grades[query.name]
        positives = {name for grade in positive_grades for name in grades[grade]}
        if not positives:
            continue
        junk = {name for grade in GRADES for name in grades[grade]} - positives
        precisions[query.name] = average_precision_oxford(ranked, positives, junk)
        at.append([precision_at_k(k, ranked, positives, junk) for k in CUTS])
    means = np.mean(at, axis=0) if at else [math.nan] * len(CUTS)
    mean = float(np.mean(list(precisions.values()))) if precisions else math.nan
    return Score(protocol, mean, dict(zip(CUTS, map(float, means), strict=True)), precisions)


def _relevance(relevance, positives):
    """Return the relevance of a ranking as booleans, checked against the number of positives."""
    relevance = np.asarray(relevance, bool)
    if relevance.ndim != 1:
        raise ValueError(f'the relevance of one ranking is a list, not of shape {relevance.shape}')
    if positives < 1:
        raise ValueError('a ranking is scored by at least one positive')
    if relevance.sum() > positives:
        raise ValueError(f'{relevance.sum()} places hold a positive, but there are {positives}')
    return relevance
