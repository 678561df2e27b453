"""A model scored on a dataset: described, ranked, and judged by the dataset's protocol.

    result = evaluate(load_model(), open_dataset('datasets/Oxford'), S=800, multires=True)
    result.mean, result.per_query, result.protocol
"""

import copy
import dataclasses
import logging
import os

import numpy as np

from deep_retrieval import compute_ap, paths, progress, protocols, ranking
from deep_retrieval.extraction import Item, extract_scales, feature_path
from deep_retrieval.saved_features import PARTS
from deep_retrieval.scales import STEP, scales_of

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Result:
    """How a model does on a dataset.

    Attributes
    ----------
    mean : float
        Mean average precision, 0 to 1; Medium for the revisited protocols.
    per_query : dict of query name to average precision, 0 to 1
    protocol : str
        What was measured and how.
    scores : list of protocols.Score
        Easy, Medium and Hard of the revisited protocols; otherwise empty.
    query_crop : 'roi' or 'full'
    queries : list of Query
        Those that have a descriptor, in the order of the rankings.
    rankings, similarities : lists of image names and of similarities per query, the best first
    """

    mean: float
    per_query: dict
    protocol: str
    query_crop: str = 'roi'
    scores: list = dataclasses.field(default_factory=list, repr=False)
    queries: list = dataclasses.field(default_factory=list, repr=False)
    rankings: list = dataclasses.field(default_factory=list, repr=False)
    similarities: list = dataclasses.field(default_factory=list, repr=False)

    def lines(self) -> list[str]:
        """Return the result as text: the AP of every query and the mean, in percent.

        Of the revisited protocols, one line for each of Easy, Medium and Hard.
        """
        if self.scores:
            return [protocols.line(score, protocols.conditions(self.query_crop))
                    for score in self.scores]
        return compute_ap.report(self.per_query, self.protocol)


def evaluate(model, dataset, *, S: int | None = None, multires: str | bool = False,
             multires_step: int = STEP, aqe: int | None = None, dbe: int | None = None,
             query_crop: str = 'roi', cache: str | os.PathLike | None = None,
             batch_size: int = 4, skip_bad: bool = False,
             eval_binary: str | os.PathLike | None = None, show_progress: bool = True) -> Result:
    """Score a model on a dataset with Oxford's layout, or by the revisited protocols.

    Parameters
    ----------
    model : Model
    dataset : Dataset
        As `open_dataset` returns it.
    S : int, optional
        Longer side in pixels that images are resized to; by default the model's.
    multires : bool or str
        Sum the descriptors of several scales: a name of `scales.SCALES`, or True for 'papers'.
    multires_step : int
        Pixels between the scales of 'papers'.
    aqe, dbe : int, optional
        Average each query with its aqe nearest images, and each image with its dbe nearest images.
    query_crop : {'roi', 'full'}
        Crop queries to their boxes (the published protocol), or not.
    cache : path of a folder, optional
        Keeps features and rankings; by default `tmp` in the repository. Files of different models
        have different names.
    batch_size : int
        Images of one size that the net takes at once.
    skip_bad : bool
        Leave damaged images out of the ranking, and queries without an image out of the mean.
    eval_binary : path, optional
        Score with this compiled `compute_ap` instead of the same computation in Python.
    show_progress : bool

    Raises
    ------
    ValueError
        An image is damaged, a parameter does not fit the dataset, or no query is left.

    References
    ----------
    Philbin et al., CVPR 2007 and 2008; Radenovic et al., CVPR 2018; Gordo et al., ECCV 2016.
    """
    _check(dataset, aqe, dbe, query_crop)
    scales = scales_of(S or model.S, multires, multires_step)
    cache = os.fspath(paths.TEMP if cache is None else cache)
    with progress.hidden(not show_progress):
        queries, database = _features(model, dataset, scales, query_crop, cache, batch_size,
                                      skip_bad)
        return score(dataset, queries, database, aqe=aqe, dbe=dbe, query_crop=query_crop,
                     cache=cache, eval_binary=eval_binary)


