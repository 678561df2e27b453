"""Mapped files: the images similar to each image, and groups of images, as lines of text.

    mapped_files.write('mapped.txt', [('a.jpg', [('b c.jpg', 0.9129), ('d.jpg', 0.7)])], 3)
    for anchor, items in mapped_files.read('mapped.txt'):   # 'a.jpg', [('b c.jpg', 0.912), ...]

A line is `ANCHOR<TAB>ITEM:SCORE ITEM:SCORE ...`, items by falling score. Space, tab, newline,
carriage return and % in names are percent-encoded; the last colon parts item and score. Scores
are rounded down: so a score reaches a threshold of as many decimals just if the similarity does.
A grouping is a mapped file whose anchors are the groups' first members.
"""

import math
import os
import re
from decimal import Decimal

from tqdm import tqdm

from deep_retrieval.files import write_aside

_ENCODED = re.compile('[ \t\n\r%]')
_DECODED = re.compile('%(20|09|0A|0D|25)', re.IGNORECASE)
DECIMALS = 6
REPORTED = 10   # faults of a file that are told one by one


def encode(name):
    """A name as it stands in a line; ValueError for an empty one."""
    if not name:
        raise ValueError('a name in a mapped file cannot be empty')
    return _ENCODED.sub(lambda match: f'%{ord(match[0]):02X}', name)


def decode(text):
    """The name that `encode` made into `text`; any other % stands for itself."""
    if '%' not in text:
        return text
    return _DECODED.sub(lambda match: chr(int(match[1], 16)), text)


def score_text(score, decimals=DECIMALS):
    """A score with so many decimals, rounded down."""
    text = f'{score + 0.0:.{decimals}f}'    # + 0.0: no minus before a zero
    if float(text) > score:
        text = str(Decimal(text) - Decimal(1).scaleb(-decimals))
    return text


def format_line(anchor, items, decimals=DECIMALS):
    """A line of the file; ValueError for a score that is not finite."""
    for item, score in items:
        if not math.isfinite(score):
            raise ValueError(f'{anchor!r} has {item!r} with a score of {score}')
    text = ' '.join([f'{encode(item)}:{score_text(score, decimals)}' for item, score in items])
    return f'{encode(anchor)}\t{text}\n'


def write(path, lines, decimals=DECIMALS):
    """Write the (anchor, [(item, score), ...]) of `lines` as a file; returns their number.

    The file takes its place when all is written.
    """
    count = 0

    def write_all(file):
        nonlocal count
        for count, (anchor, items) in enumerate(lines, 1):
            # names are bytes to the system
            file.write(os.fsencode(format_line(anchor, items, decimals)))
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    write_aside(path, write_all)
    return count


def read(path, say=None):
    """Yield (anchor, [(item, score), ...]) of each line; items may be none.

    An item that a line has twice, and an anchor of a second line, count once, as first written:
    `say` is called with a line about each of the first of these, and one about the rest. Lines that
    are empty are skipped. ValueError, naming file and line, for an item without a score or one that
    is no finite number.
    """
    anchors, report = set(), _Report(say)
    for place, line in _with_progress(path):
        text, _, rest = line.partition('\t')
        anchor = decode(text)
        if not anchor:
            raise ValueError(f'{place}: a line begins with the name of its anchor')
        if anchor in anchors:
            report(f'{place}: {anchor!r} has a line already; this one is left out')
            continue
        anchors.add(anchor)
        yield anchor, _items(place, rest, report)
    report.end(path)


def _with_progress(path):
    with tqdm(total=os.path.getsize(path), unit='B', unit_scale=True, delay=2, disable=None,
              desc=os.path.basename(path)) as bar:
        for place, line in lines(path):
            yield place, line
            bar.update(len(line) + 1)


def _items(place, text, report):
    items = {}
    for entry in text.split(' '):
        if not entry:
            continue
        name, colon, score = entry.rpartition(':')
        try:
            value = float(score) if colon and name else None
        except ValueError:
            value = None
        if value is None or not -math.inf < value < math.inf:
            raise ValueError(f'{place}: {entry!r} is no ITEM:SCORE with a number as score')
        if '%' in name:
            name = decode(name)
        if name in items:
            report(f'{place}: has {name!r} twice; its first score counts')
            continue
        items[name] = value
    return list(items.items())


def read_names(path):
    """The first field of each line, each once: the queries file of the original, a name a line.

    Mapped files and groupings are such files too: their anchors. ValueError where there is none.
    """
    names = {}
    for place, line in lines(path):
        names[decode(line.partition('\t')[0])] = place
    if not names:
        raise ValueError(f'{path}: names no image')
    return list(names)


def read_groups(path, say=None):
    """Ground truth: {id: [name, ...]} of lines `ID<TAB>NAME NAME ...`, in the file's order.

    A name that a group has twice counts once: `say` is called with a sentence of it. ValueError,
    naming file and line, for an id of two lines, a name in two groups and a line without names.
    """
    groups, places, report = {}, {}, _Report(say)
    for place, line in lines(path):
        text, _, rest = line.partition('\t')
        key, names = decode(text), [decode(name) for name in rest.split(' ') if name]
        if not key or not names:
            raise ValueError(f'{place}: is no ID<TAB>NAME NAME ...')
        if key in groups:
            raise ValueError(f'{place}: a line before has the id {key!r}')
        groups[key] = list(dict.fromkeys(names))
        if len(groups[key]) < len(names):
            report(f'{place}: has a name twice, which counts once')
        for name in groups[key]:
            if name in places:
                raise ValueError(f'{place}: {name!r} is in the group of {places[name]} too')
            places[name] = place
    report.end(path)
    if not groups:
        raise ValueError(f'{path}: has no group')
    return groups


def lines(path):
    """Yield (`FILE:NUMBER`, line) of a text's lines that are not empty."""
    # names may hold what Python takes for line breaks too: only \n ends a line
    with open(path, encoding='utf-8', errors='surrogateescape', newline='\n') as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip('\r\n')
            if line.strip():
                yield f'{path}:{number}', line


class _Report:
    """Says the first sentences, and how many more there are."""

    def __init__(self, say):
        self._say, self._count = say, 0

    def __call__(self, sentence):
        self._count += 1
        if self._say is not None and self._count <= REPORTED:
            self._say(sentence)

    def end(self, path):
        if self._say is not None and self._count > REPORTED:
            self._say(f'{path}: {self._count - REPORTED} more names stand twice')
