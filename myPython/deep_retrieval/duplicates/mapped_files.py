"""Mapped files: text files with the images similar to each image, or with groups of images.

    mapped_files.write('mapped.txt', [('a.jpg', [('b c.jpg', 0.9129), ('d.jpg', 0.7)])], 3)
    for anchor, items in mapped_files.read('mapped.txt'):   # 'a.jpg', [('b c.jpg', 0.912), ...]

A line is `ANCHOR<TAB>ITEM:SCORE ITEM:SCORE ...`, with items by decreasing score. Space, tab,
newline, carriage return and % are percent-encoded in names; the last colon separates item and
score. Scores are rounded down, so a score reaches a threshold with that many decimals if and only
if the similarity does. A grouping is a mapped file with one line per group.
"""

import logging
import math
import os
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

from deep_retrieval import progress, store
from deep_retrieval.duplicates import DECIMALS

REPORTED = 10   # number of problems in a file that are reported one by one
_ENCODED = re.compile('[ \t\n\r%]')
_DECODED = re.compile('%(20|09|0A|0D|25)', re.IGNORECASE)

logger = logging.getLogger(__name__)


def encode(name: str) -> str:
    """Encode a name for a mapped file; ValueError for an empty name."""
    if not name:
        raise ValueError('a name in a mapped file cannot be empty')
    return _ENCODED.sub(lambda match: f'%{ord(match[0]):02X}', name)


def decode(text: str) -> str:
    """Undo `encode`; any other % is left unchanged."""
    if '%' not in text:
        return text
    return _DECODED.sub(lambda match: chr(int(match[1], 16)), text)


def printable(name: str) -> str:
    """Encode a name for a message: on one line, with ? for bytes that are not UTF-8."""
    return encode(name).encode(errors='replace').decode()


def score_text(score: float, decimals: int = DECIMALS) -> str:
    """Format a score with this many decimals, rounded down."""
    text = f'{score + 0.0:.{decimals}f}'    # + 0.0: -0.0 becomes 0.0
    if float(text) > score:
        text = str(Decimal(text) - Decimal(1).scaleb(-decimals))
    return text


def format_line(anchor: str, items: Iterable, decimals: int = DECIMALS) -> str:
    """Format a line of a mapped file.

    Parameters
    ----------
    anchor : str
    items : iterable of (name, score) or Hit
    decimals : int

    Raises
    ------
    ValueError
        A score is not finite, or a name is empty.
    """
    for name, score, *_ in items:
        if not math.isfinite(score):
            raise ValueError(f'{anchor!r} has {name!r} with a score of {score}')
    text = ' '.join([f'{encode(name)}:{score_text(score, decimals)}' for name, score, *_ in items])
    return f'{encode(anchor)}\t{text}\n'


def write(path: str | os.PathLike, lines: Iterable, decimals: int = DECIMALS) -> int:
    """Write a mapped file atomically.

    Parameters
    ----------
    path : str or PathLike
    lines : iterable of (anchor, items) or Group
        Items are (name, score) or Hit.
    decimals : int

    Returns
    -------
    int
        The number of lines.
    """
    count = 0

    def write_all(file):
        nonlocal count
        for count, (anchor, items, *_) in enumerate(lines, 1):  # noqa: B007
            file.write(os.fsencode(format_line(anchor, items, decimals)))
    store.write(path, write_all)
    return count


def write_names(path: str | os.PathLike, names: Iterable[str]) -> None:
    """Write a list of names, one per line, for `read_names`."""
    store.write(path, ''.join(f'{encode(name)}\n' for name in names))


def read(path: str | os.PathLike) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Read a mapped file line by line.

    Repeated items in a line and repeated anchors are ignored with a warning. Empty lines are
    skipped.

    Yields
    ------
    anchor : str
    items : list of (name, score), possibly empty

    Raises
    ------
    ValueError
        An item has no score, or one that is not a finite number. The message names file and line.
    """
    anchors, report = set(), _Report()
    for place, line in _with_progress(path):
        text, _, rest = line.partition('\t')
        anchor = decode(text)
        if not anchor:
            raise ValueError(f'{place}: does not begin with the name of an anchor')
        if anchor in anchors:
            report(f'{place}: {anchor!r} has a line already; this one is ignored')
            continue
        anchors.add(anchor)
        yield anchor, _items(place, rest, report)
    report.end(path)


def read_names(path: str | os.PathLike) -> list[str]:
    """Read the first field of each line, without repetitions; ValueError if there is none.

    It reads the original's queries files, with one name per line, and the anchors of mapped files
    and groupings.
    """
    names = dict.fromkeys(decode(line.partition('\t')[0]) for _, line in lines(path))
    if not names:
        raise ValueError(f'{path}: names no images')
    return list(names)


def read_groups(path: str | os.PathLike) -> dict[str, list[str]]:
    """Read a ground truth of lines `ID<TAB>NAME NAME ...`, in the order of the file.

    A repeated name in a group is ignored with a warning.

    Raises
    ------
    ValueError
        An id has two lines, a name is in two groups, or a line has no names. The message names
        file and line.
    """
    groups, places, report = {}, {}, _Report()
    for place, line in lines(path):
        text, _, rest = line.partition('\t')
        key, names = decode(text), [decode(name) for name in rest.split(' ') if name]
        if not key or not names:
            raise ValueError(f'{place}: is not of the form ID<TAB>NAME NAME ...')
        if key in groups:
            raise ValueError(f'{place}: an earlier line has the same id {key!r}')
        groups[key] = list(dict.fromkeys(names))
        if len(groups[key]) < len(names):
            report(f'{place}: repeats a name, which is counted once')
        for name in groups[key]:
            if name in places:
                raise ValueError(f'{place}: {name!r} is also in the group of {places[name]}')
            places[name] = place
    report.end(path)
    if not groups:
        raise ValueError(f'{path}: has no groups')
    return groups


def lines(path: str | os.PathLike) -> Iterator[tuple[str, str]]:
    """Yield (`FILE:NUMBER`, line) for the non-empty lines of a text file."""
    # only \n ends a line: names may have other characters that Python treats as line breaks
    with open(path, encoding='utf-8', errors='surrogateescape', newline='\n') as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip('\r\n')
            if line.strip():
                yield f'{path}:{number}', line


def _with_progress(path):
    with progress.bar(total=os.path.getsize(path), unit='B', unit_scale=True,
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
            raise ValueError(f'{place}: {entry!r} is not ITEM:SCORE with a number as score')
        if '%' in name:
            name = decode(name)
        if name in items:
            report(f'{place}: repeats {name!r}; its first score is used')
            continue
        items[name] = value
    return list(items.items())


class _Report:
    """Logs the first messages, then the number of further ones."""

    def __init__(self):
        self._count = 0

    def __call__(self, sentence):
        self._count += 1
        if self._count <= REPORTED:
            logger.warning(sentence)

    def end(self, path):
        if self._count > REPORTED:
            logger.warning('%s: %d more names are repeated', path, self._count - REPORTED)
