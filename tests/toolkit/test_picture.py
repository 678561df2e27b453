"""picture: where things are drawn, on images of one colour each."""
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from deep_retrieval.gallery import picture
from deep_retrieval.gallery.pages import Entry
from deep_retrieval.gallery.picture import save
from deep_retrieval.ranking import Hit

RED, GREEN, BLUE = (0, 0, 255), (0, 255, 0), (255, 0, 0)
CELL = (60, 80)


class Found(NamedTuple):
    """A hit with its image."""

    image: object
    similarity: float
    name: str = ''
    mark: str = None


class Row(NamedTuple):
    """A query with its image and hits, each Found."""

    image: object
    hits: list
    name: str = ''
    box: tuple = None


def strip(rows, cell=CELL):
    """The picture of some rows; who has no name gets a short one."""
    images = {}

    def named(shown):
        name = shown.name or f'i{len(images)}'
        images[name] = shown.image
        return name
    entries = [Entry(named(row), [Hit(named(hit), hit.similarity, hit.mark) for hit in row.hits],
                     box=row.box) for row in rows]
    return picture.strip(entries, images.get, cell)


def plain(height, width, colour):
    return np.full((height, width, 3), colour, np.uint8)


def where(image, colour):
    """(top, left, bottom, right), inclusive, of the pixels of a colour, and how many they are."""
    rows, columns = np.nonzero((image == colour).all(axis=2))
    return (rows.min(), columns.min(), rows.max(), columns.max()), len(rows)


def rectangle(image, colour):
    """Left, top, width and height of a filled rectangle of a colour, the only one of it."""
    (top, left, bottom, right), count = where(image, colour)
    height, width = bottom - top + 1, right - left + 1
    assert count == height * width
    return left, top, width, height


def test_images_fill_their_cells():
    image = strip([Row(plain(600, 800, RED), [Found(plain(30, 40, GREEN), 0.9)])], CELL)
    assert image.dtype == np.uint8 and image.ndim == 3
    left, top, width, height = rectangle(image, RED)
    assert (width, height) == (80, 60)
    beside = rectangle(image, GREEN)
    assert beside[1:] == (top, 80, 60) and beside[0] > left + 80


def test_other_shapes_keep_their_aspect_in_the_middle():
    wide, tall = plain(100, 800, RED), plain(600, 100, GREEN)
    image = strip([Row(plain(60, 80, BLUE), [Found(wide, 0.9), Found(tall, 0.8)])], CELL)
    left, top, _, _ = rectangle(image, BLUE)
    wide, tall = rectangle(image, RED), rectangle(image, GREEN)
    assert wide[1:] == (top + 25, 80, 10)
    step = wide[0] - left
    assert tall == (left + 2 * step + 35, top, 10, 60)


def test_rows_and_columns_are_aligned():
    rows = [Row(plain(60, 80, RED), [Found(plain(60, 80, GREEN), 0.9, mark='positive')], 'a_query'),
            Row(plain(60, 80, BLUE), [])]
    image = strip(rows, CELL)
    red, green, blue = (rectangle(image, colour) for colour in (RED, GREEN, BLUE))
    assert red[0] == blue[0] and red[1] == green[1] and blue[1] > red[1] + 60
    # nothing stands to the right of the query without hits
    assert (image[blue[1]:blue[1] + 60, green[0]:] == 255).all()
    assert (image[0] == 255).all() and (image[:, -1] == 255).all()


@pytest.mark.parametrize('mark', sorted(picture.MARKS))
def test_marked_hits_have_a_frame(mark):
    image = strip([Row(plain(60, 80, RED), [Found(plain(60, 80, BLUE), 0.9, 'x', mark)])], CELL)
    left, top, _, _ = rectangle(image, BLUE)
    border = picture.FRAME
    framed = image[top - border:top + 60 + border, left - border:left + 80 + border].copy()
    framed[border:-border, border:-border] = picture.MARKS[mark]
    assert (framed == picture.MARKS[mark]).all()
    outside = image[top - border - 1:top + 60 + border + 1, left - border - 1]
    assert (outside != picture.MARKS[mark]).any(axis=1).all()
    # the legend repeats the colour at the foot
    (_, _, bottom, _), _ = where(image, picture.MARKS[mark])
    assert bottom > top + 60 + border


