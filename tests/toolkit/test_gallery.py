"""gallery: the pages' structure, names of all kinds, placeholders, thumbnails."""

import json
import os
import random
import shutil
from pathlib import Path
from urllib.parse import unquote_to_bytes

import cv2
import numpy as np
import pytest
from deep_retrieval.gallery.pages import Entry
from deep_retrieval.ranking import Hit
from gallery_pages import NAMES, make_images, write_gallery


@pytest.fixture
def images(tmp_path):
    """A folder of one picture for each of NAMES."""
    return make_images(tmp_path / 'images')


@pytest.fixture
def write(tmp_path, images):
    """Function: entries -> (Summary, pages as trees by file name)."""
    def write(entries, output=tmp_path / 'gallery', **options):
        return write_gallery(images, output, entries, **options)
    return write


def target(page_folder, address):
    """The file that a browser opens for a relative URL."""
    path, *_ = address.split('?')[0].split('#')
    return Path(os.fsdecode(os.path.join(os.fsencode(page_folder), unquote_to_bytes(path))))


def similarities(page):
    return [[float(hit.attributes['data-similarity']) for hit in entry.one('ol').all('li')]
            for entry in page.all('section')]


def test_every_picture_stands_in_the_html(write, tmp_path, images):
    hits = [Hit(name, 1 - place / 100, 'positive') for place, name in enumerate(NAMES)]
    summary, pages = write([Entry(name, hits) for name in NAMES])
    assert summary == (len(NAMES), 1, len(NAMES), {})
    page = pages['index.html']
    assert page.one('h1').text == 'A <b> & "title"'
    for name, entry in zip(NAMES, page.all('section'), strict=True):
        assert entry.one('h2').text.endswith(' '.join(name.split()))
        query, *found = entry.all('a')
        assert target(tmp_path / 'gallery', query.attributes['href']).resolve() == images / name
        for hit, link in zip(hits, found, strict=True):
            path = target(tmp_path / 'gallery', link.attributes['href'])
            assert path.resolve() == images / hit.name
            image = link.one('img')
            assert hit.name in image.attributes['alt'] and image.attributes['loading'] == 'lazy'
            thumb = cv2.imread(str(target(tmp_path / 'gallery', image.attributes['src'])))
            assert thumb.shape[:2] == (int(image.attributes['height']),
                                       int(image.attributes['width']))
            whole = cv2.imread(str(path))
            np.testing.assert_allclose(thumb.mean((0, 1)), whole.mean((0, 1)), atol=3)
    assert not list(page.one('body').all('script')) and not list(page.all('b'))


def test_what_is_beside_a_hit(write):
    marks = [('positive', 'same', '✓ same'), ('good', 'same', '✓ good'), ('ok', 'same', '✓ ok'),
              ('negative', 'other', '✗ other'), ('junk', 'junk', '– junk'), (None, '', '')]
    hits = [Hit('plain.jpg', (690 - place) / 1000, mark)
            for place, (mark, _, _) in enumerate(marks)]
    _, pages = write([Entry('a#b.jpg', hits, 'the_query_1', 'AP 12.34')])
    entry = pages['index.html'].one('section')
    assert entry.one('h2').text == '1 the_query_1'
    assert entry.one('', 'note').text == 'AP 12.34, 6 hits'
    for hit, (_, kind, mark), item in zip(hits, marks, entry.one('ol').all('li'), strict=True):
        assert item.classes == ([kind] if kind else [])
        assert float(item.attributes['data-similarity']) == hit.similarity
        assert item.one('', 'similarity').text == f'{hit.similarity:.3f}'
        assert [node.text for node in item.all('', 'mark')] == ([mark] if mark else [])
    legend = pages['index.html'].one('ul', 'legend')
    assert legend.text == '✓ same origin ✗ other origin – junk, counts as neither'


