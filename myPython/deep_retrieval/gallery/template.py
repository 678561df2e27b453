"""Render the pages of a gallery as HTML from page.html; style.css and script.js go beside them.

    for name, html in pages('Ranking of demo', 'queries', views, per_page=20): ...

Pictures, names and similarities are in the HTML itself; the script adds the threshold slider and
keyboard shortcuts.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from deep_retrieval import optional
from deep_retrieval.duplicates.mapped_files import score_text

HERE = Path(__file__).parent
ASSETS = ('style.css', 'script.js')
GENERATOR = 'make_gallery of my-deep-retrieval'     # in the HTML: identifies a gallery

# mark of a hit -> how it is counted, and the sign and word to show
MARKS = {
    'positive': ('same', '✓', 'same'),
    'good': ('same', '✓', 'good'),
    'ok': ('same', '✓', 'ok'),
    'negative': ('other', '✗', 'other'),
    'junk': ('junk', '–', 'junk'),
    None: ('', '', ''),
}
# name of the entries -> word for one entry, and for its first picture
NOUNS = {'queries': ('query', 'query'), 'groups': ('group', 'anchor')}
KINDS = {'same': 'same', 'other': 'other', 'junk': 'junk', '': 'not marked'}
FEWEST_STEPS, MOST_STEPS = 20, 500      # of the slider, approximately
MOST_DECIMALS = 4


class Picture(NamedTuple):
    """A picture on a page: its name, thumbnail and file, or its fault."""

    name: str
    thumb: str = ''             # URLs relative to the page
    href: str = ''
    width: int = 0              # of the thumbnail
    height: int = 0
    fault: str = ''             # 'missing' or 'damaged': there is no thumbnail
    box: tuple | None = None    # x1 y1 x2 y2 to outline, as fractions of width and height


class View(NamedTuple):
    """An entry of a page; hits : list of (Picture, similarity or None, mark)."""

    title: str
    query: Picture
    hits: list
    note: str = ''


def check_marks(marks: Iterable) -> None:
    """Raise ValueError for a mark that is not one of MARKS."""
    for mark in set(marks) - set(MARKS):
        raise ValueError(f'unknown mark {mark!r}; known are {", ".join(map(str, MARKS))}')


def pages(title: str, noun: str, views: list[View], per_page: int) -> Iterator[tuple[str, str]]:
    """Yield (file name, HTML) of each page; `noun` is a key of NOUNS."""
    template = _environment().get_template('page.html')
    total = max(1, -(-len(views) // per_page))
    shared = {
        'title': title, 'noun': noun, 'nouns': NOUNS[noun],
        'generator': GENERATOR, 'marks': MARKS, 'total': total,
        'entries': len(views), 'hits': sum(len(view.hits) for view in views),
        'slider': _slider(views), 'aspect': _aspect(views),
        'kinds': [kind for kind in KINDS if any(
            MARKS[mark][0] == kind for view in views for _, _, mark in view.hits) and kind],
    }
    for page in range(1, total + 1):
        first = (page - 1) * per_page
        yield page_name(page), template.render(
            shared, page=page, first=first + 1, views=views[first:first + per_page],
            links=_links(page, total), name_of=page_name)


def page_name(page: int) -> str:
    """Return the file name of a page, counted from 1."""
    return 'index.html' if page == 1 else f'page-{page}.html'


def url(path: str) -> str:
    """Return a relative path as a URL; names may have any bytes."""
    return quote(os.fsencode(path))


def _environment():
    jinja2 = optional.need('jinja2', 'gallery')
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE, encoding='utf-8'), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=_text)
    # rounded down, so that a hit shown as 0.750 is not hidden by a threshold of 0.75
    environment.filters.update(boxed=_boxed, breakable=_breakable, rounded_down=score_text)
    return environment


def _text(value):
    """Replace bytes of a file name that are not UTF-8 by question marks."""
    if isinstance(value, str) and not value.isascii():
        value = type(value)(value.encode('utf-8', 'replace').decode())
    return value


def _breakable(name):
    """Allow line breaks in a name after / and _."""
    from markupsafe import Markup, escape  # of Jinja2
    return Markup(re.sub('([/_])', r'\1<wbr>', str(escape(_text(name)))))


def _links(page, total):
    """Return the numbers of the pages to link to; None stands for a gap."""
    shown = sorted({1, total, *range(max(1, page - 2), min(total, page + 2) + 1)})
    links = []
    for number in shown:
        if links and number > links[-1] + 1:
            links.append(None)
        links.append(number)
    return links


def _slider(views):
    """Return the slider's range, and the number of hits of each kind at each step; or None."""
    found = {}
    for view in views:
        for _, similarity, mark in view.hits:
            if similarity is not None:
                found.setdefault(MARKS[mark][0], []).append(similarity)
    if not found:
        return None
    least, most = (pick(map(pick, found.values())) for pick in (min, max))
    decimals = 2
    while (most - least) * 10 ** decimals > MOST_STEPS:
        decimals -= 1
    while (most - least) * 10 ** decimals < FEWEST_STEPS and decimals < MOST_DECIMALS:
        decimals += 1
    scale = 10 ** decimals
    steps = range(int(np.floor(least * scale)), int(np.ceil(most * scale)) + 1)
    # k / 100 equals the number that JavaScript parses from its text: 0.69 is the same in both
    thresholds = np.array([step / scale for step in steps])
    counts = []
    for kind, name in KINDS.items():
        if kind in found:
            below = np.searchsorted(np.sort(found[kind]), thresholds)
            counts.append((name, (len(found[kind]) - below).tolist()))
    digits = max(decimals, 0)
    least, most, step = (f'{value / scale:.{digits}f}' for value in (steps[0], steps[-1], 1))
    return {'min': least, 'max': most, 'step': step, 'counts': counts}


def _aspect(views):
    """Return width / height of the cells: the median of all pictures, limited to 2/3 to 16/9."""
    ratios = [picture.width / picture.height for view in views
              for picture in (view.query, *(hit[0] for hit in view.hits)) if not picture.fault]
    return round(float(np.clip(np.median(ratios or [4 / 3]), 2 / 3, 16 / 9)), 3)


def _boxed(picture, aspect):
    """Return the CSS of a picture's box in its cell, where the picture is scaled and centred."""
    own = picture.width / picture.height
    width, height = min(1, own / aspect), min(1, aspect / own)      # as fractions of the cell
    x1, y1, x2, y2 = (min(max(value, 0), 1) for value in picture.box)
    values = {'left': (1 - width) / 2 + x1 * width, 'top': (1 - height) / 2 + y1 * height,
              'width': (x2 - x1) * width, 'height': (y2 - y1) * height}
    return ';'.join(f'{name}:{100 * value:.2f}%' for name, value in values.items())
