"""Score a dataset from saved descriptors, such as those saved by test_on_cover.py.

    answers = answers_of(Covers('datasets/cover'), 'q.npy', 'd.npy')
    print(mean_average_precision(answers), precision_at_r(answers))
"""

import os

import numpy as np

from deep_retrieval.datasets.base import Dataset
from deep_retrieval.evaluate import Answer, score
from deep_retrieval.making.oxford_sets import load_rows


def answers_of(dataset: Dataset, queries_npy: str | os.PathLike,
               dataset_npy: str | os.PathLike) -> list[Answer]:
    """Return an Answer for each query that has positives and a descriptor.

    Parameters
    ----------
    dataset : Dataset
    queries_npy, dataset_npy : paths
        Files with one row per query, and one per image. Rows of NaN (damaged images) are left out.

    Raises
    ------
    ValueError
        A file does not match the dataset, or no query is left. The one-line message names the file.
    """
    parts = []
    for path, count in ((queries_npy, len(dataset.queries)), (dataset_npy, len(dataset.images))):
        rows = load_rows(path)
        if rows.ndim != 2 or len(rows) != count:
            raise ValueError(f'{path}: has shape {rows.shape}, but needs one row for each of '
                             f'{count} images')
        parts.append(rows)
    there = np.isfinite(parts[0]).all(axis=1)
    if not any(dataset.truth(query).positives
               for query, good in zip(dataset.queries, there, strict=True) if good):
        raise ValueError(f'{queries_npy}: no query has both a descriptor and a positive')
    return score(dataset, *parts).answers


def mean_average_precision(answers: list[Answer]) -> float:
    """Return the mean average precision (VOC 2010) in percent."""
    return 100 * float(np.mean([answer.average_precision for answer in answers]))


def precision_at_r(answers: list[Answer]) -> float:
    """Return the mean share of positives among the first R places, in percent.

    R is the number of positives of a query.
    """
    return 100 * float(np.mean([answer.precision for answer in answers]))
