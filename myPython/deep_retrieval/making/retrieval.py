"""Scores of queries and images from saved descriptors, as test_on_cover and its like save them.

    queries, database = query_sets.cover('datasets/cover')
    answers = answers_of(queries, database, 'q.npy', 'd.npy')
    print(mean_average_precision(answers), precision_at_r(answers))
"""

import numpy as np

from deep_retrieval import evaluation
from deep_retrieval.making.oxford_sets import load_rows


def answers_of(queries, database, queries_npy, dataset_npy):
    """An evaluation.Answer for each query that has positives and a descriptor.

    queries, database : as query_sets gives them; row i of a file is of the i-th of them. Rows of
    NaN, those of damaged images, are left out.
    """
    kept = []
    for path, items in ((queries_npy, queries), (dataset_npy, database)):
        rows = load_rows(path)
        if rows.ndim != 2 or len(rows) != len(items):
            raise ValueError(f'{path}: has shape {rows.shape}, but a row is wanted for each of '
                             f'{len(items)} images')
        good = np.flatnonzero(np.isfinite(rows).all(axis=1))
        kept.append(([items[i] for i in good], rows[good]))
    (queries, asked), (database, stored) = kept
    answered = [i for i, query in enumerate(queries) if query.positives]
    if not answered or not database:
        raise ValueError(f'{queries_npy}: no query has both a descriptor and an answer')
    found = evaluation.Described([queries[i] for i in answered], database, asked[answered], stored)
    return [evaluation.judge(found, *ranked) for ranked in evaluation.rank(found)]


def mean_average_precision(answers):
    """VOC 2010's mean average precision in percent."""
    return 100 * float(np.mean([answer.average_precision for answer in answers]))


def precision_at_r(answers):
    """Mean share of positives among the first R places, R a query's number of them; percent."""
    return 100 * float(np.mean([answer.precision for answer in answers]))
