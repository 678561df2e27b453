"""Draw queries with their hits as one picture: one row per query, with its best images.

    entries = [Entry('a.jpg', [Hit('b.jpg', 0.91, 'positive'), ...]), ...]
    save('top5.png', strip(entries, lambda name: read_image(f'images/{name}')))
"""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from deep_retrieval import store
from deep_retrieval.datasets.base import Dataset
from deep_retrieval.gallery.pages import Entry
from deep_retrieval.images import ImageError, read_image
from deep_retrieval.ranking import Hit

if TYPE_CHECKING:
    from deep_retrieval.evaluate import Result

WHITE = (255, 255, 255)
BACKDROP = (246, 246, 246)  # background of a cell around its image
TEXT = (40, 40, 40)
FAINT = (125, 125, 125)
BOX = (0, 200, 255)
MARKS = {'positive': (80, 160, 40), 'negative': (60, 60, 210), 'junk': (150, 150, 150)}
LOST = np.full((150, 200, 3), 225, np.uint8)    # placeholder for an image that cannot be read

MARGIN, GAP = 16, 12  # pixels around the picture and between its columns
FRAME = 4  # width in pixels of the frame around an image, coloured if it is marked
FONT, LARGE, SMALL = cv2.FONT_HERSHEY_SIMPLEX, 0.55, 0.45
LINE, PAD = 20, 3  # height in pixels of a line of text, and of the space above the first
ELLIPSIS = '...'  # OpenCV 4 draws ASCII only


def strip(entries: list[Entry], read: Callable, cell: tuple[int, int] = (150, 200)) -> np.ndarray:
    """Draw a table with a header (query, top1, top2 ...) and one row per entry.

    The text below a query is its title or name; below a hit it is its similarity and name. Marked
    hits have a frame in the colour of the mark; a legend at the bottom explains the colours.

    Parameters
    ----------
    entries : list of Entry
    read : callable
        Takes the name of a picture and returns it as H x W x 3 uint8, in the order B, G, R.
    cell : (height, width) in pixels
        Images are scaled to fit into it.

    Returns
    -------
    ndarray, H x W x 3 uint8, in the order B, G, R

    Raises
    ------
    ValueError
        There are no entries, what `read` returns is not an image, or a mark is unknown.
    """
    if not entries:
        raise ValueError('a picture needs at least one row')
    columns = 1 + max(len(entry.hits) for entry in entries)
    titles = ['query'] + [f'top{place}' for place in range(1, columns)]
    width = cell[1] + 2 * FRAME  # of a column
    parts = [_beside([_caption(width, [(title, LARGE, TEXT)]) for title in titles])]
    parts.append(_blank(PAD, parts[0].shape[1]))
    gap = _blank(GAP, parts[0].shape[1])
    for entry in entries:
        parts += [_draw_row(entry, read, columns, cell), gap]
    used = {hit.mark for entry in entries for hit in entry.hits}
    marks = [mark for mark in MARKS if mark in used]
    if marks:
        parts.append(_legend(marks, gap.shape[1]))
    return cv2.copyMakeBorder(np.vstack(parts), MARGIN, MARGIN, MARGIN, MARGIN,
                              cv2.BORDER_CONSTANT, value=WHITE)


def reader(locate: Callable) -> tuple[Callable, list[str]]:
    """Return a function `read` for `strip` with a placeholder for pictures that cannot be read.

    Parameters
    ----------
    locate : callable
        Takes the name of a picture and returns its path or None.

    Returns
    -------
    read : callable
    lost : list of str
        Names that could not be read so far.
    """
    lost = []

    def read(name):
        try:
            return read_image(locate(name) or '')
        except ImageError:
            lost.append(name)
            return LOST
    return read, lost


