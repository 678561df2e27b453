"""The revisited protocols by hand, their files, and what is refused."""

import json
import os
import pickle
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import saved_set
from conftest import assert_one_line
from deep_retrieval import metrics
from deep_retrieval.datasets import gnd_pickle, revisited

GND = {
    'imlist': ['a', 'b', 'c', 'd', 'e', 'f'],
    'qimlist': ['q1', 'q2'],
    'gnd': [{'bbx': [1.0, 2.0, 30.0, 40.0], 'easy': [0, 1], 'hard': [2], 'junk': [3]},
            {'bbx': [0, 0, 5, 5], 'easy': [], 'hard': [4, 5], 'junk': []}]}


def written(tmp_path, data, name='gnd_tiny.json'):
    path = tmp_path / name
    path.write_text(json.dumps(data)) if name.endswith('json') else path.write_bytes(
        pickle.dumps(data))
    return path


@pytest.fixture
def convert(capsys, monkeypatch):
    return lambda *flags: saved_set.run(capsys, monkeypatch, 'myPython/convert/gnd2json.py', *flags)


@pytest.fixture
def truth(tmp_path):
    return revisited.read(written(tmp_path, GND))


def test_scores_by_hand(truth):
    rankings = ['e c a d f b'.split(), 'a e b f c d'.split()]
    easy, medium, hard = metrics.revisited(truth, truth.queries, rankings)
    # q1, Easy: c and d are skipped, so e a f b with a, b positive. Trapezoids, half of recall wide:
    # a: (0 + 1/2)/2, b: (1/3 + 1/2)/2: AP (1/4 + 5/12) / 2 = 1/3. q2 has no easy image.
    assert easy.protocol == 'tiny Easy' and easy.precisions == {'q1': pytest.approx(1 / 3)}
    assert easy.mean == pytest.approx(1 / 3)
    # mP@1: e is wrong. The last positive is 4th: mP@5 and mP@10 count 2 of 4.
    assert easy.at == {1: 0, 5: 0.5, 10: 0.5}
    # q1, Medium: d is skipped, so e c a f b with c, a, b positive:
    # c: (0 + 1/2)/2, a: (1/2 + 2/3)/2, b: (2/4 + 3/5)/2: (15/60 + 35/60 + 33/60) / 3 = 83/180.
    # q2: a e b f c d with e, f positive: e: (0 + 1/2)/2, f: (1/3 + 2/4)/2: 1/3.
    assert medium.precisions == {'q1': pytest.approx(83 / 180), 'q2': pytest.approx(1 / 3)}
    assert medium.mean == pytest.approx((83 / 180 + 1 / 3) / 2)
    assert medium.at == {1: 0, 5: pytest.approx((3 / 5 + 2 / 4) / 2), 10: pytest.approx(0.55)}
    # q1, Hard: a, b, d are skipped, so e c f with c positive: (0 + 1/2)/2
    assert hard.precisions == {'q1': pytest.approx(1 / 4), 'q2': pytest.approx(1 / 3)}
    assert hard.at == {1: 0, 5: pytest.approx((1 / 2 + 1 / 2) / 2), 10: 0.5}


def test_precision_at():
    assert metrics.precision_at_k(1, 'abc', {'a'}) == 1
    assert metrics.precision_at_k(5, 'xabxx', {'a', 'b'}) == 2 / 3      # down to the 3rd, the last
    assert metrics.precision_at_k(2, 'xabxx', {'a', 'b'}) == 1 / 2
    assert metrics.precision_at_k(2, 'jabxx', {'a', 'b'}, {'j'}) == 1
    assert metrics.precision_at_k(3, 'xyz', {'a'}) == 0


def test_no_query_with_an_easy_image(tmp_path):
    data = {**GND, 'gnd': [{**entry, 'easy': []} for entry in GND['gnd']]}
    truth = revisited.read(written(tmp_path, data))
    easy, medium, _ = metrics.revisited(truth, truth.queries, ['abcdef', 'abcdef'])
    assert np.isnan(easy.mean) and not easy.precisions and np.isfinite(medium.mean)


