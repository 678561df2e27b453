"""gallery: the folder it is written to, which appears whole, repeatable and resumed."""

import os
import shutil

import html_tree
import numpy as np
import pytest
from deep_retrieval import store
from deep_retrieval.features import Features
from deep_retrieval.gallery import answer_pictures, similar_clusters, thumbs
from deep_retrieval.gallery.pages import Entry
from deep_retrieval.ranking import Hit
from gallery_pages import NAMES, content, make_images, write_gallery

WHOLE = ['index.html', 'script.js', 'style.css', 'thumbs']


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


def test_equal_runs_give_equal_bytes(write, tmp_path, monkeypatch):
    entries = [Entry(name, [Hit(other, 0.5) for other in NAMES]) for name in NAMES]
    write(entries, per_page=3)
    before = content(tmp_path / 'gallery')
    write(entries, per_page=3, output=tmp_path / 'again')
    assert content(tmp_path / 'again') == before
    monkeypatch.setattr(thumbs, 'read_image', lambda path: pytest.fail('read again'))
    write(entries, per_page=3)
    assert content(tmp_path / 'gallery') == before
    write(entries[:1], per_page=3)      # fewer pages, and none of the others left
    assert sorted(os.listdir(tmp_path / 'gallery')) == WHOLE
    assert sorted(os.listdir(tmp_path)) == ['again', 'gallery', 'images']


def test_a_picture_that_changed_gets_another_thumbnail(write, images, tmp_path):
    write([Entry('plain.jpg', [])])
    before = content(tmp_path / 'gallery/thumbs')
    shutil.copystat(images / 'plain.jpg', images / 'a#b.jpg')
    os.replace(images / 'a#b.jpg', images / 'plain.jpg')
    write([Entry('plain.jpg', [])])
    after = content(tmp_path / 'gallery/thumbs')
    assert len(after) == 1 and not set(after) & set(before)


@pytest.mark.parametrize('moment', range(0, 24, 3))
def test_interrupted_runs_are_resumed(moment, write, tmp_path, monkeypatch):
    """Ctrl-C at some file that is written; the next run gives what one run gives."""
    entries = [Entry(name, []) for name in NAMES]
    write(entries[:4], per_page=4)
    old = content(tmp_path / 'gallery')
    left = [moment]

    def write_some(path, content, whole=store.write):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        whole(path, content)
    with monkeypatch.context() as patch:
        patch.setattr(store, 'write', write_some)
        try:
            write(entries, per_page=4)
        except KeyboardInterrupt:
            assert content(tmp_path / 'gallery') == old     # nothing of it is seen
            made = len(list(tmp_path.glob('.gallery.thumbs/*/*.jpg')))
            assert made == min(4 + moment, len(NAMES))      # and no thumbnail is lost
    write(entries, per_page=4)
    write(entries, per_page=4, output=tmp_path / 'whole')
    assert content(tmp_path / 'gallery') == content(tmp_path / 'whole')
    assert sorted(os.listdir(tmp_path)) == ['gallery', 'images', 'whole']


@pytest.mark.parametrize('what', ['notes.txt', 'index.html', 'file', 'part'])
def test_other_things_are_not_replaced(what, write, tmp_path):
    output = tmp_path / 'gallery'
    if what == 'file':
        output.write_text('mine')
    elif what == 'part':
        (tmp_path / '.gallery.thumbs').mkdir()
        (tmp_path / '.gallery.thumbs/mine').touch()
    else:
        write([])
        (output / what).write_text('mine')
    before = content(tmp_path)
    faults = 'contains other files|is not a gallery|is a file|is in the way'
    with pytest.raises(ValueError, match=rf'gallery(\.thumbs)?: ({faults})'):
        write([Entry('plain.jpg', [])])
    assert content(tmp_path) == before
    if what in ('notes.txt', 'index.html'):
        write([], overwrite=True)
        assert sorted(os.listdir(output)) == WHOLE


def test_an_empty_folder_is_taken_but_no_input(write, images, tmp_path, monkeypatch):
    (tmp_path / 'gallery').mkdir()
    write([])
    for output in (images, tmp_path):
        with pytest.raises(ValueError, match='contains .*: choose another'):
            write([], output=output, overwrite=True, inputs=[images])
    monkeypatch.chdir(tmp_path / 'gallery')
    with pytest.raises(ValueError, match='choose another'):
        write([])


def test_a_linked_output_stays_a_link(write, tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to('real')
    write([Entry('plain.jpg', [])], output=tmp_path / 'link')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'real/index.html').exists()
    href = next(html_tree.read((tmp_path / 'real/index.html').read_text()).one('section').all('a'))
    assert href.attributes['href'] == '../images/plain.jpg'


def test_pictures_of_a_killed_run_are_taken_over(tmp_path):
    """What it was writing is cleaned, whether the next run writes that picture or not."""
    folder, source = tmp_path / 'out', tmp_path / 'a.jpg'
    source.write_bytes(b'picture')
    copy = answer_pictures.copy_of(str(source))
    answer_pictures.fill(str(folder), {'1/a.jpg': copy, '2/a.jpg': copy}, False)
    for name in ('1/a.jpg.aside', '2/a.jpg.aside', 'pictures.json.aside'):
        (folder / name).write_bytes(b'half')
    answer_pictures.fill(str(folder), {'1/a.jpg': copy}, True)
    assert sorted(content(folder)) == ['1/a.jpg', 'pictures.json']
    (folder / 'mine.aside').touch()
    with pytest.raises(ValueError, match='mine.aside'):
        answer_pictures.fill(str(folder), {'1/a.jpg': copy}, False)


def test_similarities_of_other_features_are_refused(tmp_path):
    path, rows = str(tmp_path / 'sim.npy'), np.eye(4, dtype=np.float32)
    features = Features('x', list('abcd'), rows)
    found = similar_clusters.similarities_of(features, 2, path)
    np.testing.assert_array_equal(found, rows[:2])
    np.testing.assert_array_equal(similar_clusters.similarities_of(features, 2, path), found)
    with pytest.raises(ValueError, match='sim.npy: was made from other features'):
        similar_clusters.similarities_of(Features('x', list('abcd'), 1 - rows), 2, path)
