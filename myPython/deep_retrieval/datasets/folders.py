"""Datasets with ground truth in folders, file names or a list: covers, landmarks, classes.

    dataset = Covers('datasets/cover')
    dataset = Classes('datasets/landmark/clean')    # one folder per class
"""

import os

from deep_retrieval.datasets.base import Dataset, DatasetError, Query, Truth, has, images_of
from deep_retrieval.listing import list_images

# the classes of Paris 6k except `general`, which has no ground truth
PARIS = ('defense', 'eiffel', 'invalides', 'louvre', 'moulinrouge', 'museedorsay', 'notredame',
         'pantheon', 'pompidou', 'sacrecoeur', 'triomphe')
NO_CLASSES = ('junk', 'useless')    # folders in triplet/ that are not classes


class _Parts(Dataset):
    """Base of datasets with the queries' images in `queries/` and the database in `dataset/`."""

    def __init__(self, path):
        self.path = str(path)
        self._paths = {item.name: item.path for item in self._images('dataset')}
        self._query_paths = {item.name: item.path for item in self._images('queries')}
        self.images = list(self._paths)
        self.queries = [Query(name, name) for name in self._query_paths]

    def image_path(self, name):
        """Return the path of a database image; DatasetError for an unknown name."""
        if name not in self._paths:
            raise DatasetError(f'no image {name} in {os.path.join(self.path, "dataset")}')
        return self._paths[name]

    def query_path(self, query):
        """Return the path of a query's image, which is not part of the database."""
        return self._query_paths[query.image]

    def _images(self, part):
        folder = os.path.join(self.path, part)
        if not os.path.isdir(folder):
            raise DatasetError(f'{self.path}: has no folder {part}/; give a folder with queries/ '
                               'and dataset/ in it')
        return images_of(folder)


class Covers(_Parts):
    """Covers: line i of answer.txt names the positives of the query in line i of query.txt.

    Names are separated by tabs. All files may also be in the subfolder `clean/`, where
    cover_helper.py writes them.

    Raises
    ------
    DatasetError
        A file or folder is missing, a name has no image, or the two lists do not match.
    """

    name = 'Covers'
    layout = 'query.txt and answer.txt'

    @classmethod
    def fits(cls, path: str | os.PathLike) -> bool:
        """Return whether a folder has this layout."""
        return any(has(path, f'{folder}query.txt', f'{folder}answer.txt')
                   for folder in ('', 'clean/'))

    def __init__(self, path):
        path = _below(path, 'clean', 'query.txt')
        if not os.path.isfile(os.path.join(path, 'query.txt')):
            raise DatasetError(f'{path}: has no query.txt; give the folder that cover_helper '
                               'makes, with query.txt, answer.txt, queries/ and dataset/')
        asked, answers = (_read_lines(os.path.join(path, name))
                          for name in ('query.txt', 'answer.txt'))
        while asked and not asked[-1]:
            asked.pop()
        if len(asked) > len(answers) or any(answers[len(asked):]):
            raise DatasetError(f'{path}: query.txt has {len(asked)} lines and answer.txt '
                               f'{len(answers)}, but they must have the same number of lines')
        super().__init__(path)
        self._truth = {}
        for number, (name, answer) in enumerate(zip(asked, answers, strict=False), 1):
            self._truth[name] = self._checked(number, name, answer)
        self.queries = [Query(name, name) for name in asked]

    def truth(self, query: Query) -> Truth:
        """Return which images answer a query."""
        return self._truth[query.name]

    def _checked(self, number, name, answer):
        names = frozenset(filter(None, answer.split('\t')))
        for file, wanted, there, part in (('query', [name], self._query_paths, 'queries'),
                                          ('answer', sorted(names), self._paths, 'dataset')):
            place = f'{os.path.join(self.path, file)}.txt:{number}'
            lost = next((word for word in wanted if word not in there), None)
            if lost is not None:
                raise DatasetError(f'{place}: names the image {lost!r}, which is not in {part}/')
        if name in self._truth:
            raise DatasetError(f'{self.path}/query.txt:{number}: names the image {name!r} again; '
                               'put all its answers into one line of answer.txt')
        return Truth(names)