def test_names_of_protocols():
    assert metrics.published('Oxford', 'roi') == "Oxford's published protocol, query_crop roi"
    assert metrics.published('Paris', 'full', (384, 512)) == (
        "Paris's protocol, uni-sizes 384 x 512, query_crop full")


def test_uni_sizes(tmp_path):
    for name, size in (('a', (30, 40)), ('b', (30, 40)), ('c', (40, 30))):
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.zeros((*size, 3), np.uint8))
    folder = SimpleNamespace(images=['a', 'b'], image_path=lambda name: f'{tmp_path}/{name}.png')
    assert metrics.uni_size(folder) == (30, 40)
    folder.images.append('c')
    with pytest.raises(ValueError, match='c.png: has 40 x 30 pixels, and others have 30 x 40'):
        metrics.uni_size(folder)


# as the published files have them, and as other Pythons and NumPys wrote them
VARIANTS = {
    'lists': GND,
    'arrays': {**GND, 'gnd': [{key: np.array(value, float if key == 'bbx' else int)
                               for key, value in entry.items()} for entry in GND['gnd']]},
    'numpy numbers': {**GND, 'gnd': [{key: [np.float32(v) if key == 'bbx' else np.int64(v)
                                            for v in value]
                                      for key, value in entry.items()} for entry in GND['gnd']]}}


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('variant', VARIANTS)
def test_pickles_are_read(variant, protocol, tmp_path):
    path = tmp_path / 'gnd_tiny.pkl'
    path.write_bytes(pickle.dumps(VARIANTS[variant], protocol))
    truth = revisited.read(path)
    assert truth.images == GND['imlist'] and truth.queries[0].box == (1, 2, 30, 40)
    assert truth.grades == {'q1': {'easy': ['a', 'b'], 'hard': ['c'], 'junk': ['d']},
                            'q2': {'easy': [], 'hard': ['e', 'f'], 'junk': []}}


def test_arrays_of_other_numpys_and_orders(tmp_path):
    path = tmp_path / 'x.pkl'
    for array in (np.arange(6, dtype='>i2').reshape(2, 3), np.asfortranarray(np.eye(3)[:2]),
                  np.array(7), np.zeros((0, 2))):
        for protocol in (0, 2, 5):
            data = pickle.dumps(array, protocol)
            for text in (data, data.replace(b'numpy._core', b'numpy.core')):
                if text is not data and protocol >= 4:
                    continue    # there the name's length stands before it
                path.write_bytes(text)
                found = gnd_pickle.load(path)
                np.testing.assert_array_equal(found, array)
    # as Python 2 wrote it: the data as text
    path.write_bytes(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
                     b"(I1\n(I2\ntcnumpy\ndtype\n(S'i2'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
                     b"I00\nS'\\x01\\x00\\xff\\x00'\ntb.")
    np.testing.assert_array_equal(gnd_pickle.load(path), [1, 255])


class Runs:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
def test_a_pickle_that_runs_code_is_refused(protocol, convert, tmp_path):
    path, mark = tmp_path / 'gnd_evil.pkl', tmp_path / 'mark'
    path.write_bytes(pickle.dumps({**GND, 'more': Runs(os.mkdir, str(mark))}, protocol))
    done = convert(path)
    assert_one_line(done, 'gnd_evil.pkl: refused', 'mkdir')
    assert not mark.exists() and not (tmp_path / 'gnd_evil.json').exists()


@pytest.mark.parametrize('data', [
    Runs(eval, '1'), np.array([{}], object), np.array(['a']), np.zeros(2, 'i4,i4'), {1, 2}, 1j,
    np.float64, SimpleNamespace(a=1), Runs(np.array, [1])])
def test_what_is_no_plain_data_is_refused(data, tmp_path):
    path = tmp_path / 'x.pkl'
    path.write_bytes(pickle.dumps(data))
    with pytest.raises(ValueError, match='x.pkl: refused'):
        gnd_pickle.load(path)


