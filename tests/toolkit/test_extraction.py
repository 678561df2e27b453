import fcntl
import json
import os

import cv2
import numpy as np
import pytest
from deep_retrieval.extraction import WINDOW, Item, extract
from deep_retrieval.images import ImageError
from deep_retrieval.store import Journal


class FakeNet:
    """Descriptors that are known: the mean colour of each image, and its size."""

    def __init__(self, breaks_after=None):
        self.batches, self.breaks_after = [], breaks_after

    def __call__(self, images):
        if len(self.batches) == self.breaks_after:
            raise KeyboardInterrupt
        assert len({image.shape for image in images}) == 1
        self.batches.append(len(images))
        return np.array([expected(image) for image in images], np.float32)


def expected(image):
    return [*image.mean((0, 1)), *image.shape[:2]]


@pytest.fixture
def items(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / 'jpg'
    folder.mkdir()
    items = []
    for i in range(WINDOW + 8):
        size = (24, 32) if rng.random() < 0.6 else (32, 24)
        path = folder / f'{i}.png'
        cv2.imwrite(str(path), rng.integers(0, 256, (*size, 3), np.uint8))
        items.append(Item(str(i), str(path), (4, 4, 20, 20) if i == 3 else None))
    return items


@pytest.fixture
def run(items, tmp_path, caplog):
    def run(net=None, items=items, folder='out', about=None, **kwargs):
        caplog.clear()
        caplog.set_level('INFO')
        features, skipped = extract(net or FakeNet(), items, 32, str(tmp_path / folder / 'x.npy'),
                                    about or {'weights': 'abc'}, batch_size=4, **kwargs)
        return features, skipped, caplog.messages
    return run


def test_rows_are_in_the_items_order(run, items):
    net = FakeNet()
    features, skipped, told = run(net)
    for item, row in zip(items, features):
        image = cv2.imread(item.path)
        if item.box:
            image = image[4:20, 4:20]
        np.testing.assert_allclose(row, expected(image), rtol=1e-6)
    assert max(net.batches) == 4 and sum(net.batches) == len(items)
    assert not skipped and not told


def test_a_second_run_computes_nothing(run, tmp_path):
    first, _, _ = run()
    net = FakeNet()
    second, _, told = run(net)
    np.testing.assert_array_equal(first, second)
    assert not net.batches and not told
    assert sorted(os.listdir(tmp_path / 'out')) == ['x.json', 'x.npy']


def test_features_of_something_else_are_computed_anew(run, items, tmp_path):
    run()
    net = FakeNet()
    _, _, told = run(net, about={'weights': 'other'})
    assert sum(net.batches) == len(items) and 'another weights' in told[0]
    cv2.imwrite(items[5].path, np.zeros((24, 32, 3), np.uint8))
    features, _, told = run(about={'weights': 'other'})
    assert 'another items' in told[0] and features[5][:3].tolist() == [0, 0, 0]
    (tmp_path / 'out/x.json').unlink()
    _, _, told = run(about={'weights': 'other'})
    assert 'nothing says' in told[0]


@pytest.mark.parametrize('breaks_after', [0, 1, 5, 9])
def test_a_resumed_run_gives_the_same_bytes(run, items, breaks_after, tmp_path):
    run(folder='whole')
    with pytest.raises(KeyboardInterrupt):
        run(FakeNet(breaks_after))
    assert os.listdir(tmp_path / 'out') == ['x.part']
    net = FakeNet()
    _, _, told = run(net)
    for name in ('x.npy', 'x.json'):
        assert (tmp_path / 'out' / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()
    assert not (tmp_path / 'out/x.part').exists()
    if breaks_after:
        assert 'resuming after' in told[0] and sum(net.batches) < len(items)


def test_a_run_killed_between_its_note_and_the_end_leaves_no_journal(run, tmp_path):
    run()
    with open(tmp_path / 'out/x.part', 'w') as other:
        fcntl.flock(other, fcntl.LOCK_EX)       # of a run that goes on
        run()
        assert (tmp_path / 'out/x.part').exists()
    run()
    assert sorted(os.listdir(tmp_path / 'out')) == ['x.json', 'x.npy']


@pytest.mark.parametrize('cut', [1, 30, 200])
def test_a_journal_torn_inside_a_batch(run, items, cut, tmp_path):
    run(folder='whole')
    with pytest.raises(KeyboardInterrupt):
        run(FakeNet(6))
    part = tmp_path / 'out/x.part'
    part.write_bytes(part.read_bytes()[:-cut])
    run()
    assert (tmp_path / 'out/x.npy').read_bytes() == (tmp_path / 'whole/x.npy').read_bytes()


def test_a_journal_of_something_else_is_not_used(run, items):
    with pytest.raises(KeyboardInterrupt):
        run(FakeNet(6))
    net = FakeNet()
    run(net, about={'weights': 'other'})
    assert sum(net.batches) == len(items)


def test_a_damaged_image_is_named_or_skipped(run, items, tmp_path):
    with open(items[7].path, 'r+b') as file:
        file.truncate(100)
    with pytest.raises(ImageError, match='7.png'):
        run()
    assert not (tmp_path / 'out/x.npy').exists()
    features, skipped, told = run(skip_bad=True)
    assert skipped == ['7'] and np.isnan(features[7]).all()
    assert np.isfinite(np.delete(features, 7, 0)).all()
    assert any('7.png' in line for line in told)
    features, skipped, _ = run(FakeNet(0), skip_bad=True)    # from the cache
    assert skipped == ['7']
    with pytest.raises(ImageError, match='7.png'):           # which does not hide the damage
        run()


def test_no_image_at_all(run, items):
    for item in items:
        open(item.path, 'w').close()
    with pytest.raises(ValueError, match='none of the 40 images'):
        run(skip_bad=True)


def test_an_output_that_cannot_be_written(run, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError):
        run(folder='file')


def test_journal_reads_back_what_was_appended(tmp_path):
    path = str(tmp_path / 'j.part')
    with Journal(path, {'a': 1}) as journal:
        journal.append([3, 1], np.array([[1, 2], [3, 4]], np.float32))
        journal.append([0], np.array([[5, 6]], np.float32))
    with Journal(path, {'a': 1}) as journal:
        assert {i: row.tolist() for i, row in journal.rows.items()} == {
            3: [1, 2], 1: [3, 4], 0: [5, 6]}
    with open(path, 'rb') as file:
        assert json.loads(file.readline()) == {'a': 1}
