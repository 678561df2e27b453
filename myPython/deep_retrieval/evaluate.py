"""Score a model on a dataset: describe its images, rank them, and apply its protocol.

    result = evaluate(load_model(), open_dataset('datasets/Oxford'), S=800, multires=True)
    result.mean, result.per_query, result.protocol
    print(*result.lines(), sep='\n')
"""

import dataclasses
import logging
import os

import numpy as np

from deep_retrieval import arguments, compute_ap, metrics, paths, progress, ranking
from deep_retrieval.datasets import open_dataset
from deep_retrieval.datasets.base import Dataset
from deep_retrieval.extraction import extract_scales, feature_path
from deep_retrieval.model import Model
from deep_retrieval.ranking import Hit
from deep_retrieval.saved_features import PARTS
from deep_retrieval.scales import STEP, scales_of

TOP = 10        # number of hits in an Answer
KEPT = 1000     # length of the rankings in a Result

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Answer:
    """The result of one query.

    Attributes
    ----------
    query : Query
    average_precision : float
        Average precision by the dataset's metric, 0 to 1.
    precision : float
        Precision at R, the number of positives, 0 to 1.
    top : list of Hit
        The first TOP hits.
    wrong : dict of int to Hit
        The hits among the first R (without junk) that are not positives, by their rank in the whole
        ranking, from 1.
    """

    query: tuple
    average_precision: float
    precision: float
    top: list = dataclasses.field(repr=False)
    wrong: dict = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Result:
    """The scores of a model on a dataset.

    Attributes
    ----------
    mean : float
        Mean average precision, 0 to 1; Medium for the revisited protocols.
    per_query : dict of query name to average precision, 0 to 1
    protocol : str
        What was measured, and how.
    query_crop : 'roi' or 'full'
    scores : list of metrics.Score
        Easy, Medium and Hard of the revisited protocols; otherwise empty.
    queries : list of Query
        The ranked queries, in the order of the rankings.
    rankings, similarities : lists of image names and of similarities per query, best first
        At most KEPT per query.
    answers : list of Answer
        One per query that has positives.
    metric : str
        The dataset's metric.
    """

    mean: float
    per_query: dict
    protocol: str
    query_crop: str = 'roi'
    scores: list = dataclasses.field(default_factory=list, repr=False)
    queries: list = dataclasses.field(default_factory=list, repr=False)
    rankings: list = dataclasses.field(default_factory=list, repr=False)
    similarities: list = dataclasses.field(default_factory=list, repr=False)
    answers: list = dataclasses.field(default_factory=list, repr=False)
    metric: str = 'oxford'

    def lines(self) -> list[str]:
        """Return the result as text: the AP of every query and the mean, in percent.

        For the revisited protocols, one line each for Easy, Medium and Hard.
        """
        if self.scores:
            return [metrics.line(score, metrics.conditions(self.query_crop))
                    for score in self.scores]
        if self.metric == 'voc2010':
            return metrics.report_voc(self.answers)
        return metrics.report(self.per_query, self.protocol)


