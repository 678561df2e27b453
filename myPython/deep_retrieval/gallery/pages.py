"""Queries or groups and what was found for each, as a folder of static HTML pages.

    entries = [Entry('a.jpg', [Hit('b.jpg', 0.91, True), Hit('c.jpg', 0.72, False)]), ...]
    write('tmp/gallery', entries, in_folder('datasets/demo_cover/images'), 'Groups')

Opened from the disk, index.html needs no server and no network. Pictures are shown as thumbnails
and link to the files themselves, which stay where they are.
"""
import os
import shutil
from typing import NamedTuple, Optional

from deep_retrieval.files import leads_out, write_aside
from deep_retrieval.gallery import folder, template, thumbs
from deep_retrieval.gallery.template import Picture, View, url
from deep_retrieval.listing import EXTENSIONS


class Hit(NamedTuple):
    """A found picture: name, similarity or None, truth.

    truth: True (same origin as the query), False, 'good', 'ok', 'junk', or None for not known.
    """

    name: str
    similarity: Optional[float] = None
    truth: object = None


class Entry(NamedTuple):
    """A query, or the anchor of a group, and its hits (list of Hit), the best first.

    title: the query's name by default. note: a word on it. box: x1 y1 x2 y2 in pixels to outline.
    """

    query: str
    hits: list
    title: str = ''
    note: str = ''
    box: Optional[tuple] = None


class Summary(NamedTuple):
    """What was written: entries, pages, different pictures, and what is wrong {word: [names]}."""

    entries: int
    pages: int
    pictures: int
    faults: dict


def write(output, entries, locate, title, noun='groups', per_page=20, side=256, overwrite=False,
          inputs=()):
    """Write a gallery of `entries` (list of Entry) to the folder `output`; returns a Summary.

    locate: function from a picture's name to its path, or None where it has none. noun: what the
    entries are called. per_page: entries on a page. side: longest side of a thumbnail in pixels.
    overwrite: replace a folder that holds something else than a gallery, too, though none that
    holds any of the paths `inputs`. ValueError where `output` cannot be taken, and for a truth that
    is none.

    The gallery is made in `output`.part and takes the place of an older one when it is whole. A run
    that was interrupted is gone on with; thumbnails of the older one are kept.
    """
    output = os.path.realpath(output)
    folder.check(output, overwrite, inputs)
    names = list(dict.fromkeys(name for entry in entries
                               for name in (entry.query, *(hit[0] for hit in entry.hits))))
    paths = [locate(name) for name in names]
    with folder.replacing(output) as new:
        found = dict(zip(names, thumbs.make(paths, os.path.join(new, 'thumbs'), side)))
        pictures = {name: _picture(name, path, found[name], side, output)
                    for name, path in zip(names, paths)}
        views = [_view(entry, pictures, found) for entry in entries]
        for page, (name, html) in enumerate(template.pages(title, noun, views, per_page), 1):
            write_aside(os.path.join(new, name), lambda file: file.write(html.encode()))
        for name in template.ASSETS:
            shutil.copyfile(template.HERE / name, os.path.join(new, name))
    faults = {}
    for picture in pictures.values():
        if picture.fault:
            faults.setdefault(picture.fault, []).append(picture.name)
    return Summary(len(entries), page, len(names), faults)


def in_folder(path):
    """Function from a name to its file below the folder `path`, for `write`.

    A name may leave its extension out. Names that lead out of the folder have no file. ValueError
    where there is no such folder.
    """
    if not os.path.isdir(path):
        raise ValueError(f'{path}: is no folder: the one that the names are relative to is needed')

    def locate(name):
        if leads_out(name):
            return None
        whole = os.path.join(path, name)
        return next((file for file in (whole, *(whole + end for end in EXTENSIONS))
                     if os.path.isfile(file)), None)
    return locate


def _picture(name, path, thumb, side, output):
    """A Picture for the pages in the folder `output`; thumb: Thumb or a word."""
    if isinstance(thumb, str):
        return Picture(name, fault=thumb)
    href = url(os.path.relpath(os.path.realpath(path), output))
    return Picture(name, url(f'thumbs/{thumb.file}'), href,
                   *thumbs.fitted(thumb.width, thumb.height, side))


def _view(entry, pictures, found):
    query = pictures[entry.query]
    if entry.box and not query.fault:
        _, width, height = found[entry.query]
        query = query._replace(box=tuple(
            value / length for value, length in zip(entry.box, (width, height) * 2)))
    hits = [(pictures[name], similarity, truth) for name, similarity, truth in entry.hits]
    return View(entry.title or entry.query, query, hits, entry.note)
