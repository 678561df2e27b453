"""The Oxford and Paris buildings datasets: their images, queries and ground truth.

The datasets are those of Philbin et al., CVPR 2007 and 2008. A dataset's folder has the images in
`jpg/` and the ground truth in `lab/`. For a query NAME, these are the files `NAME_query.txt` (the
name of an image and the box x1 y1 x2 y2 in pixels), `NAME_good.txt`, `NAME_ok.txt` and
`NAME_junk.txt` (names of images). Names of images have no extension.
"""

import math
import os

from deep_retrieval.datasets.base import Dataset, DatasetError, Query, Truth, has
from deep_retrieval.listing import EXTENSIONS

GRADES = ('good', 'ok', 'junk')

# images that are damaged in the distributed archives
DAMAGED = frozenset('''
    paris_louvre_000136 paris_louvre_000146 paris_moulinrouge_000422 paris_museedorsay_001059
    paris_notredame_000188 paris_pantheon_000284 paris_pantheon_000960 paris_pantheon_000974
    paris_pompidou_000195 paris_pompidou_000196 paris_pompidou_000201 paris_pompidou_000467
    paris_pompidou_000640 paris_sacrecoeur_000299 paris_sacrecoeur_000330 paris_sacrecoeur_000353
    paris_triomphe_000662 paris_triomphe_000833 paris_triomphe_000863 paris_triomphe_000867
'''.split())


class OxfordHelper(Dataset):
    """The dataset in a folder. The ground truth is read and checked when it is opened.

    Images and queries are sorted by name.

    Parameters
    ----------
    path : path of the folder
    ignored : set of str, optional
        Names of images to leave out, instead of the class's own list.

    Raises
    ------
    DatasetError
        A folder or a file is missing, malformed or unreadable; the name of an image is ambiguous
        or has white space; a query's image is missing; or a query has no positive.
    """

    name = 'Oxford'
    metric = 'oxford'
    layout = 'jpg/ and lab/'
    prefix = 'oxc1_'  # may precede the image names, but only in the query files
    ignored = frozenset()  # names of images to leave out

    @classmethod
    def fits(cls, path: str | os.PathLike) -> bool:
        """Return whether a folder has this layout."""
        return has(path, 'jpg', 'lab')

    def __init__(self, path, ignored=None):
        self.path = str(path)
        if ignored is not None:
            self.ignored = frozenset(ignored)
        if not os.path.isdir(self.path):
            raise DatasetError(f'no such folder: {self.path}: the dataset\'s folder is expected, '
                               'with jpg/ and lab/ in it')
        self._files = self._find_images()
        self.images = sorted(self._files)
        self.queries, self._truth = self._read_queries()

    def image_path(self, name: str) -> str:
        """Return the path of an image's file; DatasetError for an unknown name."""
        if name not in self._files:
            raise DatasetError(f'no image {name} in {self._folder("jpg")}')
        return os.path.join(self._folder('jpg'), self._files[name])

    def truth(self, query: Query) -> Truth:
        """Return the ground truth of a query: good and ok images are positives."""
        good, ok, junk = self._truth[query.name]
        return Truth(frozenset(good + ok), frozenset(junk))

    def ground_truth(self, query: Query) -> tuple[list, list, list]:
        """Return the names of a query's good, ok and junk images, as the files list them.

        They may include images that the dataset does not have or ignores; recall counts those too.
        """
        return self._truth[query.name]

    def lab_prefix(self, query: Query) -> str:
        """Return the path before `_good.txt` of a query, the first argument of compute_ap."""
        return os.path.join(self._folder('lab'), query.name)

    def _folder(self, name):
        return os.path.join(self.path, name)

    def _find_images(self):
        """Return the file names in jpg/ by image name."""
        folder = self._folder('jpg')
        files = {}
        for file in self._list(folder):
            name, extension = os.path.splitext(file)
            if extension.lower() not in EXTENSIONS or name in self.ignored:
                continue
            if name.split() != [name]:
                raise DatasetError(f'{os.path.join(folder, file)}: the name has white space, '
                                   'at which lists of names would split it: rename the file')
            if name in files:
                raise DatasetError(f'{folder}: {files[name]} and {file} are both the image {name}: '
                                   'remove one')
            files[name] = file
        if not files:
            raise DatasetError(f'no images in {folder}: put the {", ".join(EXTENSIONS)} files '
                               'there, not in folders below it')
        return files

    def _read_queries(self):
        """Return the queries, sorted by name, and their (good, ok, junk) by name."""
        folder = self._folder('lab')
        end = '_query.txt'
        names = sorted(file[:-len(end)] for file in self._list(folder) if file.endswith(end))
        if not names:
            raise DatasetError(f'no *{end} in {folder}: unpack the ground truth there')
        queries = [self._read_query(name) for name in names]
        truth = {query.name: self._read_truth(query) for query in queries}
        return queries, truth

    def _read_query(self, name):
        path = os.path.join(self._folder('lab'), f'{name}_query.txt')
        words = read_words(path)
        if len(words) != 5:
            raise DatasetError(f'{path}: holds {len(words)} words, but must hold 5: '
                               'an image name and the box x1 y1 x2 y2')
        try:
            box = tuple(float(word) for word in words[1:])
        except ValueError as error:
            raise DatasetError(f'{path}: the box is not four numbers: {error}') from error
        x1, y1, x2, y2 = box
        if not (all(map(math.isfinite, box)) and x1 < x2 and y1 < y2):
            raise DatasetError(f'{path}: {" ".join(words[1:])} is not a box: '
                               'finite numbers x1 < x2 and y1 < y2 are needed')
        image = words[0].removeprefix(self.prefix)
        if image not in self._files:
            raise DatasetError(f'{path}: its image {image} is not in {self._folder("jpg")}: '
                               'unpack all images there')
        return Query(name, image, box)

    def _read_truth(self, query):
        prefix = self.lab_prefix(query)
        good, ok, junk = (read_words(f'{prefix}_{grade}.txt') for grade in GRADES)
        if not good and not ok:
            raise DatasetError(f'{prefix}_good.txt and _ok.txt name no image, but a query needs '
                               'a positive: unpack the ground truth again')
        return good, ok, junk

    def _list(self, folder):
        """Return the sorted names of a folder's files, without hidden files."""
        try:
            with os.scandir(folder) as entries:
                # keep dangling links: they must fail as images, not vanish from the ranking
                return sorted(entry.name for entry in entries
                              if not entry.name.startswith('.') and not entry.is_dir())
        except OSError as error:
            raise DatasetError(f'cannot read the folder {folder}: {error.strerror}: jpg/ and lab/ '
                               f'are expected in {self.path}') from error


def read_words(path: str) -> list[str]:
    """Return the words of a text file, separated by white space; DatasetError if it is damaged."""
    try:
        with open(path, encoding='utf-8') as file:
            return file.read().split()
    except OSError as error:
        raise DatasetError(f'cannot read {path}: {error.strerror}: unpack the ground truth '
                           'again') from error
    except UnicodeDecodeError as error:
        raise DatasetError(f'{path}: is not text: unpack the ground truth again') from error


class ParisHelper(OxfordHelper):
    """The dataset in a folder, without its 20 damaged images."""

    name = 'Paris'
    ignored = DAMAGED