def evaluate(model: Model, dataset: Dataset | str | os.PathLike, *, S: int | None = None,
             multires: str | bool = False, multires_step: int = STEP, aqe: int | None = None,
             dbe: int | None = None, query_crop: str = 'roi',
             cache: str | os.PathLike | None = None, name: str | None = None, batch_size: int = 4,
             skip_bad: bool = False, eval_binary: str | os.PathLike | None = None,
             show_progress: bool = True) -> Result:
    """Score a model on a dataset.

    Parameters
    ----------
    model : Model
    dataset : Dataset, or path of its folder
        As `open_dataset` returns it, or takes it.
    S : int, optional
        Longer side in pixels that images are resized to; by default the model's.
    multires : bool or str
        Sum the descriptors of several scales: a name of `scales.SCALES`, or True for 'papers'.
    multires_step : int
        Pixels between the scales of 'papers'.
    aqe, dbe : int, optional
        Average query expansion and database-side expansion: average each query with its `aqe`
        nearest images, and each image with its `dbe` nearest images.
    query_crop : {'roi', 'full'}
        Crop queries to their boxes (the published protocol), or use full images.
    cache : path of a folder, optional
        Folder for features and rankings; by default `tmp` in the repository. Files of different
        models have different names.
    name : str, optional
        Prefix of the names of these files; by default the dataset's name.
    batch_size : int
        Images of one size that the net takes at once.
    skip_bad : bool
        Leave damaged images out of the ranking, and queries with a damaged image out of the mean.
    eval_binary : path, optional
        Score Oxford and Paris with this compiled `compute_ap` instead of the equivalent Python
        code.
    show_progress : bool

    Raises
    ------
    ValueError, TypeError
        An image is damaged, an argument is invalid for the dataset, or no query is left.

    References
    ----------
    Philbin et al., CVPR 2007 and 2008; Radenovic et al., CVPR 2018; Gordo et al., ECCV 2016.
    """
    if isinstance(dataset, (str, os.PathLike)):
        dataset = open_dataset(dataset)
    _check(dataset, aqe, dbe, query_crop)
    scales = scales_of(model.S if S is None else S, multires, multires_step)
    arguments.whole('batch_size', batch_size, 1)
    cache = arguments.folder('cache', paths.TEMP if cache is None else cache)
    parts = {PARTS[query_crop]: dataset.query_items(query_crop == 'roi'),
             'dataset': dataset.items()}
    with progress.hidden(not show_progress):
        rows = [extract_scales(
            model.net, items, scales,
            lambda S, part=part: feature_path(cache, dataset, S, model.made_from, part, name),
            model.made_from, batch_size, skip_bad)[0] for part, items in parts.items()]
        return score(dataset, *rows, aqe=aqe, dbe=dbe, query_crop=query_crop, cache=cache,
                     eval_binary=eval_binary)


def score(dataset: Dataset, queries: np.ndarray, database: np.ndarray, *, aqe: int | None = None,
          dbe: int | None = None, query_crop: str = 'roi', cache: str | os.PathLike | None = None,
          eval_binary: str | os.PathLike | None = None) -> Result:
    """Score the descriptors of a dataset.

    Parameters
    ----------
    dataset : Dataset
    queries, database : Q x D and N x D float32
        One row per query and per image of the dataset; rows of NaN are left out, with a warning.

    The other parameters are those of `evaluate`.
    """
    asked, ranked = _there(dataset, queries, database)
    queries, database = queries[asked], database[ranked]
    if dbe:
        database = ranking.expand_database(database, dbe)
    if aqe:
        queries = ranking.expand_queries(queries, database, aqe)
    judge = _Judge(dataset, [dataset.images[i] for i in ranked],
                   os.fspath(paths.TEMP if cache is None else cache), eval_binary)
    for start in range(0, len(asked), ranking.BLOCK):
        some = slice(start, start + ranking.BLOCK)
        judge.add([dataset.queries[i] for i in asked[some]],
                  *ranking.rank(queries[some], database))
    return judge.result(query_crop)


def judge(dataset: Dataset, queries: list, images: list[str], indices: np.ndarray,
          similarities: np.ndarray, *, query_crop: str = 'roi',
          cache: str | os.PathLike | None = None,
          eval_binary: str | os.PathLike | None = None) -> Result:
    """Score given rankings.

    Parameters
    ----------
    dataset : Dataset
    queries : list of Query
        The ranked queries.
    images : list of str
        Names of the ranked images.
    indices : Q x N
        One row per query: indices into `images`, best first.
    similarities : Q x N, in that order

    The other parameters are those of `evaluate`.
    """
    judge = _Judge(dataset, images, os.fspath(paths.TEMP if cache is None else cache), eval_binary)
    judge.add(queries, indices, similarities)
    return judge.result(query_crop)


