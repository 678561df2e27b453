"""What the scripts of myPython/test share: queries and database described, ranked and scored.

    queries, database = query_sets.cover('datasets/cover')
    found = describe(options, 'cover', queries, database)
    answers = [judge(found, *ranked) for ranked in rank(found)]
    report(answers)
"""

import os
from typing import NamedTuple

import numpy as np
from custom_layers import normalize

from deep_retrieval import cli, ranking
from deep_retrieval.extraction import Item, extract
from deep_retrieval.gallery import answer_pictures
from deep_retrieval.images import MEAN
from deep_retrieval.model import DescriptorNet
from deep_retrieval.store import sha256

SCALES = (1 / 2, 1, 3 / 2)    # times S: 248, 496, 744 of covers, 256, 512, 768 of Oxford
TOP = 10    # places of a ranking that its picture shows


class Query(NamedTuple):
    """A query: its name, its image, and the names of the database's images that answer it.

    positives may name images that the database has not got: they count as never found. junk is
    skipped as if absent.
    """

    name: str
    item: Item
    positives: frozenset
    junk: frozenset = frozenset()


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


class MeanNet(DescriptorNet):
    """A DescriptorNet that subtracts `mean` (B, G, R; None for the usual one) from the images."""

    def __init__(self, *args, mean=None, **kwargs):
        super().__init__(*args, **kwargs)
        self._shift = 0 if mean is None else (MEAN - np.float32(mean))[:, None, None]

    def feed(self, name, array):
        super().feed(name, array + self._shift if name == 'data' else array)


def run(options, name, queries, database):
    """Describe, rank, score by VOC 2010, print, and save the wrong answers where asked for."""
    if options.wrong_dir:
        answer_pictures.check(options.wrong_dir, options.overwrite)     # before long work
    found = describe(options, name, queries, database)
    answers = [judge(found, *ranked) for ranked in rank(found)]
    report(answers)
    if options.wrong_dir:
        answer_pictures.save_answers(options.wrong_dir, answers, options.overwrite)


def describe(options, name, queries, database):
    """Described queries and database, the sum over all scales normalized.

    options : the flags of test/shared_flags.py
    name : the features stay in the files `NAME_S512_L2_queries.npy` and `..._dataset.npy` of
        `options.temp_dir`, from where a further run takes them or goes on
    queries, database : lists of Query and Item. Queries without positives and, with
        `options.skip_bad`, damaged images are left out, which is said on stderr.
    """
    queries = _with_positives(queries)
    cli.use_device(options.gpu)
    net = MeanNet(options.proto, options.weights, options.L, options.end,
                  options.partial_weights, mean=options.mean)
    about = {'weights': sha256(options.weights), 'proto': sha256(options.proto),
             'L': options.L, 'end': options.end}
    if options.mean is not None:
        about['mean'] = list(options.mean)
    scales = [max(1, round(options.S * part)) for part in SCALES] if options.multires else [
        options.S]
    features, kept = [], []
    for part, items in (('queries', [query.item for query in queries]), ('dataset', database)):
        rows, skipped = [], set()
        for S in scales:
            path = os.path.join(options.temp_dir, f'{name}_S{S}_L{options.L}_{part}.npy')
            found, left_out = extract(net, items, S, path, about, options.batch_size,
                                      options.skip_bad)
            rows.append(found)
            skipped.update(left_out)
        kept.append([i for i, item in enumerate(items) if item.name not in skipped])
        features.append((normalize(sum(rows)) if options.multires else rows[0])[kept[-1]])
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


def report(answers):
    """Print each query's AP, and the means over the queries, in percent."""
    for answer in answers:
        print(f'{printable(answer.query.name)}: {100 * answer.average_precision:.2f}')
    print('-' * 20)
    precision = np.mean([answer.precision for answer in answers])
    print(f'precision: {100 * precision:.2f} (at R, the number of positives of a query)')
    mean = np.mean([answer.average_precision for answer in answers])
    print(f'mAP: {100 * mean:.2f} (VOC 2010)')


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
        cli.warn(f'{len(database) - len(stored)} of {len(database)} images are left out')
    _tell_queries('whose image is damaged',
                  [queries[i] for i in sorted(set(range(len(queries))) - set(asked))])


def _tell_queries(why, queries):
    if queries:
        names = ', '.join(printable(query.name) for query in queries)
        cli.warn(f'queries {why} are left out of the mean: {names}')