def test_counts_at_every_threshold_are_a_brute_force_count(write):
    rng = random.Random(0)
    ends = [Hit('a#b.jpg', 0.69, 'positive'), Hit('a#b.jpg', 0.4, 'negative')]
    entries = [Entry('plain.jpg', ends + [
        Hit('a#b.jpg', rng.randrange(400, 1001) / 1000,
            rng.choice(['positive', 'negative', 'junk', None]))
        for _ in range(rng.randrange(20))]) for _ in range(23)]
    hits = [hit for entry in entries for hit in entry.hits]
    _, pages = write(entries, per_page=4)
    assert len(pages) == 6
    for page in pages.values():
        slider = page.one('form', 'threshold').one('input').attributes
        counts = dict(json.loads(slider['data-counts']))
        steps = round((float(slider['max']) - float(slider['min'])) / float(slider['step'])) + 1
        assert slider['step'] == '0.01' and float(slider['min']) == 0.4
        thresholds = [float(f'{(40 + step) // 100}.{(40 + step) % 100:02d}')
                      for step in range(steps)]
        for name, mark in (('same', 'positive'), ('other', 'negative'), ('junk', 'junk'),
                           ('not marked', None)):
            assert counts[name] == [
                sum(hit.mark == mark and hit.similarity >= threshold for hit in hits)
                for threshold in thresholds]
    found = [values for number in range(1, 7) for values in similarities(
        pages['index.html' if number == 1 else f'page-{number}.html'])]
    assert found == [[hit.similarity for hit in entry.hits] for entry in entries]


def test_what_is_shown_does_not_pass_the_threshold_it_lies_below(write):
    _, pages = write([Entry('plain.jpg', [Hit('a#b.jpg', 0.7496), Hit('a#b.jpg', 0.69)])])
    hits = pages['index.html'].one('section').all('', 'similarity')
    assert [hit.text for hit in hits] == ['0.749', '0.690']


@pytest.mark.parametrize('low, high, step', [
    (0.961, 0.999, '0.001'), (0.99999, 0.99999, '0.0001'), (-0.2, 0.3, '0.01'), (0, 40, '0.1'),
    (0, 1, '0.01')])
def test_the_sliders_steps_fit_the_range(low, high, step, write):
    _, pages = write([Entry('plain.jpg', [Hit('a#b.jpg', high), Hit('a#b.jpg', low)])])
    slider = pages['index.html'].one('input').attributes
    assert slider['step'] == step
    assert float(slider['min']) <= low and float(slider['max']) >= high
    (name, counts), = json.loads(slider['data-counts'])
    assert name == 'not marked' and counts[0] == 2
    assert counts[-1] == sum(value >= float(slider['max']) for value in (low, high))


def test_pages_link_to_each_other(write, tmp_path):
    _, pages = write([Entry('plain.jpg', [])] * 43, per_page=5)
    assert len(pages) == 9
    seen, name = [], 'index.html'
    while name:
        page = pages[name]
        seen += [entry.attributes['id'] for entry in page.all('section')]
        above, below = page.all('nav', 'pages')
        links = [link.attributes['href'] for link in above.all('a')]
        assert links == [link.attributes['href'] for link in below.all('a')]
        assert {'index.html', 'page-9.html'} <= set(links) <= set(pages)
        current, = [link.text for link in above.all('a') if 'aria-current' in link.attributes]
        assert current in page.one('title').text
        name = next((link.attributes['href'] for link in above.all('a')
                     if link.attributes.get('rel') == 'next'), None)
    assert seen == [f'entry-{number}' for number in range(1, 44)]


def test_without_similarities_ranks_are_shown_and_no_slider(write):
    hits = [Hit('a#b.jpg', None), Hit('what?.jpg', None)]
    _, pages = write([Entry('plain.jpg', hits)], noun='queries')
    page = pages['index.html']
    assert not list(page.all('form'))
    assert [node.text for node in page.all('', 'similarity')] == ['#1', '#2']
    assert page.one('p', 'about').text == '1 query, 2 hits'


def test_nothing_to_show(write):
    summary, pages = write([])
    assert summary == (0, 1, 0, {}) and not list(pages['index.html'].all('section'))


