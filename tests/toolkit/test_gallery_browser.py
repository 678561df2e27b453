"""A gallery in headless Chromium: threshold, keys, focus, colours, pictures, no scripts.

Skipped where there is no Chromium; Debian's package `chromium` is one (see browser.py).
"""

import random
import time
from pathlib import Path

import browser
import cv2
import numpy as np
import pytest
from deep_retrieval.gallery import pages
from deep_retrieval.gallery.pages import Entry
from deep_retrieval.ranking import Hit
from gallery_pages import NAMES

PER_PAGE = 4


@pytest.fixture(scope='module')
def chromium():
    program = browser.find()
    if program is None:
        pytest.skip('there is no Chromium here: apt-get install chromium')
    with browser.Browser(program) as found:
        yield found


@pytest.fixture(scope='module')
def entries():
    """Ten entries, so that there are three pages; similarities in hundredths, 0.69 among them."""
    rng = random.Random(0)
    return [Entry(query, [Hit(name, value / 100, rng.choice(['positive', 'negative', 'junk']))
                          for name, value in zip(NAMES, sorted(rng.choices(range(50, 100), k=17),
                                                               reverse=True) + [50])]
                  + [Hit('gone.jpg', 0.69, None)], box=(5, 5, 20, 20)) for query in NAMES[:10]]


@pytest.fixture(scope='module')
def folder(tmp_path_factory, entries):
    root = tmp_path_factory.mktemp('browser')
    rng = np.random.default_rng(0)
    for name in NAMES:
        path = root / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (*rng.choice([(90, 120), (120, 90), (30, 200)]), 3), np.uint8)
        path.write_bytes(cv2.imencode('.jpg', image)[1].tobytes())
    done = pages.write(root / 'out', entries, pages.in_folder(root / 'images'), 'Title',
                       'queries', PER_PAGE)
    assert done.pages == 3 and done.faults == {'missing': ['gone.jpg']}
    return root / 'out'


@pytest.fixture
def page(chromium, folder):
    """The browser with the first page open, its window 1200 x 900."""
    chromium.resize(1200, 900)
    chromium.set_dark(False)
    chromium.set_script(True)
    chromium.requests.clear()
    chromium.open(folder / 'index.html')
    return chromium


def shown(page):
    """How many hits each entry shows, and its line about them."""
    return page.run('''[...document.querySelectorAll('.entry')].map((entry) => [
        [...entry.querySelectorAll('.hits > li')].filter((hit) => hit.offsetHeight > 0).length,
        entry.querySelector('.count').textContent])''')


def address(page):
    return Path(page.run('location.pathname')).name + page.run('location.search')


def wait_for(page, script, seconds=60):
    """Wait until an expression is true."""
    end = time.monotonic() + seconds
    while not page.run(script):
        assert time.monotonic() < end, script
        time.sleep(0.05)


def load_all(page):
    """Have all pictures loaded, without scrolling to them; returns how many failed."""
    return page.run('''Promise.all([...document.images].map((image) => {
        image.loading = 'eager';
        return image.decode().then(() => 0, () => 1);
    })).then((failed) => failed.reduce((sum, one) => sum + one, 0))''')


def test_pictures_load_and_nothing_from_elsewhere(page, folder, entries):
    assert page.run('document.images.length') == PER_PAGE * (1 + len(NAMES))
    assert page.run('document.querySelectorAll(".lost").length') == PER_PAGE
    assert load_all(page) == 0
    assert all(url.startswith((folder.as_uri() + '/', 'data:,')) for url in page.requests)
    # what the links lead to is a picture as well, whatever its name is
    broken = page.run('''Promise.all([...document.querySelectorAll('a.frame')].map((link) => {
        const image = new Image();
        image.src = link.href;
        return image.decode().then(() => null, () => link.href);
    })).then((found) => found.filter(Boolean))''')
    assert broken == []


def test_nothing_moves_when_pictures_arrive(page):
    places = '''JSON.stringify([...document.querySelectorAll('.entry, .frame')].map((node) => [
        node.getBoundingClientRect().top, node.offsetHeight]))'''
    before = page.run(places)
    assert page.run('[...document.images].some((image) => !image.complete)')     # they are lazy
    load_all(page)
    assert page.run(places) == before


def test_thumbnails_fill_cells_without_being_distorted(page):
    load_all(page)
    assert page.run('''[...document.images].every((image) =>
        Math.abs(image.naturalWidth / image.naturalHeight
                 - image.getAttribute('width') / image.getAttribute('height')) < 1e-6
        && getComputedStyle(image).objectFit === 'contain')''')


@pytest.mark.parametrize('threshold', ['0.50', '0.51', '0.68', '0.69', '0.70', '0.86', '0.99'])
def test_the_threshold_hides_what_is_below(threshold, page, entries):
    page.run(f'''(() => {{
        const slider = document.getElementById('threshold');
        slider.value = '{threshold}';
        slider.dispatchEvent(new Event('input'));
    }})()''')
    hits = [[hit for hit in entry.hits if hit.similarity >= float(threshold)] for entry in entries]
    every = len(entries[0].hits)
    assert shown(page) == [
        [len(some), f'{len(some)} of {every} hits' if len(some) < every else f'{every} hits']
        for some in hits[:PER_PAGE]]
    kinds = [hit.mark for some in hits for hit in some]
    text = page.run('document.querySelector(".shown").textContent')
    assert text.endswith('({} same, {} other, {} junk, {} not marked)'.format(
        *(kinds.count(mark) for mark in ('positive', 'negative', 'junk', None))))
    assert text.startswith(f'{sum(map(len, hits[:PER_PAGE]))} ')
    assert page.run('document.querySelector("output").value') == threshold
    # it goes along to the other pages, and comes back with the address
    search = '' if threshold == '0.50' else f'?t={threshold}'
    assert address(page) == f'index.html{search}'
    page.follow(lambda: page.press('n'))
    assert address(page) == f'page-2.html{search}'
    assert [count for count, _ in shown(page)] == list(map(len, hits[PER_PAGE:2 * PER_PAGE]))


