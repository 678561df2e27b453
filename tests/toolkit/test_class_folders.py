import shutil
import threading
import time

import cv2
import numpy as np
import pytest
from deep_retrieval.training.class_folders import AHEAD, ClassFolders, ReadAhead

SIZE = (4, 6)


@pytest.fixture
def folder(tmp_path):
    """7 classes of 4 images; a pixel tells the class and the image: (class, image, 0)."""
    for name in range(7):
        for number in range(4):
            write(tmp_path, name, number)
    return tmp_path


def write(folder, name, number, size=SIZE):
    (folder / str(name)).mkdir(exist_ok=True)
    image = np.full((*size, 3), (int(name), number, 0), np.uint8)
    cv2.imwrite(str(folder / str(name) / f'{number}.png'), image)


def draws(folders, numbers):
    """Each draw as (class, image) pairs, as the pixels tell them."""
    found = []
    for number in numbers:
        images, classes = folders.draw(number)
        pairs = [tuple(image[0, 0, :2].tolist()) for image in images]
        assert [int(folders.names[index]) for index in classes] == [name for name, _ in pairs]
        assert all(image.shape == (*SIZE, 3) for image in images)
        found.append(pairs)
    return found


def test_draws(folder):
    folders = ClassFolders(folder, own=3, others=4)
    assert folders.size == SIZE and folders.labels() == list(range(7))
    for pairs in draws(folders, range(14)):
        own, others = pairs[:3], pairs[3:]
        assert len(set(own)) == 3 and len({name for name, _ in own}) == 1
        assert len({name for name, _ in [own[0], *others]}) == 5


def test_an_epoch_visits_every_class_once_in_an_order_of_its_own(folder):
    folders = ClassFolders(folder)
    first = [pairs[0][0] for pairs in draws(folders, range(7))]
    second = [pairs[0][0] for pairs in draws(folders, range(7, 14))]
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second and first != sorted(first)


def test_all_images_are_drawn(folder):
    seen = {pair for pairs in draws(ClassFolders(folder), range(140)) for pair in pairs}
    assert len(seen) == 28


def test_draws_depend_on_seed_and_number_alone(folder):
    expected = draws(ClassFolders(folder, seed=5), range(20))
    again = ClassFolders(folder, seed=5)
    assert [draws(again, [number])[0] for number in reversed(range(20))] == expected[::-1]
    assert draws(ClassFolders(folder, seed=6), range(20)) != expected


def test_few_images_are_repeated(folder):
    """Never more often than needed."""
    for pairs in draws(ClassFolders(folder, own=6, others=0), range(7)):
        assert len(set(pairs)) == 4 and max(map(pairs.count, pairs)) == 2


def test_other_files_are_no_classes_and_no_images(folder):
    expected = draws(ClassFolders(folder), range(7))
    (folder / 'readme.txt').write_text('x')
    (folder / '.cache').mkdir()
    (folder / '3' / 'notes.txt').write_text('x')
    (folder / '3' / '._0.png').write_bytes(b'x')
    assert draws(ClassFolders(folder), range(7)) == expected


def refused(folder, *words, **options):
    with pytest.raises(ValueError) as error:
        ClassFolders(folder, **options).labels()
    message = str(error.value)
    assert '\n' not in message
    for word in [str(folder), *words]:
        assert word in message


def test_folders_that_are_refused(folder):
    refused(folder / 'none', 'No such file')
    refused(folder / '1' / '0.png', 'Not a directory')
    refused(folder, 'has 7 class folders, but a batch needs 8', 'lower batch_size', others=7)
    refused(folder, '4 x 6 pixels', "'cover' have 280 x 496", dataset='cover')
    tower = folder / 'bell_tower'
    tower.mkdir()
    refused(folder, 'fewer than 2 images', 'bell_tower; fill or remove')
    shutil.copy(folder / '0' / '0.png', tower)
    refused(folder, 'fewer than 2 images', 'bell_tower; fill or remove')
    shutil.copy(folder / '0' / '1.png', tower)
    refused(folder, 'an integer', 'rename bell_tower')
    tower = tower.rename(folder / '03')
    refused(folder, 'the same label', 'rename 03, 3')
    tower.rename(folder / str(2 ** 24 + 1))
    refused(folder, 'from 0 to 16777216', '16777217')


