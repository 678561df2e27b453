"""The gallery's pages as HTML: page.html is the template, style.css and script.js go beside them.

    for name, html in pages('Ranking of demo', 'queries', views, per_page=20): ...

Pictures, names and similarities stand in the HTML itself; the script adds the threshold and keys.
"""
import os
import re
from pathlib import Path
from typing import NamedTuple, Optional
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from deep_retrieval.duplicates.mapped_files import score_text

HERE = Path(__file__).parent
ASSETS = ('style.css', 'script.js')
GENERATOR = 'make_gallery of my-deep-retrieval'     # by it a folder is known as a gallery

# truth of a hit -> what it is counted as, and the sign and word that say so
MARKS = {
    True: ('same', '✓', 'same'),
    'good': ('same', '✓', 'good'),
    'ok': ('same', '✓', 'ok'),
    False: ('other', '✗', 'other'),
    'junk': ('junk', '–', 'junk'),
    None: ('', '', ''),
}
# what entries are -> the word for one of them, and for the picture that it begins with
NOUNS = {'queries': ('query', 'query'), 'groups': ('group', 'anchor')}
KINDS = {'same': 'same', 'other': 'other', 'junk': 'junk', '': 'not marked'}
FEWEST_STEPS, MOST_STEPS = 20, 500      # of the slider, about
MOST_DECIMALS = 4


class Picture(NamedTuple):
    """A picture on a page: its name, thumbnail and its size, the file itself, or what is wrong."""

    name: str
    thumb: str = ''             # URLs, relative to the page
    href: str = ''
    width: int = 0              # of the thumbnail
    height: int = 0
    fault: str = ''             # 'missing', 'damaged': there is no thumbnail then
    box: Optional[tuple] = None     # x1 y1 x2 y2 to outline, in parts of width and height


class View(NamedTuple):
    """An entry as a page shows it; hits: list of (Picture, similarity or None, truth)."""

    title: str
    query: Picture
    hits: list
    note: str = ''


def pages(title, noun, views, per_page):
    """Yield (file name, HTML) of each page. noun: a key of NOUNS.

    ValueError for a truth that MARKS has not got.
    """
    template = _environment().get_template('page.html')
    total = max(1, -(-len(views) // per_page))
    shared = {
        'title': title, 'noun': noun, 'nouns': NOUNS[noun],
        'generator': GENERATOR, 'marks': MARKS, 'total': total,
        'entries': len(views), 'hits': sum(len(view.hits) for view in views),
        'slider': _slider(views), 'aspect': _aspect(views),
        'kinds': [kind for kind in KINDS if any(
            _kind(truth) == kind for view in views for _, _, truth in view.hits) and kind],
    }
    for page in range(1, total + 1):
        first = (page - 1) * per_page
        yield page_name(page), template.render(
            shared, page=page, first=first + 1, views=views[first:first + per_page],
            links=_links(page, total), name_of=page_name)


def page_name(page):
    """File name of a page, counted from 1."""
    return 'index.html' if page == 1 else f'page-{page}.html'


def url(path):
    """A relative path as a URL, whatever bytes its name has."""
    return quote(os.fsencode(path))


def _environment():
    environment = Environment(
        loader=FileSystemLoader(HERE, encoding='utf-8'), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=StrictUndefined, finalize=_text)
    # down, so that what is shown as 0.750 stays at a threshold of 0.75
    environment.filters.update(boxed=_boxed, breakable=_breakable, rounded_down=score_text)
    return environment


def _text(value):
    """What UTF-8 cannot hold (bytes of a file's name) as question marks."""
    if isinstance(value, str) and not value.isascii():
        value = type(value)(value.encode('utf-8', 'replace').decode())
    return value


def _breakable(name):
    """A name that may be broken into lines behind / and _."""
    return Markup(re.sub('([/_])', r'\1<wbr>', str(escape(_text(name)))))


def _kind(truth):
    try:
        return MARKS[truth][0]
    except KeyError:
        raise ValueError(f'no truth {truth!r}; known are {", ".join(map(str, MARKS))}') from None


def _links(page, total):
    """Numbers of the pages to link to, None where some are left out."""
    shown = sorted({1, total, *range(max(1, page - 2), min(total, page + 2) + 1)})
    links = []
    for number in shown:
        if links and number > links[-1] + 1:
            links.append(None)
        links.append(number)
    return links


def _slider(views):
    """Range of the threshold, and how many hits of each kind reach each of its steps; or None."""
    found = {}
    for view in views:
        for _, similarity, truth in view.hits:
            if similarity is not None:
                found.setdefault(_kind(truth), []).append(similarity)
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
    # k / 100 is the number that the text of k / 100 is read as: 0.69 is 0.69 here and there
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
    """Width / height of the cells: the median of the pictures', within 2/3 to 16/9."""
    ratios = [picture.width / picture.height for view in views
              for picture in (view.query, *(hit[0] for hit in view.hits)) if not picture.fault]
    return round(float(np.clip(np.median(ratios or [4 / 3]), 2 / 3, 16 / 9)), 3)


def _boxed(picture, aspect):
    """CSS of a picture's box in its cell, which the picture is fitted into, centred."""
    own = picture.width / picture.height
    width, height = min(1, own / aspect), min(1, aspect / own)      # in parts of the cell
    x1, y1, x2, y2 = (min(max(value, 0), 1) for value in picture.box)
    values = {'left': (1 - width) / 2 + x1 * width, 'top': (1 - height) / 2 + y1 * height,
              'width': (x2 - x1) * width, 'height': (y2 - y1) * height}
    return ';'.join(f'{name}:{100 * value:.2f}%' for name, value in values.items())
