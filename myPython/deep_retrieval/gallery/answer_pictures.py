"""Save rankings as folders of pictures: copies of the images named RANK_NAME_SIMILARITY.jpg.

    fill('tmp/wrong', {'0001_a/00003_b_0.712.jpg': copy_of('b.jpg'), ...}, overwrite=False)

A folder with other files is refused. The file pictures.json in the folder lists the pictures: only
those are ever removed, and only with `overwrite`.
"""

import json
import os
import unicodedata
from collections.abc import Callable

from deep_retrieval import progress, store
from deep_retrieval.datasets.base import Dataset
from deep_retrieval.gallery import picture
from deep_retrieval.gallery.pages import Entry
from deep_retrieval.images import read_image
from deep_retrieval.store import StoreError

LIST, ASIDE = 'pictures.json', '.aside'
LONGEST = 180   # bytes of the image's name in a file name, which can have 255


def save_answers(folder: str, dataset: Dataset, answers: list, overwrite: bool,
                 crop: bool = True) -> None:
    """Save a picture of each query with its first hits, and copies of its wrong answers.

    Parameters
    ----------
    folder : str
    dataset : Dataset
    answers : list of evaluate.Answer
        Query number i (from 1) gets `000i_NAME.jpg` and, if it has wrong answers, the folder
        `000i_NAME`.
    overwrite : bool
        See `fill`.
    crop : bool
        Outline the query's box.
    """
    pictures = {}
    for number, answer in enumerate(answers, 1):
        name = f'{number:04d}_{file_name(answer.query.name, dataset.query_path(answer.query))}'
        pictures[f'{name}.jpg'] = _strip_of(dataset, answer, crop)
        for rank, hit in answer.wrong.items():
            path = dataset.image_path(hit.name)
            pictures[f'{name}/{hit_name(rank, hit.name, path, hit.similarity)}'] = copy_of(path)
    fill(folder, pictures, overwrite)


def hit_name(rank: int, name: str, path: str, similarity: float) -> str:
    """Return RANK_NAME_SIMILARITY with the extension of the image's file."""
    extension = os.path.splitext(path)[1]
    return f'{rank:05d}_{file_name(name, path)}_{similarity:.3f}{extension}'


def file_name(name: str, path: str) -> str:
    """Return an image's name for use in a file name, without folders and extension."""
    name = name.removesuffix(os.path.splitext(path)[1])
    name = ''.join('_' if letter == '/' or unicodedata.category(letter) == 'Cc' else letter
                   for letter in name)
    # keep the ends, where names differ; invalid bytes, such as half a letter, become _ too
    return os.fsencode(name)[-LONGEST:].decode('utf-8', 'replace').replace('\ufffd', '_')


def copy_of(source: str) -> Callable:
    """Return a function that copies the file `source` to a path."""
    return lambda path: store.place(source, path)


def check(folder: str, overwrite: bool) -> None:
    """Make a folder; StoreError if it has files but was not written by `fill`."""
    os.makedirs(folder, exist_ok=True)
    found = os.listdir(folder)
    if found and LIST not in found and not overwrite:
        _refuse(folder, min(found))


def fill(folder: str, pictures: dict[str, Callable], overwrite: bool) -> None:
    """Write pictures into a folder.

    Parameters
    ----------
    folder : str
    pictures : dict of str to callable
        Path relative to the folder -> function that writes the picture to a path.
    overwrite : bool
        Accept a folder with files: those written by an earlier call are removed, the others stay.

    Raises
    ------
    StoreError
        The folder has other files.
    """
    before = _listed(folder)
    if not overwrite:
        for path in _files(folder):
            # a killed run may leave the file that it was writing
            if path.removesuffix(ASIDE) not in {LIST, *pictures}:
                _refuse(folder, path)
    for path in before - set(pictures):
        _remove(folder, path + ASIDE)
        _remove(folder, path)
    store.write_json(os.path.join(folder, LIST), sorted(pictures))
    for path, write in progress.bar(pictures.items(), unit='picture', desc='pictures'):
        path = os.path.join(folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write(path)


def _strip_of(dataset, answer, crop):
    """Return a function that draws a query and the first hits of its ranking to a file."""
    def write(path):
        query = answer.query
        asked = dataset.query_path(query)
        entry = Entry(asked, answer.top, query.name, box=query.box if crop else None)
        found = {hit.name: dataset.image_path(hit.name) for hit in answer.top}
        picture.save(path, picture.strip([entry],
                                         lambda name: read_image(found.get(name, name))))
    return write


def _files(folder):
    """Return the relative paths of the files in a folder and in its subfolders."""
    for path, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(path, name), folder)


def _listed(folder):
    """Return the set of pictures listed by an earlier call."""
    path = os.path.join(folder, LIST)
    try:
        with open(path, encoding='utf-8') as file:
            return {str(picture) for picture in json.load(file)}
    except FileNotFoundError:
        return set()
    except (ValueError, TypeError, RecursionError):
        raise StoreError(f'{path}: is not a list of pictures; give another folder') from None


def _remove(folder, path):
    """Remove a listed picture, and its folder if it becomes empty."""
    whole = os.path.join(folder, path)
    if store.leads_out(path) or not os.path.lexists(whole):
        return
    os.unlink(whole)
    if os.path.dirname(path) and not os.listdir(os.path.dirname(whole)):
        os.rmdir(os.path.dirname(whole))


def _refuse(folder, name):
    raise StoreError(f'{folder}: contains other files, such as {name!r}; give another folder, or '
                     '--overwrite to write into this one')