class _Judge:
    """Scores rankings block by block, so that whole rankings need not be kept."""

    def __init__(self, dataset, images, cache, eval_binary):
        self.dataset, self.images = dataset, images
        self.cache, self.eval_binary = cache, eval_binary
        self._rows = {name: row for row, name in enumerate(images)}
        self.queries, self.rankings, self.similarities, self.answers = [], [], [], []
        self._whole = []        # whole rankings, for the revisited protocols only

    def add(self, queries, indices, similarities):
        """Score a block of queries, given indices of images, best first, and similarities."""
        names = [[self.images[i] for i in row[:KEPT]] for row in indices]
        self.queries += queries
        self.rankings += names
        self.similarities += [row[:KEPT].copy() for row in similarities]
        precisions = self._precisions(queries, indices)
        for query, row, values in zip(queries, indices, similarities, strict=True):
            if self.dataset.truth(query).positives:
                self.answers.append(self._answer(query, row, values, precisions.get(query.name)))

    def result(self, query_crop):
        """Return the Result of all blocks."""
        metric = self.dataset.metric
        more = {'query_crop': query_crop, 'queries': self.queries, 'rankings': self.rankings,
                'similarities': self.similarities, 'answers': self.answers, 'metric': metric}
        if metric == 'revisited':
            scores = metrics.revisited(self.dataset.gnd, self.queries, self._whole)
            medium = scores[1]
            return Result(medium.mean, medium.precisions,
                          f'{medium.protocol}, {metrics.conditions(query_crop)}', scores=scores,
                          **more)
        per_query = {answer.query.name: answer.average_precision for answer in self.answers}
        protocol = 'VOC 2010' if metric == 'voc2010' else metrics.conditions(query_crop)
        return Result(metrics.mean(per_query), per_query, protocol, **more)

    def _precisions(self, queries, indices):
        """Return the average precision by query name, if it is computed from names."""
        metric = self.dataset.metric
        if metric == 'voc2010':
            return {}
        whole = [[self.images[i] for i in row] for row in indices]
        if metric == 'revisited':
            self._whole += whole
        elif self.eval_binary:
            return compute_ap.score(self.dataset, whole, self.cache, self.eval_binary, queries)
        truths = map(self.dataset.truth, queries)
        return {query.name: metrics.average_precision_oxford(names, *truth)
                for query, names, truth in zip(queries, whole, truths, strict=True)
                if truth.positives}

    def _answer(self, query, row, similarities, precision):
        truth = self.dataset.truth(query)
        positive, junk = self._mask(truth.positives)[row], self._mask(truth.junk)[row]
        count, counted = len(truth.positives), np.flatnonzero(~junk)
        if precision is None:
            precision = metrics.average_precision_voc2010(positive[counted], count)

        def hit(i):
            mark = 'junk' if junk[i] else 'positive' if positive[i] else 'negative'
            return Hit(self.images[row[i]], float(similarities[i]), mark)

        return Answer(query, precision, metrics.precision_at_r(positive[counted], count),
                      [hit(i) for i in range(min(TOP, len(row)))],
                      {int(i) + 1: hit(i) for i in counted[:count] if not positive[i]})

    def _mask(self, names):
        """Return booleans: which images have these names."""
        mask = np.zeros(len(self.images), bool)
        mask[[self._rows[name] for name in names if name in self._rows]] = True
        return mask


def _check(dataset, aqe, dbe, query_crop):
    if query_crop not in PARTS:
        raise ValueError(f'query_crop is {query_crop!r}, but must be roi or full')
    for name, k, most in (('aqe', aqe, len(dataset.images)), ('dbe', dbe, len(dataset.images) - 1)):
        if k is not None:
            arguments.whole(name, k, 0)
        if k and k > most:
            raise ValueError(f'--{name} {k}: the dataset has images for at most {most}')
    if not any(dataset.truth(query).positives for query in dataset.queries):
        raise ValueError(f'{dataset.path}: no query has a positive in the database')


def _there(dataset, queries, database):
    """Return the indices of the queries and images to rank; log what is left out."""
    asked, ranked = (np.flatnonzero(np.isfinite(rows).all(1)) for rows in (queries, database))
    if len(ranked) < len(database):
        logger.warning('%d of %d images are left out', len(database) - len(ranked), len(database))
    _tell('whose image is damaged', [dataset.queries[i]
                                     for i in sorted(set(range(len(queries))) - set(asked))])
    if dataset.metric != 'revisited':   # the revisited protocols do this themselves
        answered = [bool(dataset.truth(dataset.queries[i]).positives) for i in asked]
        _tell('without a positive', [dataset.queries[i] for i, found in zip(asked, answered,
                                                                            strict=True)
                                     if not found])
        asked = asked[answered]
    if not len(asked) or not len(ranked):
        raise ValueError('no query is left')
    return asked, ranked


def _tell(why, queries):
    if queries:
        logger.warning('queries %s are left out of the mean: %s', why,
                       ', '.join(metrics.printable(query.name) for query in queries))
