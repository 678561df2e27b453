"""The methods that rank a database by descriptors, by name: the subcommands of rerank.py.

    indices, scores = METHODS['alpha_qe'].rank(queries, database, n=10, alpha=3)

A method is a function of queries (Q x D), database (N x D) and its parameters, which returns
indices (Q x N, the best first) and scores in that order. To add one, write the function and its
entry of METHODS; the subcommand and its flags follow from it. What is heavy is imported inside
the functions, so that scripts can list the methods at once.
"""

from collections.abc import Callable
from typing import NamedTuple


class Parameter(NamedTuple):
    """A parameter of a method: its default, whose type it has, what it is, and its least value."""

    default: int | float
    help: str
    least: int | float = 0


class Method(NamedTuple):
    """A function that ranks, what it does in one line, and its parameters by name."""

    function: Callable
    help: str
    parameters: dict[str, Parameter] = {}

    def rank(self, queries, database, **values) -> tuple:
        """Rank the whole database for each query, the best first.

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


def plain(queries, database):
    """Rank by the similarities alone."""
    from deep_retrieval import ranking
    return ranking.rank(queries, database)


def aqe(queries, database, k):
    """Rank by the means of the queries and their k nearest images."""
    from deep_retrieval import ranking
    return ranking.rank(ranking.expand_queries(queries, database, k), database)


def dbe(queries, database, k):
    """Rank the means of the images and their k nearest images."""
    from deep_retrieval import ranking
    return ranking.rank(queries, ranking.expand_database(database, k))


def alpha_qe(queries, database, n, alpha):
    """Rank by the weighted means of the queries and their n nearest images."""
    from deep_retrieval import ranking
    return ranking.rank(ranking.alpha_expand_queries(queries, database, n, alpha), database)


def diffusion(queries, database, k, query_k, alpha, gamma, tol):
    """Rank by what reaches each image from the query in the graph of the images."""
    from deep_retrieval.ranking import diffusion
    graph = diffusion.make_graph(database, k, gamma)
    return diffusion.rank_by_diffusion(queries, database, graph, query_k, alpha, gamma, tol)


METHODS = {
    'plain': Method(plain, 'rank by the similarities alone, as test.py does'),
    'aqe': Method(aqe, 'average query expansion, as test.py --aqe', {
        'k': Parameter(1, 'images that a query is averaged with', least=1)}),
    'dbe': Method(dbe, 'database-side expansion, as test.py --dbe', {
        'k': Parameter(20, 'images that an image is averaged with', least=1)}),
    'alpha_qe': Method(
        alpha_qe,
        'query expansion by the n nearest, each weighted by its similarity to the power of alpha', {
            'n': Parameter(5, 'images that a query is averaged with; 10 in the paper', least=1),
            'alpha': Parameter(2.0, 'exponent of the similarities; 3 in the paper')}),
    'diffusion': Method(diffusion, "diffusion on the graph of the images' mutual nearest "
                        'neighbours', {
        'k': Parameter(50, 'neighbours of an image in the graph', least=1),
        'query_k': Parameter(5, 'images through which a query enters the graph; 10 in the paper',
                             least=1),
        'alpha': Parameter(0.5, 'share that is passed on at each step; 0.99 in the paper, which '
                           'suits thousands of images and ruins the ranking of hundreds'),
        'gamma': Parameter(5.0, 'exponent of similarities; 3 in the paper'),
        'tol': Parameter(1e-6, 'relative residual of the solution')}),
}
