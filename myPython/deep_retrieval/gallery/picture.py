"""Queries and what was found for them, as one picture: a row a query, its best images beside it.

    hits = [Hit(cv2.imread(dataset.image_path(name)), similarity, name, 'positive'), ...]
    save('top5.png', strip([Row(cv2.imread(path), hits, query.name, query.box), ...]))
"""
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deep_retrieval.files import write_aside

WHITE = (255, 255, 255)
BACKDROP = (246, 246, 246)  # of a cell that its image does not fill
TEXT = (40, 40, 40)
FAINT = (125, 125, 125)
BOX = (0, 200, 255)
MARKS = {'positive': (80, 160, 40), 'negative': (60, 60, 210), 'junk': (150, 150, 150)}

MARGIN, GAP = 16, 12  # pixels around the picture and between its columns
FRAME = 4  # pixels around an image, coloured where it is marked
FONT, LARGE, SMALL = cv2.FONT_HERSHEY_SIMPLEX, 0.55, 0.45
LINE, PAD = 20, 3  # pixels of height for a line of text, and of air above the first
ELLIPSIS = '...'  # OpenCV 4 draws ASCII only


@dataclass(frozen=True)
class Hit:
    """A found image: BGR uint8, its similarity, its name, and its mark (of MARKS) or None."""

    image: np.ndarray
    similarity: float
    name: str = ''
    mark: str = None


@dataclass(frozen=True)
class Row:
    """A query: its image (BGR uint8), its hits (best first), name, box x1 y1 x2 y2 in pixels."""

    query: np.ndarray
    hits: list
    name: str = ''
    box: tuple = None


def strip(rows, cell=(150, 200)):
    """Draw the rows below a header: query, top1, top2 ... as many as the longest row has.

    rows: list of Row. cell: (height, width) in pixels that each image is fitted into. Under a query
    stands its name, under a hit its similarity and name. Marked hits get a frame, explained at the
    foot. Returns a BGR uint8 image. ValueError for no rows, an image that is none or an unknown
    mark.
    """
    if not rows:
        raise ValueError('a picture needs at least one row')
    columns = 1 + max(len(row.hits) for row in rows)
    named = any(row.name or any(hit.name for hit in row.hits) for row in rows)
    titles = ['query'] + [f'top{place}' for place in range(1, columns)]
    width = cell[1] + 2 * FRAME  # of a column
    parts = [_beside([_caption(width, [(title, LARGE, TEXT)]) for title in titles])]
    parts.append(_blank(PAD, parts[0].shape[1]))
    gap = _blank(GAP, parts[0].shape[1])
    for row in rows:
        parts += [_draw_row(row, columns, cell, named), gap]
    marks = [mark for mark in MARKS if any(hit.mark == mark for row in rows for hit in row.hits)]
    if marks:
        parts.append(_legend(marks, gap.shape[1]))
    return cv2.copyMakeBorder(np.vstack(parts), MARGIN, MARGIN, MARGIN, MARGIN,
                              cv2.BORDER_CONSTANT, value=WHITE)


def save(path, image):
    """Write an image in the format of the path's extension; it appears whole or not at all.

    ValueError for an extension that OpenCV cannot write, OSError when writing fails.
    """
    path = Path(path)
    if not path.suffix or not cv2.haveImageWriter(path.name):
        raise ValueError(f'{path}: OpenCV writes no {path.suffix or "file without extension"}; '
                         'name it .png or .jpg')
    done, data = cv2.imencode(path.suffix, image)
    if not done:
        raise OSError(f'cannot encode {path}')
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, lambda file: file.write(data.tobytes()))


def _draw_row(row, columns, cell, named):
    """Images of one row and the text below them, padded to the picture's columns."""
    width = cell[1] + 2 * FRAME
    title = row.name or 'query'
    cells = [_image_cell(f'the query image of {title}', row.query, cell, box=row.box)]
    texts = [[('similarity', LARGE, FAINT), (row.name, SMALL, FAINT)]]
    for place, hit in enumerate(row.hits, start=1):
        cells.append(_image_cell(f'top{place} of {title}', hit.image, cell, mark=hit.mark))
        texts.append([(f'{hit.similarity:.3f}', LARGE, TEXT), (hit.name, SMALL, FAINT)])
    missing = columns - len(cells)
    cells += [_blank(*cells[0].shape[:2])] * missing
    captions = [_caption(width, text if named else text[:1]) for text in texts]
    captions += [_blank(*captions[0].shape[:2])] * missing
    return np.vstack([_beside(cells), _beside(captions)])