def save(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write an image in the format of the path's extension, atomically.

    Raises
    ------
    ValueError
        OpenCV cannot write files with this extension, or not this image.
    """
    path = Path(path)
    if not path.suffix or not cv2.haveImageWriter(path.name):
        raise ValueError(f'{path}: OpenCV cannot write a {path.suffix or "file without extension"};'
                         ' name it .png or .jpg')
    done, data = cv2.imencode(path.suffix, image)
    if not done:
        raise ValueError(f'{path}: OpenCV cannot encode an image of shape {image.shape} like this')
    store.write(path, data.tobytes())


def of_result(dataset: Dataset, result: 'Result', queries: int = 5, top: int = 5) -> np.ndarray:
    """Draw the first queries of an `evaluate.Result` and their best images, marked by the truth.

    Parameters
    ----------
    dataset : Dataset
    result : evaluate.Result
    queries, top : number of queries, and of images per query

    Returns
    -------
    ndarray, H x W x 3 uint8, in the order B, G, R
    """
    entries, paths = [], {}
    shown = list(zip(result.queries, result.rankings, result.similarities, strict=True))[:queries]
    for query, names, similarities in shown:
        truth, asked = dataset.truth(query), dataset.query_path(query)
        marks = {**dict.fromkeys(truth.positives, 'positive'), **dict.fromkeys(truth.junk, 'junk')}
        hits = [Hit(name, float(similarity), marks.get(name, 'negative'))
                for name, similarity in zip(names[:top], similarities[:top], strict=True)]
        paths |= {hit.name: dataset.image_path(hit.name) for hit in hits}
        paths[asked] = asked
        entries.append(Entry(asked, hits, query.name,
                             box=query.box if result.query_crop == 'roi' else None))
    return strip(entries, lambda name: read_image(paths[name]))


def _draw_row(entry, read, columns, cell):
    """Draw the images of a row and the text below them, padded to the number of columns."""
    width = cell[1] + 2 * FRAME
    title = entry.title or entry.query
    cells = [_image_cell(f'the query image of {title}', read(entry.query), cell, box=entry.box)]
    texts = [[('similarity', LARGE, FAINT), (title, SMALL, FAINT)]]
    for place, hit in enumerate(entry.hits, start=1):
        cells.append(_image_cell(f'top{place} of {title}', read(hit.name), cell, mark=hit.mark))
        similarity = '' if hit.similarity is None else f'{hit.similarity:.3f}'
        texts.append([(similarity, LARGE, TEXT), (hit.name, SMALL, FAINT)])
    missing = columns - len(cells)
    cells += [_blank(*cells[0].shape[:2])] * missing
    captions = [_caption(width, text) for text in texts]
    captions += [_blank(*captions[0].shape[:2])] * missing
    return np.vstack([_beside(cells), _beside(captions)])


def _image_cell(what, image, cell, box=None, mark=None):
    """Draw an image in a cell, scaled to fit and centred, with its box and coloured frame."""
    if mark is not None and mark not in MARKS:
        raise ValueError(f'{what}: unknown mark {mark!r}; known are {", ".join(MARKS)}')
    image = _bgr(what, image)
    ratio = min(cell[0] / image.shape[0], cell[1] / image.shape[1])
    size = [max(1, round(side * ratio)) for side in (image.shape[1], image.shape[0])]
    # area averaging keeps small text and edges clean, but only for shrinking
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC)
    if box is not None:
        _draw_box(image, [round(value * ratio) for value in box])
    top, left = FRAME + (cell[0] - size[1]) // 2, FRAME + (cell[1] - size[0]) // 2
    out = _blank(cell[0] + 2 * FRAME, cell[1] + 2 * FRAME)  # of equal size with and without a frame
    out[FRAME:-FRAME, FRAME:-FRAME] = BACKDROP
    if mark is not None:
        out[top - FRAME:top + size[1] + FRAME, left - FRAME:left + size[0] + FRAME] = MARKS[mark]
    out[top:top + size[1], left:left + size[0]] = image
    return out


def _draw_box(image, box):
    """Outline a box in an image, in place, with a bright line on a dark one for contrast."""
    x1, y1, x2, y2 = box
    corner = (min(max(x1, 1), image.shape[1] - 2), min(max(y1, 1), image.shape[0] - 2))
    other = (min(max(x2, 1), image.shape[1] - 2), min(max(y2, 1), image.shape[0] - 2))
    cv2.rectangle(image, corner, other, TEXT, 4)
    cv2.rectangle(image, corner, other, BOX, 2)


def _bgr(what, image):
    """Return an image with three channels; ValueError if it is not an image."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or not image.size:
        raise ValueError(f'{what} is not an image: a uint8 array is needed (cv2.imread returns '
                         'None for a file that it cannot read)')
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.ndim == 3 and image.shape[2] == 4:
        return cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
    if image.ndim == 3 and image.shape[2] == 3:
        return image
    raise ValueError(f'{what} is not an image: its shape is {image.shape}')


def _caption(width, lines):
    """Draw lines of (text, scale, colour), centred in a white band."""
    out = _blank(PAD + LINE * len(lines), width)
    for number, (text, scale, colour) in enumerate(lines):
        text = _shorten(_drawable(text), scale, width)
        left = (width - _text_width(text, scale)) // 2
        _write(out, text, left, PAD + LINE * number, scale, colour)
    return out


def _legend(marks, width):
    """Draw the legend of the frame colours."""
    out, left = _blank(LINE, width), FRAME
    for mark in marks:
        out[4:LINE - 4, left:left + LINE - 8] = MARKS[mark]
        _write(out, mark, left + LINE - 2, 0, SMALL, TEXT)
        left += LINE + _text_width(mark, SMALL) + GAP
    return out


def _shorten(text, scale, width):
    """Shorten text to a width; keep both ends around an ellipsis, since names differ there."""
    keep = len(text)
    short = text
    while _text_width(short, scale) > width and keep > 0:
        keep -= 1
        tail = (keep + 1) // 2
        short = text[:keep - tail] + ELLIPSIS + text[len(text) - tail:]
    return short


def _drawable(name):
    """Return a name in ASCII, the only letters OpenCV draws: without accents, others as codes."""
    name = unicodedata.normalize('NFKD', name)
    name = ''.join(letter for letter in name if not unicodedata.combining(letter))
    return name.encode('ascii', 'backslashreplace').decode()


def _text_width(text, scale):
    return cv2.getTextSize(text, FONT, scale, 1)[0][0]


def _write(image, text, left, top, scale, colour):
    """Draw text on the line that begins at `top`, in place."""
    cv2.putText(image, text, (left, top + LINE - 6), FONT, scale, colour, 1, cv2.LINE_AA)


def _beside(cells):
    """Join cells to a row, with the gap between columns."""
    gap = _blank(cells[0].shape[0], GAP)
    return np.hstack([part for cell in cells for part in (gap, cell)][1:])


def _blank(height, width, colour=WHITE):
    return np.full((height, width, 3), colour, np.uint8)
