"""Write queries or groups with their hits as a folder of static HTML pages.

    entries = [Entry('a.jpg', [Hit('b.jpg', 0.91, 'positive'), Hit('c.jpg', 0.72)]), ...]
    write('tmp/gallery', entries, in_folder('datasets/demo_cover/images'), 'Groups')

index.html can be opened from disk, without a server or network. Pictures are shown as thumbnails
that link to the original files, which are not copied.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterable
from typing import NamedTuple

from deep_retrieval import store
from deep_retrieval.gallery import folder, template, thumbs
from deep_retrieval.gallery.template import Picture, View, url
from deep_retrieval.listing import EXTENSIONS

NAMED = 5       # number of faulty pictures named in a message

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """A query, or the anchor of a group, with its hits.

    Attributes
    ----------
    query : str
        Name of a picture.
    hits : list of Hit
        Best first. Marks are among `template.MARKS`; similarities may be None.
    title : str
        By default the query's name.
    note : str
        Text below the title.
    box : (x1, y1, x2, y2), optional
        Box to outline in the query, in pixels.
    """

    query: str
    hits: list
    title: str = ''
    note: str = ''
    box: tuple | None = None


class Summary(NamedTuple):
    """What was written.

    Attributes
    ----------
    entries, pages, pictures : int
        Numbers of entries, pages and different pictures.
    faults : dict of str to list of str
        Names of the pictures without a thumbnail, by kind of fault.
    """

    entries: int
    pages: int
    pictures: int
    faults: dict


def write(output: str | os.PathLike, entries: list[Entry], locate: Callable, title: str,
          noun: str = 'groups', per_page: int = 20, side: int = 256, overwrite: bool = False,
          inputs: Iterable[str | os.PathLike] = ()) -> Summary:
    """Write a gallery.

    It replaces an older gallery when it is complete. Thumbnails of an interrupted run and of the
    older gallery are reused. Pictures that cannot be shown are logged.

    Parameters
    ----------
    output : path
        The folder to make.
    entries : list of Entry
    locate : callable
        Takes the name of a picture and returns its path, or None if there is no file.
    title : str
        Heading of the pages.
    noun : {'groups', 'queries'}
        Name of the entries on the pages.
    per_page : int
        Entries per page.
    side : int
        Longest side of a thumbnail in pixels.
    overwrite : bool
        Also replace a folder that is not a gallery.
    inputs : iterable of paths
        A folder that contains one of them is never replaced.

    Raises
    ------
    ValueError
        `output` cannot be replaced, or a hit has an unknown mark.
    """
    output = os.path.realpath(output)
    folder.check(output, overwrite, inputs)
    template.check_marks(hit.mark for entry in entries for hit in entry.hits)
    names = list(dict.fromkeys(name for entry in entries
                               for name in (entry.query, *(hit.name for hit in entry.hits))))
    paths = [locate(name) for name in names]
    with folder.replacing(output) as (new, parts):
        found = dict(zip(names, thumbs.make(paths, parts, side), strict=True))
        pictures = {name: _picture(name, path, found[name], side, output)
                    for name, path in zip(names, paths, strict=True)}
        views = [_view(entry, pictures, found) for entry in entries]
        pages = 0
        for name, html in template.pages(title, noun, views, per_page):
            store.write(os.path.join(new, name), html.encode())
            pages += 1
        for name in template.ASSETS:
            shutil.copyfile(template.HERE / name, os.path.join(new, name))
    faults = {}
    for picture in pictures.values():
        if picture.fault:
            faults.setdefault(picture.fault, []).append(picture.name)
    log_faults(faults)
    return Summary(len(entries), pages, len(names), faults)


def log_faults(faults: dict[str, list[str]]) -> None:
    """Warn about pictures that cannot be shown; faults : {kind of fault: names}."""
    for fault, names in faults.items():
        if names:
            some = ', '.join(names[:NAMED]) + (', ...' if len(names) > NAMED else '')
            logger.warning('%s pictures, shown as placeholders: %d (%s)', fault, len(names), some)


def in_folder(path: str | os.PathLike) -> Callable:
    """Return a function `locate` for `write` that finds pictures in a folder by name.

    Names may lack the extension. Names that lead out of the folder are not found.

    Raises
    ------
    ValueError
        There is no such folder.
    """
    if not os.path.isdir(path):
        raise ValueError(f'{path}: is not a folder; give the one that names are relative to')

    def locate(name):
        if store.leads_out(name):
            return None
        whole = os.path.join(path, name)
        return next((file for file in (whole, *(whole + end for end in EXTENSIONS))
                     if os.path.isfile(file)), None)
    return locate


def _picture(name, path, thumb, side, output):
    """Return a Picture for the pages in the folder `output`; thumb : Thumb, or kind of fault."""
    if isinstance(thumb, str):
        return Picture(name, fault=thumb)
    href = url(os.path.relpath(os.path.realpath(path), output))
    return Picture(name, url(f'thumbs/{thumb.file}'), href,
                   *thumbs.fitted(thumb.width, thumb.height, side))


def _view(entry, pictures, found):
    query = pictures[entry.query]
    if entry.box and not query.fault:
        _, width, height = found[entry.query]
        query = query._replace(box=tuple(value / length for value, length in zip(
            entry.box, (width, height) * 2, strict=True)))
    hits = [(pictures[hit.name], hit.similarity, hit.mark) for hit in entry.hits]
    return View(entry.title or entry.query, query, hits, entry.note)
