"""Retrieval judged by VOC 2010: queries and a database described, ranked and scored.

    queries, database = query_sets.cover('datasets/cover')
    answers = run(load_model(S=496), 'test_on_cover', queries, database)
    print(*report(answers), sep='\n')
"""

import copy
import logging
import os
from typing import NamedTuple

import numpy as np

from deep_retrieval import compute_ap, paths, ranking
from deep_retrieval.datasets import query_sets
from deep_retrieval.datasets.query_sets import Query
from deep_retrieval.extraction import Item, extract_scales, feature_path
from deep_retrieval.gallery import answer_pictures
from deep_retrieval.saved_features import PARTS
from deep_retrieval.scales import scales_of

TOP = 10    # places of a ranking that its picture shows

logger = logging.getLogger(__name__)


class Place(NamedTuple):
    """A place in a ranking: from 1 on, with its image, similarity and picture mark."""

    rank: int
    item: Item
    similarity: float
    mark: str


class Answer(NamedTuple):
    """How a query fared.

    average_precision : VOC 2010's, 0..1; precision : at R, the number of positives, 0..1
    top : the first TOP places
    wrong : those of the first R places, junk left out, that hold no positive
    """

    query: Query
    average_precision: float
    precision: float
    top: list
    wrong: list


class Described:
    """Queries and images (Items) that have a descriptor: rows of `asked` and of `stored`."""

    def __init__(self, queries, database, asked, stored):
        self.queries, self.database, self.asked, self.stored = queries, database, asked, stored
        self._rows = {item.name: row for row, item in enumerate(database)}

    def mask(self, names):
        """Which of the database's rows have these names: booleans."""
        mask = np.zeros(len(self.database), bool)
        mask[[self._rows[name] for name in names if name in self._rows]] = True
        return mask

    def expand(self, aqe=None, dbe=None):
        """Expand the database and then the queries by their `dbe` and `aqe` nearest images."""
        if dbe:
            self.stored = ranking.expand_database(self.stored, dbe)
        if aqe:
            self.asked = ranking.expand_queries(self.asked, self.stored, aqe)


def run(model, name, queries, database, *, multires=None, cache=None, batch_size=4,
        skip_bad=False, wrong_dir=None, overwrite=False) -> list[Answer]:
    """Describe, rank and judge by VOC 2010, and save the wrong answers if asked to.

    Parameters
    ----------
    model : Model
    name, queries, database, multires, cache, batch_size, skip_bad
        As of `describe`.
    wrong_dir : path, optional
        Folder for a picture of each query and of its wrong answers.
    overwrite : bool
        Write into a `wrong_dir` that holds something else.
    """
    if wrong_dir:
        answer_pictures.check(wrong_dir, overwrite)     # before long work
    found = describe(model, name, queries, database, multires=multires, cache=cache,
                     batch_size=batch_size, skip_bad=skip_bad)
    answers = [judge(found, *ranked) for ranked in rank(found)]
    if wrong_dir:
        answer_pictures.save_answers(wrong_dir, answers, overwrite)
    return answers


def oxford(model, dataset, *, multires=None, cache=None, batch_size=4, skip_bad=False, aqe=None,
           dbe=None, query_crop='full', eval_binary=None, wrong_dir=None, overwrite=False) -> dict:
    """Score Oxford or Paris by compute_ap, and save the wrong answers if asked to.

    Parameters are those of `run` and of `evaluate.evaluate`. Returns {query name: AP, 0 to 1}.
    """
    check_expansion(aqe, dbe, len(dataset.images))
    if wrong_dir:
        answer_pictures.check(wrong_dir, overwrite)
    queries, database = query_sets.oxford(dataset, crop=query_crop == 'roi')
    found = describe(model, dataset.name, queries, database, multires=multires, cache=cache,
                     batch_size=batch_size, skip_bad=skip_bad, part=PARTS[query_crop])
    found.expand(aqe, dbe)
    ranked = list(rank(found))
    dataset = copy.copy(dataset)
    dataset.queries = [query for query, _, _ in ranked]
    rankings = [[found.database[row].name for row in rows] for _, rows, _ in ranked]
    per_query = compute_ap.score(dataset, rankings, cache or paths.TEMP,
                                 eval_binary or paths.EVAL_BINARY)
    if wrong_dir:
        answer_pictures.save_answers(wrong_dir, [judge(found, *row) for row in ranked], overwrite)
    return per_query