def test_a_class_of_one_image_is_enough_where_one_is_taken(folder):
    write(folder, 8, 0)
    assert draws(ClassFolders(folder, own=1, others=2), range(8))


def test_damaged_images_and_such_of_another_size_are_left_out(folder, caplog):
    kept = draws(ClassFolders(folder, own=2, others=3), range(70))
    (folder / '2' / '1.png').write_bytes(b'no image')
    write(folder, 5, 3, size=(5, 6))
    found = draws(ClassFolders(folder, own=2, others=3), range(70))
    told = caplog.messages
    assert len(told) == 2       # once each
    assert any('2/1.png' in line and 'not an image' in line for line in told)
    assert any('5/3.png: has 5 x 6 pixels, not 4 x 6' in line for line in told)
    assert not {(2, 1), (5, 3)} & {pair for pairs in found for pair in pairs}
    for before, after in zip(kept, found):
        if not {(2, 1), (5, 3)} & set(before):
            assert after == before
        assert [name for name, _ in after] == [name for name, _ in before]
        assert len(set(after)) == len(after)


def test_too_many_damaged_images_are_an_error(folder, caplog):
    for number in range(4):
        (folder / '6' / f'{number}.png').write_bytes(b'')
    folders = ClassFolders(folder)
    with pytest.raises(ValueError, match='3 of 28 images were left out before it: give all images'):
        draws(folders, range(7))
    assert len(caplog.messages) == 3
    for name in range(7):
        for number in range(4):
            (folder / str(name) / f'{number}.png').write_bytes(b'')
    with pytest.raises(ValueError, match='replace damaged ones'):
        ClassFolders(folder)


def test_a_class_without_a_good_image_is_an_error(folder):
    for name in range(10, 20):
        for number in range(2):
            write(folder, name, number)
    for number in range(2):
        (folder / '13' / f'{number}.png').write_bytes(b'')
    with pytest.raises(ValueError, match='13: none of its images can be used'):
        draws(ClassFolders(folder), range(17))


def slow(number):
    time.sleep(0.02 * (number % 3 == 0))       # so that later ones are ready before
    return number


def test_read_ahead_keeps_the_order():
    batches = ReadAhead(slow, start=1, step=3)
    assert [batches.next() for _ in range(20)] == list(range(1, 61, 3))


def test_read_ahead_reads_ahead():
    loaded = []
    batches = ReadAhead(lambda number: loaded.append(number) or number)
    assert not loaded       # a net that never runs reads nothing
    batches.next()
    wait_for(lambda: len(loaded) == AHEAD + 1)


@pytest.mark.parametrize('before', [0, 1, 5])
def test_skip_equals_next(before):
    one, other = ReadAhead(slow), ReadAhead(slow)
    for batches in (one, other):
        for _ in range(before):
            batches.next()
    other.skip(7)
    other.skip(0)
    for _ in range(7):
        one.next()
    assert [one.next() for _ in range(6)] == [other.next() for _ in range(6)]
    with pytest.raises(ValueError, match='-1 batches'):
        one.skip(-1)


def test_skip_loads_nothing():
    loaded = []
    batches = ReadAhead(loaded.append)
    batches.skip(1000)
    batches.next()
    assert min(loaded) == 1000


def test_an_error_reaches_the_caller_in_its_turn():
    def load(number):
        if number == 2:
            raise ValueError('damaged')
        return number

    batches = ReadAhead(load)
    assert [batches.next(), batches.next()] == [0, 1]
    for _ in range(2):
        with pytest.raises(ValueError, match='damaged'):
            batches.next()


def test_threads_end_with_the_object():
    before = set(threading.enumerate())
    batches = ReadAhead(slow)
    batches.next()
    threads = set(threading.enumerate()) - before
    assert threads
    del batches
    wait_for(lambda: not any(thread.is_alive() for thread in threads))


def wait_for(condition, seconds=5):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
