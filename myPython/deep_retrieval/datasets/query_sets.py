"""Queries and a database read from a folder: those of covers, landmarks, Paris classes, Oxford.

    queries, database = cover('datasets/cover')

Each function returns a list of Query and a list of Item, both in a fixed order. ValueError, in one
line, for a folder that is laid out otherwise.
"""

import os
from typing import NamedTuple

from deep_retrieval.extraction import Item, images_of

# the classes of Paris 6k but for `general`, which has no ground truth
PARIS = ('defense', 'eiffel', 'invalides', 'louvre', 'moulinrouge', 'museedorsay', 'notredame',
         'pantheon', 'pompidou', 'sacrecoeur', 'triomphe')
NO_CLASSES = ('junk', 'useless')    # other folders beside those of classes in triplet/


class Query(NamedTuple):
    """A query: its name, its image, and the names of the database's images that answer it.

    positives may name images that the database has not got: they count as never found. junk is
    skipped as if absent.
    """

    name: str
    item: Item
    positives: frozenset
    junk: frozenset = frozenset()


def cover(folder):
    """Covers: line i of answer.txt has the names, parted by tabs, that answer line i of query.txt.

    The queries' images are in `queries/`, the database in `dataset/`. All of it may also be in
    the folder `clean/` of the given one, where cover_helper makes it.
    """
    folder = _below(folder, 'clean', 'query.txt')
    if not os.path.isfile(os.path.join(folder, 'query.txt')):
        raise ValueError(f'{folder}: has no query.txt; give the folder that cover_helper makes, '
                         'with query.txt, answer.txt, queries/ and dataset/')
    asked, answers = (_read_lines(os.path.join(folder, name))
                      for name in ('query.txt', 'answer.txt'))
    while asked and not asked[-1]:
        asked.pop()
    if len(asked) > len(answers) or any(answers[len(asked):]):
        raise ValueError(f'{folder}: query.txt has {len(asked)} lines and answer.txt '
                         f'{len(answers)}, but a line of one belongs to a line of the other')
    images = {item.name: item for item in _images(folder, 'queries')}
    database = _images(folder, 'dataset')
    known = {item.name for item in database}
    queries = []
    for number, (name, answer) in enumerate(zip(asked, answers), 1):
        names = frozenset(filter(None, answer.split('\t')))
        for file, wanted, there, place in (('query', [name], images, 'queries'),
                                           ('answer', sorted(names), known, 'dataset')):
            lost = next((word for word in wanted if word not in there), None)
            if lost is not None:
                raise ValueError(f'{os.path.join(folder, file)}.txt:{number}: names the image '
                                 f'{lost!r}, which {place}/ has not got')
        queries.append(Query(name, images[name], names))
    return queries, database


def landmark(folder):
    """Landmarks: an image `queries/CLASS/...` is answered by those in `dataset/CLASS/`.

    Classes without a query are in the database too.
    """
    database = _images(folder, 'dataset')
    classes = {}
    for item in database:
        classes.setdefault(_class(folder, 'dataset', item), set()).add(item.name)
    return [Query(item.name, item, frozenset(classes.get(_class(folder, 'queries', item), ())))
            for item in _images(folder, 'queries')], database


def paris(folder, classes=None):
    """Paris by classes: an image of `queries/` is answered by those of `dataset/` of its class.

    A file's class is the one whose name the file's name holds, the longest where it holds several;
    files that hold none are in the database as negatives.
    classes : names; by default the folders in `triplet/`, where paris_helper makes it, or else
        the 11 landmarks. Queries and dataset may also be in the folder `test/` of the given one.
    """
    classes = sorted(classes or _triplet_classes(folder) or PARIS, key=lambda name: -len(name))
    folder = _below(folder, 'test', 'queries')
    database = _images(folder, 'dataset')
    members = {}
    for item in database:
        members.setdefault(_named(item, classes), set()).add(item.name)
    queries = []
    for item in _images(folder, 'queries'):
        found = _named(item, classes)
        queries.append(Query(item.name, item, frozenset(members.get(found, ()) if found else ())))
    return queries, database


def oxford(dataset, crop=False):
    """The queries and images of a helper of dataset_helper; `crop` cuts queries to their boxes."""
    queries = []
    for query in dataset.queries:
        good, ok, junk = map(frozenset, dataset.ground_truth(query))
        item = Item(query.image, dataset.image_path(query.image), query.box if crop else None)
        queries.append(Query(query.name, item, good | ok, junk))
    return queries, [Item(name, dataset.image_path(name)) for name in dataset.images]


def _triplet_classes(folder):
    try:
        with os.scandir(os.path.join(folder, 'triplet')) as entries:
            return [entry.name for entry in entries if entry.is_dir()
                    and entry.name not in NO_CLASSES and not entry.name.startswith('.')]
    except FileNotFoundError:
        return []


def _named(item, classes):
    """The class whose name an image's name holds, or None; `classes` has the longest first."""
    return next((name for name in classes if name in item.name), None)


def _class(folder, part, item):
    name, inside, _ = item.name.partition('/')
    if not inside:
        raise ValueError(f'{item.path}: lies in no class folder: {os.path.join(folder, part)} '
                         'holds a folder of images for each class')
    return name


def _below(folder, name, wanted):
    """The folder, or the one of this name in it where only that has what is wanted."""
    below = os.path.join(folder, name)
    if os.path.exists(os.path.join(below, wanted)) and not os.path.exists(
            os.path.join(folder, wanted)):
        return below
    return folder


def _images(folder, name):
    path = os.path.join(folder, name)
    if not os.path.isdir(path):
        raise ValueError(f'{folder}: has no folder {name}/; give a folder with queries/ and '
                         'dataset/ in it')
    return images_of(path)


def _read_lines(path):
    """The lines of a file of names."""
    # names are bytes to the system: those that are no text pass through
    with open(path, encoding='utf-8-sig', errors='surrogateescape') as file:
        return [line.rstrip('\n') for line in file]