def _image_cell(what, image, cell, box=None, mark=None):
    """An image fitted into a cell, centred, with its box and the frame of its mark."""
    if mark is not None and mark not in MARKS:
        raise ValueError(f'{what}: no mark {mark!r}; known are {", ".join(MARKS)}')
    image = _bgr(what, image)
    ratio = min(cell[0] / image.shape[0], cell[1] / image.shape[1])
    size = [max(1, round(side * ratio)) for side in (image.shape[1], image.shape[0])]
    # averaging areas keeps small text and edges clean, but only downwards
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC)
    if box is not None:
        _draw_box(image, [round(value * ratio) for value in box])
    top, left = FRAME + (cell[0] - size[1]) // 2, FRAME + (cell[1] - size[0]) // 2
    out = _blank(cell[0] + 2 * FRAME, cell[1] + 2 * FRAME)  # alike with a frame and without
    out[FRAME:-FRAME, FRAME:-FRAME] = BACKDROP
    if mark is not None:
        out[top - FRAME:top + size[1] + FRAME, left - FRAME:left + size[0] + FRAME] = MARKS[mark]
    out[top:top + size[1], left:left + size[0]] = image
    return out


def _draw_box(image, box):
    """Outline a box in an image, in place: a line on a darker one shows on any background."""
    x1, y1, x2, y2 = box
    corner = (min(max(x1, 1), image.shape[1] - 2), min(max(y1, 1), image.shape[0] - 2))
    other = (min(max(x2, 1), image.shape[1] - 2), min(max(y2, 1), image.shape[0] - 2))
    cv2.rectangle(image, corner, other, TEXT, 4)
    cv2.rectangle(image, corner, other, BOX, 2)


def _bgr(what, image):
    """An image with three channels; ValueError when it is none."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or not image.size:
        raise ValueError(f'{what} is no image: a uint8 array is needed (cv2.imread gives None for '
                         'a file that it cannot read)')
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.ndim == 3 and image.shape[2] == 4:
        return cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
    if image.ndim == 3 and image.shape[2] == 3:
        return image
    raise ValueError(f'{what} is no image: its shape is {image.shape}')


def _caption(width, lines):
    """Lines of (text, scale, colour) in the middle of a white band."""
    out = _blank(PAD + LINE * len(lines), width)
    for number, (text, scale, colour) in enumerate(lines):
        text = _shorten(text, scale, width)
        left = (width - _text_width(text, scale)) // 2
        _write(out, text, left, PAD + LINE * number, scale, colour)
    return out


def _legend(marks, width):
    """What the frames' colours say."""
    out, left = _blank(LINE, width), FRAME
    for mark in marks:
        out[4:LINE - 4, left:left + LINE - 8] = MARKS[mark]
        _write(out, mark, left + LINE - 2, 0, SMALL, TEXT)
        left += LINE + _text_width(mark, SMALL) + GAP
    return out


def _shorten(text, scale, width):
    """The text, or its two ends around an ellipsis so that it fits: names differ at their ends."""
    keep = len(text)
    short = text
    while _text_width(short, scale) > width and keep > 0:
        keep -= 1
        tail = (keep + 1) // 2
        short = text[:keep - tail] + ELLIPSIS + text[len(text) - tail:]
    return short


def _text_width(text, scale):
    return cv2.getTextSize(text, FONT, scale, 1)[0][0]


def _write(image, text, left, top, scale, colour):
    """Write into a line that begins at `top`, in place."""
    cv2.putText(image, text, (left, top + LINE - 6), FONT, scale, colour, 1, cv2.LINE_AA)


def _beside(cells):
    """Cells in a row, with the columns' gap between them."""
    gap = _blank(cells[0].shape[0], GAP)
    return np.hstack([part for cell in cells for part in (gap, cell)][1:])


def _blank(height, width, colour=WHITE):
    return np.full((height, width, 3), colour, np.uint8)


def of_result(dataset, result, queries: int = 5, top: int = 5):
    """Draw the first queries of an `evaluate.Result` and their best images, marked by the truth."""
    rows = []
    for query, names, similarities in zip(result.queries[:queries], result.rankings,
                                          result.similarities):
        good, ok, junk = dataset.ground_truth(query)
        marks = {**dict.fromkeys(junk, 'junk'), **dict.fromkeys([*good, *ok], 'positive')}
        hits = [Hit(cv2.imread(dataset.image_path(name)), similarity, name,
                    marks.get(name, 'negative'))
                for name, similarity in zip(names[:top], similarities)]
        rows.append(Row(cv2.imread(dataset.image_path(query.image)), hits, query.name,
                        query.box if result.query_crop == 'roi' else None))
    return strip(rows)