def test_damaged_pickles(tmp_path):
    path, whole = tmp_path / 'x.pkl', pickle.dumps(VARIANTS['arrays'])
    rng = np.random.default_rng(0)
    for cut in (0, 1, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match='x.pkl: '):
            gnd_pickle.load(path)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            gnd_pickle.load(path)
        except ValueError as error:
            assert len(str(error).splitlines()) == 1
    shared = []
    for _ in range(60):     # 2^60 entries if each reference were followed
        shared = [shared, shared]
    path.write_bytes(pickle.dumps(shared))
    assert len(gnd_pickle.load(path)) == 2


def test_gnd2json(convert, tmp_path):
    path = written(tmp_path, VARIANTS['arrays'], 'gnd_tiny.pkl')
    done = convert(path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f'{tmp_path}/gnd_tiny.json: 2 queries, 6 images; 2 easy, 3 hard, 1 junk\n'
    stored = json.loads((tmp_path / 'gnd_tiny.json').read_text())
    assert stored == GND
    assert revisited.read(tmp_path / 'gnd_tiny.json')[:4] == revisited.read(path)[:4]
    assert_one_line(convert(tmp_path / 'nowhere.pkl'), 'nowhere.pkl')
    assert_one_line(convert(tmp_path / 'gnd_tiny.json'), 'a .pkl is expected')


def change(**entry):
    return {**GND, 'gnd': [{**GND['gnd'][0], **entry}, GND['gnd'][1]]}


@pytest.mark.parametrize('data, words', [
    ([1, 2], 'imlist, qimlist and gnd are expected'),
    ({**GND, 'imlist': ['a', 'a']}, 'imlist names an image twice'),
    ({**GND, 'imlist': 'abc'}, 'imlist is not a list'),
    ({**GND, 'imlist': ['a b']}, 'imlist is not a list'),
    ({**GND, 'qimlist': ['a', 'q2']}, 'the query image a is in imlist too'),
    ({**GND, 'gnd': GND['gnd'][:1]}, 'not.* list of 2'),
    ({**GND, 'gnd': [{'ok': [1], 'junk': [], 'bbx': [0, 0, 1, 1]}] * 2}, 'q1 lacks .*old ground'),
    (change(easy=[6]), 'easy of the query q1 .* 0 to 5'), (change(easy=[-1]), 'easy'),
    (change(hard=[1.5]), 'hard'), (change(junk={'a': 1}), 'junk'), (change(hard=[0]), 'twice'),
    (change(bbx=[1, 2, 3]), 'box'), (change(bbx=[5, 0, 5, 9]), 'box'), (change(bbx=None), 'box')])
def test_files_that_are_no_ground_truth(data, words, tmp_path):
    with pytest.raises(ValueError, match=f'gnd_tiny.json: .*{words}'):
        revisited.read(written(tmp_path, data))


def test_no_json(tmp_path):
    (tmp_path / 'gnd_x.json').write_bytes(b'\x80\x04')
    with pytest.raises(ValueError, match='gnd_x.json: is not JSON'):
        revisited.read(tmp_path / 'gnd_x.json')


def test_the_dataset_of_a_ground_truth(truth, tmp_path):
    (tmp_path / 'jpg').mkdir()
    for name in [*GND['imlist'], *GND['qimlist'], 'more']:
        (tmp_path / f'jpg/{name}.JPG').touch()
    dataset = revisited.Revisited(tmp_path, truth)
    assert dataset.images == GND['imlist']
    assert dataset.image_path('q1') == str(tmp_path / 'jpg/q1.JPG')
    (tmp_path / 'jpg/q2.JPG').unlink()
    wrong = 'gnd_tiny.json: 1 of its 8 images, such as q2, .*another dataset'
    with pytest.raises(ValueError, match=wrong):
        revisited.Revisited(tmp_path, truth)
