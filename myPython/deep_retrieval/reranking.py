"""The table of ranking methods, which are the subcommands of rerank.py.

    indices, scores = METHODS['alpha_qe'].rank(queries, database, n=10, alpha=3)
    done = rerank(open_dataset('datasets/Oxford'), ['tmp/Oxford_S800_L2'], 'alpha_qe', n=10)
    print(*done.lines(), sep='\n')

A method is a function of queries (Q x D), database (N x D) and its parameters, which returns
indices (Q x N, best first) and scores in that order. To add one, write the function and an entry
of METHODS; the subcommand and its flags are made from it. Heavy packages are imported inside the
functions, so that scripts start fast.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from deep_retrieval.datasets.base import Dataset
    from deep_retrieval.saved_features import Saved


class Parameter(NamedTuple):
    """A parameter of a method: default (which sets its type), help text, and minimum value."""

    default: int | float
    help: str
    least: int | float = 0


class Method(NamedTuple):
    """A ranking function, its one-line help, and its parameters by name."""

    function: Callable
    help: str
    parameters: dict[str, Parameter] = {}

    def rank(self, queries: 'np.ndarray', database: 'np.ndarray', **values) -> tuple:
        """Rank the whole database for each query, best first.

        Parameters
        ----------
        queries : Q x D
        database : N x D
        values : parameters of the method; by default those of `parameters`

        Returns
        -------
        indices : Q x N int64
        scores : Q x N float32, in that order

        Raises
        ------
        ValueError
            A parameter is unknown or out of range.
        """
        unknown = sorted(set(values) - set(self.parameters))
        if unknown:
            raise ValueError(f'{unknown[0]} is not a parameter; known are '
                             f'{", ".join(self.parameters) or "none"}')
        defaults = {name: parameter.default for name, parameter in self.parameters.items()}
        return self.function(queries, database, **{**defaults, **values})


def plain(queries: 'np.ndarray', database: 'np.ndarray') -> tuple:
    """Rank by similarity alone."""
    from deep_retrieval import ranking
    return ranking.rank(queries, database)


def aqe(queries: 'np.ndarray', database: 'np.ndarray', k: int) -> tuple:
    """Rank by the means of the queries and their k nearest images."""
    from deep_retrieval import ranking
    return ranking.rank(ranking.expand_queries(queries, database, k), database)


def dbe(queries: 'np.ndarray', database: 'np.ndarray', k: int) -> tuple:
    """Rank the means of the images and their k nearest images."""
    from deep_retrieval import ranking
    return ranking.rank(queries, ranking.expand_database(database, k))


def alpha_qe(queries: 'np.ndarray', database: 'np.ndarray', n: int, alpha: float) -> tuple:
    """Rank by the weighted means of the queries and their n nearest images."""
    from deep_retrieval import ranking
    return ranking.rank(ranking.alpha_expand_queries(queries, database, n, alpha), database)


def diffusion(queries: 'np.ndarray', database: 'np.ndarray', k: int, query_k: int, alpha: float,
              gamma: float, tol: float) -> tuple:
    """Rank by diffusion on the graph of the images' mutual nearest neighbours."""
    from deep_retrieval.ranking import diffusion
    graph = diffusion.make_graph(database, k, gamma)
    return diffusion.rank_by_diffusion(queries, database, graph, query_k, alpha, gamma, tol)


METHODS = {
    'plain': Method(plain, 'rank by similarity alone, as test.py does'),
    'aqe': Method(aqe, 'average query expansion, as test.py --aqe', {
        'k': Parameter(1, 'images that a query is averaged with', least=1)}),
    'dbe': Method(dbe, 'database-side expansion, as test.py --dbe', {
        'k': Parameter(20, 'images that an image is averaged with', least=1)}),
    'alpha_qe': Method(
        alpha_qe,
        'query expansion with the n nearest images, weighted by similarity to the power alpha', {
            'n': Parameter(5, 'images that a query is averaged with; 10 in the paper', least=1),
            'alpha': Parameter(2.0, 'exponent of the similarities; 3 in the paper')}),
    'diffusion': Method(diffusion, "diffusion on the graph of the images' mutual nearest "
                        'neighbours', {
        'k': Parameter(50, 'neighbours of an image in the graph', least=1),
        'query_k': Parameter(5, 'images that represent a query in the graph; 10 in the paper',
                             least=1),
        'alpha': Parameter(0.5, 'share that is passed on at each step; 0.99 in the paper, which '
                           'works for thousands of images but not for hundreds'),
        'gamma': Parameter(5.0, 'exponent of similarities; 3 in the paper'),
        'tol': Parameter(1e-6, 'relative residual of the solution')}),
}