def test_bad_pictures_have_a_placeholder(write, images):
    (images / 'cut.jpg').write_bytes((images / 'plain.jpg').read_bytes()[:300])
    (images / 'empty.jpg').touch()
    (images / 'dangling.jpg').symlink_to('nowhere.jpg')
    outside = ['../images/plain.jpg', str(images / 'plain.jpg')]
    hits = [Hit(name, 0.5) for name in ('cut.jpg', 'empty.jpg', 'dangling.jpg', 'gone.jpg', 'one',
                                        *outside, 'a#b.jpg')]
    summary, pages = write([Entry('gone.jpg', hits)])
    assert summary.faults == {'damaged': ['cut.jpg', 'empty.jpg'],
                              'missing': ['gone.jpg', 'dangling.jpg', 'one', *outside]}
    entry = pages['index.html'].one('section')
    lost = list(entry.all('', 'lost'))
    assert [node.text for node in lost] == ['missing', *['damaged'] * 2, *['missing'] * 5]
    assert lost[1].attributes['aria-label'] == 'Hit 1, cut.jpg: damaged'
    assert len(list(entry.all('img'))) == 1


def test_names_without_extension_and_other_bytes(write, images, tmp_path):
    (images / 'id_1.png').write_bytes((images / 'plain.jpg').read_bytes())
    odd = os.fsdecode(b'odd\xff.jpg')
    (images / odd).write_bytes((images / 'plain.jpg').read_bytes())
    summary, pages = write([Entry('id_1', [Hit(odd, 0.5)])])
    assert not summary.faults
    _, link = pages['index.html'].one('section').all('a')
    assert target(tmp_path / 'gallery', link.attributes['href']).resolve() == images / odd


def test_the_box_stands_where_the_picture_is_in_its_cell(write, images):
    """A square picture in a cell of 16 : 9 leaves 7/32 of the width empty at both sides."""
    cv2.imwrite(str(images / 'wide.jpg'), np.zeros((90, 160, 3), np.uint8))
    cv2.imwrite(str(images / 'square.jpg'), np.zeros((400, 400, 3), np.uint8))
    _, pages = write([Entry('square.jpg', [Hit('wide.jpg', 0.9)], box=(100, -50, 300, 200)),
                      Entry('wide.jpg', [], box=(0, 0, 160, 90))])
    first, second = ({name: float(value.rstrip('%')) for name, value in
                      (part.split(':') for part in box.attributes['style'].split(';'))}
                     for box in pages['index.html'].all('', 'box'))
    expected = {'left': 21.875 + 14.0625, 'top': 0, 'width': 28.125, 'height': 50}
    assert first == pytest.approx(expected, abs=0.02)
    assert second == pytest.approx({'left': 0, 'top': 0, 'width': 100, 'height': 100}, abs=0.02)


def test_thumbnails_fit_into_their_side_and_small_pictures_stay(write, images):
    for name, shape in (('large.png', (900, 1200)), ('tall.png', (1200, 2)), ('dot.png', (1, 1))):
        cv2.imwrite(str(images / name), np.zeros(shape, np.uint8))
    _, pages = write([Entry('large.png', [Hit('tall.png', 1), Hit('dot.png', 1)])], side=100)
    sizes = [(image.attributes['width'], image.attributes['height'])
             for image in pages['index.html'].all('img')]
    assert sizes == [('100', '75'), ('1', '100'), ('1', '1')]


def test_copies_share_a_thumbnail(write, images, tmp_path):
    shutil.copy(images / 'plain.jpg', images / 'copy.jpg')
    write([Entry('plain.jpg', [Hit('copy.jpg', 1), Hit('a#b.jpg', 0.5)])])
    assert len(list((tmp_path / 'gallery/thumbs').glob('*/*.jpg'))) == 2


def test_an_unknown_mark(write, tmp_path):
    with pytest.raises(ValueError, match="unknown mark 'maybe'; known are positive, good"):
        write([Entry('plain.jpg', [Hit('a#b.jpg', 0.5, 'maybe')])])
    assert os.listdir(tmp_path) == ['images']