class Landmark(_Parts):
    """Landmarks: the positives of an image in `queries/CLASS/` are those in `dataset/CLASS/`.

    The database also includes classes without a query.
    """

    name = 'Landmark'
    layout = 'queries/ and dataset/'

    @classmethod
    def fits(cls, path: str | os.PathLike) -> bool:
        """Return whether a folder has this layout."""
        return has(path, 'queries', 'dataset')

    def __init__(self, path):
        super().__init__(path)
        self._classes = _members(self.images, lambda name: self._class('dataset', name))
        for query in self.queries:
            self._class('queries', query.image)

    def truth(self, query: Query) -> Truth:
        """Return which images answer a query."""
        return Truth(self._classes.get(self._class('queries', query.image), frozenset()))

    def _class(self, part, name):
        return _class_of(os.path.join(self.path, part), name)


class ParisClasses(_Parts):
    """Paris by classes: the positives of an image in `queries/` are those of its class.

    The class of an image is the one whose name is part of the file name, the longest of several.
    Images without a class are negatives. Queries and database may also be in the subfolder `test/`.

    Parameters
    ----------
    path : path
    classes : list of str, optional
        By default the folders in `triplet/`, made by paris_helper.py, or the 11 landmarks of Paris
        if it does not exist.
    """

    name = 'ParisClasses'

    def __init__(self, path, classes=None):
        self._names = sorted(classes or _triplet_classes(path) or PARIS, key=len, reverse=True)
        super().__init__(_below(path, 'test', 'queries'))
        self._classes = _members(self.images, self._class)

    def truth(self, query: Query) -> Truth:
        """Return which images answer a query."""
        name = self._class(query.image)
        return Truth(self._classes.get(name, frozenset()) if name else frozenset())

    def _class(self, image):
        return next((name for name in self._names if name in image), None)


class Classes(Dataset):
    """One folder of images per class: each image is a query for the others of its class.

    The query itself, which is also in the database, is junk. An image's name is its path relative
    to the folder.
    """

    name = 'Classes'
    layout = 'one folder per class'

    @classmethod
    def fits(cls, path: str | os.PathLike) -> bool:
        """Return whether a folder contains only folders, at least two of them with images."""
        if has(path, 'jpg') or list_images(path):
            return False
        folders = [entry.path for entry in os.scandir(path) if entry.is_dir()
                   and not entry.name.startswith('.')]
        return sum(bool(list_images(folder)) for folder in folders) >= 2

    def __init__(self, path):
        self.path = str(path)
        self._paths = {item.name: item.path for item in images_of(self.path)}
        self.images = list(self._paths)
        self.queries = [Query(name, name) for name in self.images]
        self._classes = _members(self.images, lambda name: _class_of(self.path, name))

    def image_path(self, name: str) -> str:
        """Return the path of an image's file; DatasetError for an unknown name."""
        if name not in self._paths:
            raise DatasetError(f'no image {name} in {self.path}')
        return self._paths[name]

    def truth(self, query: Query) -> Truth:
        """Return which images answer a query."""
        itself = frozenset([query.image])
        return Truth(self._classes[_class_of(self.path, query.image)] - itself, itself)


def _members(names, class_of):
    """Return {class: set of its images' names}."""
    classes = {}
    for name in names:
        classes.setdefault(class_of(name), set()).add(name)
    return {key: frozenset(members) for key, members in classes.items()}


def _class_of(folder, name):
    """Return the class folder of an image."""
    found, inside, _ = name.partition('/')
    if not inside:
        raise DatasetError(f'{os.path.join(folder, name)}: is not in a class folder: {folder} must '
                           'have one folder of images per class')
    return found


def _triplet_classes(folder):
    try:
        with os.scandir(os.path.join(folder, 'triplet')) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir()
                          and entry.name not in NO_CLASSES and not entry.name.startswith('.'))
    except FileNotFoundError:
        return []


def _below(folder, name, wanted):
    """Return the folder, or its subfolder of this name if only that has the wanted entries."""
    below = os.path.join(folder, name)
    if os.path.exists(os.path.join(below, wanted)) and not os.path.exists(
            os.path.join(folder, wanted)):
        return below
    return str(folder)


def _read_lines(path):
    """Return the lines of a file of names."""
    # file names are bytes to the system: keep those that are not valid text
    with open(path, encoding='utf-8-sig', errors='surrogateescape') as file:
        return [line.rstrip('\n') for line in file]