@dataclasses.dataclass(frozen=True)
class Reranking:
    """The scores of a method on a dataset, compared to those of the plain ranking.

    Attributes
    ----------
    name : str
        Name of the method in `lines`.
    result : evaluate.Result
    plain : evaluate.Result or None
        Result of the plain ranking; None if `result` is the plain ranking.
    conditions : str
        The conditions of the score besides the protocol, see metrics.conditions.
    """

    name: str
    result: object
    plain: object
    conditions: str

    def lines(self) -> list[str]:
        """Return the scores and the gain of the method as text, in percent."""
        if self.result.scores:
            return self._lines_by_protocol()
        lines = self.result.lines()
        if self.plain is not None:
            before, after = 100 * self.plain.mean, 100 * self.result.mean
            lines.append(f'Plain: {before:.2f} ({self.plain.protocol}); '
                         f'{self.name} gives {after - before:+.2f}')
        return lines

    def _lines_by_protocol(self):
        """Return one line each for Easy, Medium and Hard."""
        from deep_retrieval import metrics
        lines = [metrics.line(score, self.conditions) for score in self.result.scores]
        if self.plain is None:
            return lines
        return [f'{line}; plain mAP {100 * plain.mean:.2f}, '
                f'{self.name} gives {100 * (score.mean - plain.mean):+.2f}'
                for line, score, plain in zip(lines, self.result.scores, self.plain.scores,
                                              strict=True)]


def rerank(dataset: 'Dataset', features: 'list[str] | Saved', method: str = 'plain', *,
           whitening: str | os.PathLike | None = None, before: 'Saved | None' = None,
           name: str | None = None, uni: bool = False, cache: str | os.PathLike | None = None,
           eval_binary: str | os.PathLike | None = None, **values) -> Reranking:
    """Rank a dataset by a method, using saved descriptors, and score the ranking.

    Parameters
    ----------
    dataset : Dataset
    features : list of str, or Saved
        STEMs of the features saved by test.py; those of several STEMs are summed.
    method : str
        A name of METHODS.
    whitening : path, optional
        Whiten the descriptors first, with a file written by `Whitening.save`.
    before : Saved, optional
        Descriptors for the plain ranking to compare with; by default the same ones.
    name : str, optional
        Name of the ranking in `lines`; by default the method.
    uni : bool
        Check that all images have the same size, and report it with the scores.
    cache : path of a folder, optional
        Folder for rankings; by default `tmp` in the repository.
    eval_binary : path, optional
        Score Oxford and Paris with this compiled `compute_ap`.
    values : parameters of the method

    Raises
    ------
    ValueError
        The method is unknown, a parameter is out of range, or the features do not belong to the
        dataset.
    """
    from deep_retrieval import metrics, paths
    if method not in METHODS:
        raise ValueError(f'there is no method {method!r}; known are {", ".join(METHODS)}')
    size = metrics.uni_size(dataset) if uni else None
    saved = load(dataset, features, whitening)
    cache = os.fspath(paths.TEMP if cache is None else cache)
    ranking = METHODS[method].rank(saved.queries, saved.database, **values)
    result = _judge(dataset, saved, ranking, size, cache, eval_binary)
    plain = None
    if method != 'plain' or before is not None:
        before = saved if before is None else before
        plain = _judge(dataset, before, METHODS['plain'].rank(before.queries, before.database),
                       size, os.path.join(cache, 'plain'), eval_binary)
    return Reranking(name or method, result, plain,
                     metrics.conditions(saved.made_from['crop'], size))


def load(dataset: 'Dataset', features: 'list[str] | Saved',
         whitening: str | os.PathLike | None = None) -> 'Saved':
    """Load the features of STEMs, and whiten them if a file is given; see `rerank`."""
    from deep_retrieval import saved_features
    from deep_retrieval.whitening import Whitening
    saved = features
    if not isinstance(features, saved_features.Saved):
        saved = saved_features.load(features, dataset)
    if whitening is None:
        return saved
    return saved_features.whitened(saved, Whitening.load(whitening), whitening)


def _judge(dataset, saved, ranking, size, cache, eval_binary):
    """Score a ranking; return a Result with the name of the protocol."""
    from deep_retrieval import metrics
    from deep_retrieval.evaluate import judge
    crop = saved.made_from['crop']
    result = judge(dataset, saved.asked, saved.images, *ranking, query_crop=crop, cache=cache,
                   eval_binary=eval_binary)
    if dataset.metric != 'oxford':
        return result
    return dataclasses.replace(result, protocol=metrics.published(dataset.name, crop, size))