def score(dataset, queries, database, *, aqe: int | None = None, dbe: int | None = None,
          query_crop: str = 'roi', cache: str | os.PathLike | None = None,
          eval_binary: str | os.PathLike | None = None) -> Result:
    """Score the descriptors of a dataset.

    Parameters
    ----------
    dataset : Dataset
    queries, database : Q x D and N x D float32
        One row per query and per image of the dataset; rows of NaN are left out, with a warning.
    Others are those of `evaluate`.
    """
    asked, ranked = _there(dataset, queries, database)
    queries, database = queries[asked], database[ranked]
    if dbe:
        database = ranking.expand_database(database, dbe)
    if aqe:
        queries = ranking.expand_queries(queries, database, aqe)
    indices, similarities = ranking.rank(queries, database)
    images = [dataset.images[i] for i in ranked]
    rankings = [[images[i] for i in row] for row in indices]
    return _judge(dataset, [dataset.queries[i] for i in asked], rankings, similarities, query_crop,
                  os.fspath(paths.TEMP if cache is None else cache), eval_binary)


def _check(dataset, aqe, dbe, query_crop):
    if query_crop not in PARTS:
        raise ValueError(f'query_crop is {query_crop!r}, but must be roi or full')
    for name, k, most in (('aqe', aqe, len(dataset.images)), ('dbe', dbe, len(dataset.images) - 1)):
        if k and k > most:
            raise ValueError(f'--{name} {k}: the dataset has images for at most {most}')


def _features(model, dataset, scales, query_crop, cache, batch_size, skip_bad):
    """Descriptors of the queries and of the images, which differ in name for every model."""
    items = {
        PARTS[query_crop]: [Item(query.image, dataset.image_path(query.image),
                                 query.box if query_crop == 'roi' else None)
                            for query in dataset.queries],
        'dataset': [Item(name, dataset.image_path(name)) for name in dataset.images],
    }
    return [extract_scales(
        model.net, some, scales,
        lambda S, part=part: feature_path(cache, dataset.name, S, model.made_from, part),
        model.made_from, batch_size, skip_bad)[0] for part, some in items.items()]


def _there(dataset, queries, database):
    """Indices of the queries and images that have a descriptor; logs how many have none."""
    asked, ranked = (np.flatnonzero(np.isfinite(rows).all(1)) for rows in (queries, database))
    if len(ranked) < len(database):
        logger.warning('%d of %d images are left out', len(database) - len(ranked), len(database))
    if len(asked) < len(queries):
        gone = sorted(dataset.queries[i].name for i in set(range(len(queries))) - set(asked))
        logger.warning('queries without an image are left out of the mean: %s', ', '.join(gone))
    if not len(asked):
        raise ValueError('no query is left')
    return asked, ranked


def _judge(dataset, queries, rankings, similarities, query_crop, cache, eval_binary):
    more = {'query_crop': query_crop, 'queries': queries, 'rankings': rankings,
            'similarities': list(similarities)}
    truth = getattr(dataset, 'truth', None)
    if hasattr(truth, 'grades'):        # of the revisited protocols
        scores = protocols.revisited(truth, queries, rankings)
        medium = scores[1]
        protocol = f'{medium.protocol}, {protocols.conditions(query_crop)}'
        return Result(medium.mean, medium.precisions, protocol, scores=scores, **more)
    if eval_binary:
        dataset = copy.copy(dataset)
        dataset.queries = queries
        per_query = compute_ap.score(dataset, rankings, cache, eval_binary)
    else:
        per_query = {}
        for query, names in zip(queries, rankings, strict=True):
            good, ok, junk = dataset.ground_truth(query)
            per_query[query.name] = ranking.average_precision(names, {*good, *ok}, junk)
    return Result(sum(per_query.values()) / len(per_query), per_query,
                  f'query_crop {query_crop}', **more)
