"""Read the entries of a gallery from the files of other scripts.

    entries = of_rankings('tmp', dataset, similarities(dataset, ['tmp/Oxford_S800_L2']), top=50)
    entries = of_groups('tmp/mapped.txt', read_truth('datasets/demo_cover/groups.txt'))
"""

import logging
import os
from collections.abc import Callable

import numpy as np

from deep_retrieval import metrics, saved_features
from deep_retrieval.datasets.base import Dataset
from deep_retrieval.duplicates import mapped_files
from deep_retrieval.gallery.pages import Entry
from deep_retrieval.ranking import Hit

DIGITS = 6          # decimals of the similarities computed here
ROUNDING = 1e-5     # tolerated increase of similarities along a ranking

logger = logging.getLogger(__name__)


def of_rankings(folder: str | os.PathLike, dataset: Dataset, similarities: Callable | None = None,
                top: int = 50) -> list[Entry]:
    """Read the rankings NAME.rnk of a dataset's queries, in the order of the queries.

    Parameters
    ----------
    folder : path
        Folder of the rankings. Queries without one are logged.
    dataset : Dataset
        Its ground truth marks the hits.
    similarities : callable, optional
        Takes a query and a list of image names and returns their similarities.
    top : int
        Number of hits per entry.

    Raises
    ------
    ValueError
        There are no rankings.
    """
    entries, without = [], []
    for query in dataset.queries:
        path = os.path.join(folder, f'{query.name}.rnk')
        if not os.path.isfile(path):
            without.append(query.name)
            continue
        names = [line.strip() for _, line in mapped_files.lines(path)]
        good, ok, junk = dataset.ground_truth(query)
        marks = {**dict.fromkeys(good, 'good'), **dict.fromkeys(ok, 'ok'),
                 **dict.fromkeys(junk, 'junk')}
        first = names[:top]
        found = similarities(query, first) if similarities else [None] * len(first)
        hits = [Hit(name, similarity, marks.get(name, 'negative'))
                for name, similarity in zip(first, found, strict=True)]
        precision = metrics.average_precision_oxford(names, good + ok, junk)
        entries.append(Entry(query.image, hits, query.name, f'AP {100 * precision:.2f}', query.box))
    if not entries:
        raise ValueError(f'{folder}: contains no ranking NAME.rnk of a query of {dataset.path}; '
                         'test.py writes them to its --temp_dir')
    if without:
        logger.warning('%s: no ranking of %s', folder, ', '.join(without))
    return entries


def similarities(dataset: Dataset, stems: list[str]) -> Callable:
    """Return a function for `of_rankings` that computes similarities from test.py's features.

    It warns if similarities increase along a ranking, which was then made in another way.

    Parameters
    ----------
    dataset : Dataset
    stems : list of str
        Descriptors of several STEMs are summed and normalized.

    Raises
    ------
    ValueError
        Features are missing, damaged, or were made from other images.
    """
    saved = saved_features.load(stems, dataset)
    queries = dict(zip((query.name for query in saved.asked), saved.queries, strict=True))
    database = dict(zip(saved.images, saved.database, strict=True))

    def similar(query, names):
        if query.name not in queries:
            return [None] * len(names)
        found = [round(float(database[name] @ queries[query.name]), DIGITS)
                 if name in database else None for name in names]
        known = np.array([value for value in found if value is not None])
        if (np.diff(known) > ROUNDING).any():
            logger.warning('%s: similarities increase along the ranking, so it was made with other '
                           'features, or with --aqe or --dbe', query.name)
        return found
    return similar


def of_groups(path: str | os.PathLike, truth: dict | None = None, top: int = 50,
              most: int = 10000, anchors: list[str] | None = None) -> list[Entry]:
    """Read the groups of a mapped file.

    Parameters
    ----------
    path : path
    truth : dict of name to group, optional
        Ground truth to mark the hits with (see `read_truth`).
    top : int
        Number of hits per entry.
    most : int
        Number of entries to read.
    anchors : list of str, optional
        Read only the groups of these anchors.

    Raises
    ------
    ValueError
        An anchor is missing in the file.
    """
    truth, wanted, entries = truth or {}, set(anchors or ()), []
    for anchor, items in mapped_files.read(path):
        if wanted and anchor not in wanted:
            continue
        if len(entries) == most:
            break
        items = [item for item in items if item[0] != anchor]
        note = f'the first {top} of {len(items)}' if len(items) > top else ''
        entries.append(Entry(anchor, [Hit(name, score, _mark(truth, anchor, name))
                                      for name, score in items[:top]], note=note))
    without = wanted - {entry.query for entry in entries}
    if without and len(entries) < most:
        raise ValueError(f'{path}: has no anchor {", ".join(sorted(without))}')
    return entries


def read_truth(path: str | os.PathLike) -> dict[str, str]:
    """Read a ground truth (see `mapped_files.read_groups`) as {name of picture: its group}."""
    groups = mapped_files.read_groups(path)
    return {name: group for group, names in groups.items() for name in names}


def _mark(truth, anchor, name):
    """Return the mark for whether two pictures are in the same group; None if neither is in one."""
    if anchor not in truth and name not in truth:
        return None
    return 'positive' if truth.get(anchor) == truth.get(name) else 'negative'