def test_the_box_is_drawn_in_the_scaled_query():
    query = plain(600, 800, RED)
    image = strip([Row(query, [], box=(100.0, 200.0, 400.0, 500.0))], CELL)
    box, _ = where(image, picture.BOX)
    bare = strip([Row(query, [])], CELL)
    left, top, _, _ = rectangle(bare, RED)
    found = np.array(box) - (top, left, top, left)
    np.testing.assert_allclose(found, (20, 10, 50, 40), atol=2)
    assert (query == RED).all()


def test_a_box_beyond_the_image_stays_inside():
    query = plain(60, 80, RED)  # of the cell's size: scaling changes nothing
    image = strip([Row(query, [], box=(-50, -50, 500, 500))], CELL)
    left, top, _, _ = rectangle(strip([Row(query, [])], CELL), RED)
    (y1, x1, y2, x2), _ = where(image, picture.BOX)
    assert top <= y1 and left <= x1 and y2 < top + 60 and x2 < left + 80
    assert (query == RED).all()


def test_text_stands_below_its_column():
    hits = [Found(plain(60, 80, GREEN), 0.9, 'named_000001'), Found(plain(60, 80, BLUE), 0.8)]
    image = strip([Row(plain(60, 80, RED), hits)], CELL)
    written = (image < 200).all(axis=2)
    for colour in (GREEN, BLUE):
        left, top, _, _ = rectangle(image, colour)
        assert written[:top - picture.FRAME, left:left + 80].any()
        assert written[top + 60 + picture.FRAME:, left:left + 80].any()
        # and none between the columns
        assert not written[:, left - picture.FRAME - picture.GAP:left - picture.FRAME].any()


def test_long_names_are_shortened_in_the_middle():
    name = 'a_very_long_name_of_somebody_000013'
    short = picture._shorten(name, picture.SMALL, 120)
    assert picture._text_width(short, picture.SMALL) <= 120
    start, end = short.split(picture.ELLIPSIS)
    assert start and name.startswith(start) and name.endswith(end) and end.endswith('13')
    assert picture._shorten('c_1', picture.SMALL, 120) == 'c_1'
    assert picture._shorten('c_1', picture.SMALL, 1) == picture.ELLIPSIS


def test_grey_and_transparent_images():
    grey = np.full((60, 80), 20, np.uint8)  # darker than any text
    clear = np.full((60, 80, 4), (0, 255, 0, 7), np.uint8)
    image = strip([Row(grey, [Found(clear, 0.5)])], CELL)
    assert rectangle(image, (20, 20, 20))[2:] == (80, 60)
    assert rectangle(image, GREEN)[2:] == (80, 60)


@pytest.mark.parametrize('image', [None, np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8),
                                   np.zeros((4, 4, 2), np.uint8)])
def test_what_is_not_an_image_is_named(image):
    good = plain(60, 80, RED)
    with pytest.raises(ValueError, match='top2 of a_query is not an image'):
        strip([Row(good, [Found(good, 0.9), Found(image, 0.8)], 'a_query')])
    with pytest.raises(ValueError, match='query image of a_query is not an image'):
        strip([Row(image, [], 'a_query')])


def test_wrong_arguments():
    good = plain(60, 80, RED)
    with pytest.raises(ValueError, match='at least one row'):
        strip([])
    with pytest.raises(ValueError, match="unknown mark 'good'; known are positive, negative, junk"):
        strip([Row(good, [Found(good, 0.9, mark='good')])])


def test_save(tmp_path):
    image = strip([Row(plain(60, 80, RED), [])], CELL)
    path = tmp_path / 'made' / 'top5.png'
    save(path, image)
    save(str(path), image)
    assert (cv2.imread(str(path)) == image).all()
    assert [found.name for found in path.parent.iterdir()] == ['top5.png']


@pytest.mark.parametrize('name', ['top5', 'top5.txt', 'top5.'])
def test_save_under_a_name_without_a_format(tmp_path, name):
    with pytest.raises(ValueError, match='top5.*name it .png or .jpg'):
        save(tmp_path / name, plain(4, 4, RED))
    assert not list(tmp_path.iterdir())