def report_oxford(per_query: dict, query_crop: str) -> list[str]:
    """Return the lines of `oxford`'s result."""
    return compute_ap.report(per_query, f'compute_ap, query_crop {query_crop}')


def describe(model, name, queries, database, *, multires=None, cache=None, batch_size=4,
             skip_bad=False, part='queries') -> Described:
    """Describe queries and database, the sum over all scales normalized.

    Parameters
    ----------
    model : Model
    name : str
        Begins the names of the files in `cache` that keep the features; a later run takes them
        from there, and an interrupted one resumes.
    queries, database : lists of Query and Item
        Queries without positives and, with `skip_bad`, damaged images are left out and logged.
    multires : name of a set of scales, optional
    cache : path of a folder; by default `tmp` in the repository
    part : str
        End of the names of the queries' files.
    """
    queries = _with_positives(queries)
    cache = paths.TEMP if cache is None else cache
    features, kept = [], []
    for part, items in ((part, [query.item for query in queries]), ('dataset', database)):
        rows, skipped = extract_scales(
            model.net, items, scales_of(model.S, multires),
            lambda S, part=part: feature_path(cache, name, S, model.made_from, part),
            model.made_from, batch_size, skip_bad)
        skipped = set(skipped)
        kept.append([i for i, item in enumerate(items) if item.name not in skipped])
        features.append(rows[kept[-1]])
    _tell_skipped(queries, database, *kept)
    return Described([queries[i] for i in kept[0]], [database[i] for i in kept[1]], *features)


def check_expansion(aqe, dbe, images):
    """Raise ValueError unless a database of so many images can be expanded so."""
    for flag, k, most in (('aqe', aqe, images), ('dbe', dbe, images - 1)):
        if k and k > most:
            raise ValueError(f'--{flag} {k}: the dataset has images for {most} at most')


def rank(found):
    """Rank the database for each query: yields (query, rows of the database, similarities)."""
    for start in range(0, len(found.queries), ranking.BLOCK):
        some = slice(start, start + ranking.BLOCK)
        yield from zip(found.queries[some], *ranking.rank(found.asked[some], found.stored))


def judge(found, query, rows, similarities):
    """The Answer that a ranking gives: rows of the database, the best first."""
    positive, junk = found.mask(query.positives)[rows], found.mask(query.junk)[rows]
    count = len(query.positives)

    def place(i):
        mark = 'junk' if junk[i] else 'positive' if positive[i] else 'negative'
        return Place(i + 1, found.database[rows[i]], float(similarities[i]), mark)

    counted = np.flatnonzero(~junk)
    return Answer(query, ranking.voc_average_precision(positive[counted], count),
                  ranking.precision_at_r(positive[counted], count),
                  [place(i) for i in range(min(TOP, len(rows)))],
                  [place(i) for i in counted[:count] if not positive[i]])


def report(answers) -> list[str]:
    """Return each query's AP, and the means over the queries, in percent, as lines of text."""
    precision = np.mean([answer.precision for answer in answers])
    mean = np.mean([answer.average_precision for answer in answers])
    return [*(f'{printable(answer.query.name)}: {100 * answer.average_precision:.2f}'
              for answer in answers), '-' * 20,
            f'precision: {100 * precision:.2f} (at R, the number of positives of a query)',
            f'mAP: {100 * mean:.2f} (VOC 2010)']


def printable(name):
    """A file's name as text that any terminal takes: it may hold bytes that are no text."""
    return os.fsencode(name).decode('utf-8', 'replace')


def _with_positives(queries):
    """The queries that have a positive; names the others on stderr."""
    kept = [query for query in queries if query.positives]
    if not kept:
        raise ValueError('no query has an image in the database that answers it')
    _tell_queries('without a positive', [query for query in queries if not query.positives])
    return kept


def _tell_skipped(queries, database, asked, stored):
    if len(stored) < len(database):
        logger.warning('%d of %d images are left out', len(database) - len(stored),
                       len(database))
    _tell_queries('whose image is damaged',
                  [queries[i] for i in sorted(set(range(len(queries))) - set(asked))])


def _tell_queries(why, queries):
    if queries:
        names = ', '.join(printable(query.name) for query in queries)
        logger.warning('queries %s are left out of the mean: %s', why, names)