def test_the_slider_is_moved_by_keys(page):
    page.run('document.getElementById("threshold").focus()')
    page.press('ArrowRight')
    page.press('ArrowUp')
    assert page.run('document.querySelector("output").value') == '0.52'
    assert '0.52, ' in page.run('document.getElementById("threshold").ariaValueText')
    assert page.run('document.activeElement.id') == 'threshold'
    page.press('j')     # letters still go between entries
    assert page.run('document.activeElement.id') == 'entry-1'


def test_keys_go_between_entries(page):
    def focused():
        return page.run('document.activeElement.id')
    steps = [('j', 1), ('j', 2), ('ArrowDown', 3), ('ArrowUp', 2), ('k', 1), ('k', 1), ('j', 2),
             ('j', 3), ('j', 4), ('j', 4)]
    for key, number in steps:
        page.press(key)
        assert focused() == f'entry-{number}'
    page.press('k')
    top, bottom = page.run('''[document.activeElement.getBoundingClientRect().top,
        document.querySelector('.threshold').getBoundingClientRect().bottom]''')
    assert bottom <= top <= bottom + 12     # the entry begins below the bar with the slider
    page.press('j', modifiers=2)
    assert focused() == 'entry-3'
    page.run('window.scrollTo(0, 0)')       # whoever scrolls away goes on from there
    page.press('j')
    assert focused() == 'entry-1'


def test_keys_turn_pages(page):
    page.press('p')
    assert address(page) == 'index.html'
    for key, name in (('n', 'page-2.html'), ('n', 'page-3.html'), ('p', 'page-2.html')):
        page.follow(lambda key=key: page.press(key))
        assert address(page) == name
    page.follow(lambda: page.press('n'))
    page.press('n')
    assert address(page) == 'page-3.html'


def test_tab_reaches_skip_links_and_all_else_visibly(page):
    seen = []
    for _ in range(12):
        page.press('Tab')
        seen.append(page.run('''(() => {
            const node = document.activeElement;
            const {left, top} = node.getBoundingClientRect();
            const {outlineStyle, outlineWidth} = getComputedStyle(node);
            return [node.textContent.trim() || node.id, left >= 0 && top >= 0,
                    outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2];
        })()'''))
    assert all(visible and outlined for _, visible, outlined in seen)
    names = [name for name, *_ in seen]
    assert names[:2] == ['Skip to the pictures', 'Skip to the pages']
    assert names[2:7] == ['1', '2', '3', 'Next', 'threshold']
    page.run('document.querySelector(".skip").click()')
    assert page.run('location.hash') == '#entries'


def luminance(colour):
    """Relative luminance of `rgb(r, g, b)` (WCAG 2)."""
    values = [int(part) / 255 for part in colour.strip('rgb()').split(',')]
    values = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return np.dot(values, (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize('dark', [False, True])
def test_text_has_contrast_in_light_and_dark(dark, page):
    page.set_dark(dark)
    back, *fronts = page.run('''[getComputedStyle(document.body).backgroundColor,
        ...['body', '.about', '.note', '.name', '.same .mark', '.other .mark', '.junk .mark',
            '.shown', '.off'].map((where) => '''
                              'getComputedStyle(document.querySelector(where)).color)]')
    assert (luminance(back) < 0.1) == dark
    for front in fronts:
        low, high = sorted((luminance(back), luminance(front)))
        assert (high + 0.05) / (low + 0.05) >= 4.5


@pytest.mark.parametrize('width', [320, 700, 1200, 2500])
def test_no_width_scrolls_sideways(width, page):
    page.resize(width, 700)
    assert page.run('document.documentElement.scrollWidth') <= width
    assert page.run('''[...document.querySelectorAll('.frame')].every((frame) =>
        frame.offsetWidth >= 110)''')


def test_with_scripts_off_everything_is_there(chromium, page, folder, entries):
    chromium.set_script(False)
    chromium.open(folder / 'index.html', '?t=0.99')
    every = len(entries[0].hits)
    assert shown(chromium) == [[every, f'{every} hits']] * PER_PAGE
    assert chromium.run('document.querySelector("form").offsetHeight') == 0
    assert chromium.run('document.querySelector(".keys").offsetHeight') == 0
    wait_for(chromium, 'document.images[0].complete && document.images[0].naturalWidth > 0')
    chromium.run('document.images[document.images.length - 1].scrollIntoView()')
    wait_for(chromium, '[...document.images].at(-1).naturalWidth > 0')
    chromium.follow(lambda: chromium.run('document.querySelector(".pages [rel=next]").click()'))
    assert address(chromium) == 'page-2.html'
