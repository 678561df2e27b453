"""What a gallery shows, read from what the other scripts write.

    entries = of_rankings('tmp', dataset, similarities(dataset, ['tmp/Oxford_S800_L2']), top=50)
    entries = of_groups('tmp/mapped.txt', read_truth('datasets/demo_cover/groups.txt'))
"""
import os

import numpy as np

from deep_retrieval import metrics
from deep_retrieval.duplicates import mapped_files
from deep_retrieval.features import find_file
from deep_retrieval.gallery.pages import Entry, Hit

DIGITS = 6          # of a similarity that is computed here
ROUNDING = 1e-5     # by which it may rise along a ranking


def of_rankings(folder, dataset, similarities=None, top=50, say=print):
    """Entries of a folder of rankings NAME.rnk, the `top` first hits of each, in query order.

    dataset: a helper of `dataset_helper`, which gives the ground truth. similarities: function from
    a query and a list of image names to their similarities. say: called with a line on queries
    without a ranking. ValueError where there is no ranking at all.
    """
    entries, without = [], []
    for query in dataset.queries:
        path = os.path.join(folder, f'{query.name}.rnk')
        if not os.path.isfile(path):
            without.append(query.name)
            continue
        names = [line.strip() for _, line in mapped_files.lines(path)]
        good, ok, junk = dataset.ground_truth(query)
        truth = {**dict.fromkeys(good, 'good'), **dict.fromkeys(ok, 'ok'),
                 **dict.fromkeys(junk, 'junk')}
        first = names[:top]
        found = similarities(query, first) if similarities else [None] * len(first)
        hits = [Hit(name, similarity, truth.get(name, False))
                for name, similarity in zip(first, found)]
        precision = metrics.average_precision_oxford(names, good + ok, junk)
        entries.append(Entry(query.image, hits, query.name, f'AP {100 * precision:.2f}', query.box))
    if not entries:
        raise ValueError(f'{folder}: holds no ranking NAME.rnk of a query of {dataset.path}: '
                         'test.py writes them to its --temp_dir')
    if without:
        say(f'{folder}: no ranking of {", ".join(without)}')
    return entries


def similarities(dataset, features, say=print):
    """Function for `of_rankings` from descriptors that test.py keeps.

    features: paths before `_queries.npy` and `_dataset.npy`; of several (scales) the descriptors
    are summed and normalized. say: called with a line where the similarities of a ranking do not
    fall: it was made otherwise. ValueError where descriptors and dataset do not fit.
    """
    queries = _descriptors(features, 'queries', [query.name for query in dataset.queries])
    database = _descriptors(features, 'dataset', dataset.images)

    def similar(query, names):
        found = [round(float(database[name] @ queries[query.name]), DIGITS)
                 if name in database else None for name in names]
        known = np.array([value for value in found if value is not None])
        if (np.diff(known) > ROUNDING).any():
            say(f'{query.name}: the similarities do not fall along the ranking: it was made with '
                'other features, or with --aqe or --dbe')
        return found
    return similar


def of_groups(path, truth=None, top=50, most=10000, anchors=None, say=print):
    """Entries of a mapped file: the first `most` lines, the `top` first items of each.

    truth: picture -> its group, as read_truth gives it. anchors: names of the only ones to take.
    say: called with a line where there is more. ValueError for anchors that the file has not got.
    """
    truth, wanted = truth or {}, set(anchors or ())
    entries = []
    for anchor, items in mapped_files.read(path, say):
        if wanted and anchor not in wanted:
            continue
        if len(entries) == most:
            say(f'{path}: the first {most} groups are shown; --groups sets how many')
            break
        items = [item for item in items if item[0] != anchor]
        note = f'the first {top} of {len(items)}' if len(items) > top else ''
        entries.append(Entry(anchor, [Hit(name, score, _same(truth, anchor, name))
                                      for name, score in items[:top]], note=note))
    if not entries and not wanted:
        say(f'{path}: holds no group')
    without = wanted - {entry.query for entry in entries}
    if without and len(entries) < most:
        raise ValueError(f'{path}: has no anchor {", ".join(sorted(without))}')
    return entries


def read_truth(path, say=print):
    """Picture -> its group, of a file of groups that mapped_files.read_groups reads."""
    groups = mapped_files.read_groups(path, say)
    return {name: group for group, names in groups.items() for name in names}


def _same(truth, anchor, name):
    """Whether two pictures are of one group; None where neither is known."""
    if anchor not in truth and name not in truth:
        return None
    return truth.get(anchor) == truth.get(name)


def _descriptors(features, part, names):
    """Name -> descriptor, of the files of one part, summed over `features`."""
    rows = 0
    for start in features:
        path = find_file(f'{start}_{part}.npy')
        some = np.load(path, mmap_mode='r')
        if some.ndim != 2 or len(some) != len(names):
            raise ValueError(f'{path}: {" x ".join(map(str, some.shape))}, but the dataset has '
                             f'{len(names)} of them: it was made from another')
        rows = rows + some
    if len(features) > 1:
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return dict(zip(names, rows))
