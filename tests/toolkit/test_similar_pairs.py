"""All similar pairs of descriptors, against cosines one by one; runs on disk; the script."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT, assert_one_line, run_script
from deep_retrieval import feature_shards, open_features
from deep_retrieval.duplicates import mapped_files, pair_runs, similar_pairs
from deep_retrieval.duplicates.approximate_pairs import Approximate
from deep_retrieval.duplicates.pair_runs import PairRuns
from deep_retrieval.duplicates.similar_pairs import Exact, write_mapped
from deep_retrieval.features import NamedRows

SCRIPT = ROOT / 'myPython/convert/features2mapped.py'


class Array:
    """Features in memory."""

    path = 'features'

    def __init__(self, rows, names=None):
        self._rows, self.dim = np.asarray(rows, np.float32), len(rows[0])
        self.names = names or [f'{i % 3}/im {i}.jpg' for i in range(len(rows))]

    def __len__(self):
        return len(self._rows)

    def rows(self, start=0, stop=None):
        return self._rows[start:stop].copy()


def clustered(count, dim, seed=0):
    random = np.random.default_rng(seed)
    centres = np.repeat(random.standard_normal((count // 4 + 1, dim)), 4, axis=0)[:count]
    rows = centres + 0.6 * random.standard_normal((count, dim))
    return random.permutation(rows) * random.uniform(0.1, 9, (count, 1))


def naive(features, threshold, decimals=6):
    """The lines that a mapped file has to have, by one cosine at a time."""
    rows, scale = features.rows().astype(float), 10 ** decimals
    lines = []
    for i, name in enumerate(features.names):
        items = []
        for j, other in enumerate(features.names):
            cosine = rows[i] @ rows[j] / np.sqrt((rows[i] @ rows[i]) * (rows[j] @ rows[j]))
            # the oracle's own rounding, 1e-16, is taken off
            if i != j and cosine + 1e-14 >= threshold:
                items.append((other, np.floor((cosine + 1e-14) * scale) / scale))
        if items:
            lines.append((name, sorted(items, key=lambda item: (-item[1], item[0]))))
    return sorted(lines)


@pytest.fixture
def blocks(monkeypatch):
    """Function: set the sizes of blocks, panels and pieces."""
    def set_sizes(block, panel=2, chunk=1 << 20, rechecked=1024):
        monkeypatch.setattr(similar_pairs, 'BLOCK', block)
        monkeypatch.setattr(similar_pairs, 'PANEL', panel * block)
        monkeypatch.setattr(similar_pairs, 'CHUNK', chunk)
        monkeypatch.setattr(similar_pairs, 'RECHECKED', rechecked)
    return set_sizes


@pytest.mark.parametrize('count, dim, threshold', [(97, 5, 0.6), (64, 16, -1.0), (33, 1, 0.0),
                                                   (50, 37, 0.999), (1, 4, 0.5)])
def test_pairs_are_those_of_a_naive_search(tmp_path, blocks, count, dim, threshold):
    blocks(16, chunk=50, rechecked=7)
    features = Array(clustered(count, dim))
    summary = write_mapped(tmp_path / 'm.txt', features, str(threshold))
    expected = naive(features, threshold)
    assert list(mapped_files.read(tmp_path / 'm.txt')) == expected
    assert summary == (count, len(expected), sum(len(items) for _, items in expected) // 2)
    assert os.listdir(tmp_path) == ['m.txt']


def test_bytes_do_not_depend_on_blocks_threads_or_order(tmp_path, blocks, monkeypatch):
    rows, found = clustered(130, 24), set()
    names, order = [f'im{i}' for i in range(130)], np.random.default_rng(5).permutation(130)
    for k, (block, panel, rechecked) in enumerate([(300, 1, 1024), (16, 4, 3), (37, 1, 64)]):
        blocks(block, panel, rechecked=rechecked)
        monkeypatch.setattr(pair_runs, 'BUDGET', [10 ** 6, 5, 40][k])
        torch.set_num_threads(1 + (k == 2))
        features = Array(rows, names) if k < 2 else Array(rows[order], [names[i] for i in order])
        write_mapped(tmp_path / 'm.txt', features, '0.4')
        found.add((tmp_path / 'm.txt').read_bytes())
    torch.set_num_threads(1)
    assert len(found) == 1


def test_equal_rows_have_1_and_scores_are_symmetric(tmp_path):
    random = np.random.default_rng(0)
    rows = random.standard_normal((40, 33))
    rows = np.concatenate([rows, rows, -rows[:1]])      # float32 rows, not of unit length
    write_mapped(tmp_path / 'm.txt', Array(rows), '-1', 9)
    scores = {(a, b): score for a, items in mapped_files.read(tmp_path / 'm.txt')
              for b, score in items}
    names = Array(rows).names
    assert all(scores[names[i], names[i + 40]] == 1 for i in range(40))
    assert scores[names[0], names[80]] == -1
    assert all(score == scores[b, a] for (a, b), score in scores.items())
    assert len(scores) == 81 * 80


def test_a_pair_at_the_threshold_is_found(tmp_path):
    # (3, 4) and (5, 0): 15 / 25
    features = Array([[3, 4], [5, 0], [0, 5]], ['a', 'b', 'c'])
    write_mapped(tmp_path / 'm.txt', features, '0.6', 2)
    assert (tmp_path / 'm.txt').read_text() == 'a\tc:0.80 b:0.60\nb\ta:0.60\nc\ta:0.80\n'
    write_mapped(tmp_path / 'm.txt', features, '0.61', 2)
    assert (tmp_path / 'm.txt').read_text() == 'a\tc:0.80\nc\ta:0.80\n'


def test_rows_of_any_length_are_compared(tmp_path):
    features = Array([[1e-30, 0], [1e30, 1e30], [1e-44, 0]], ['a', 'b', 'c'])
    write_mapped(tmp_path / 'm.txt', features, '0.7', 3)
    assert (tmp_path / 'm.txt').read_text() == (
        'a\tc:1.000 b:0.707\nb\ta:0.707 c:0.707\nc\ta:1.000 b:0.707\n')


@pytest.mark.parametrize('value, word', [(np.nan, 'not finite'), (np.inf, 'not finite'),
                                         (0, 'zero')])
def test_a_row_without_direction_is_named(tmp_path, blocks, value, word):
    blocks(16)
    rows = clustered(40, 6)
    rows[29] = value
    with pytest.raises(ValueError, match=f'row 29 .*im 29.jpg.* {word}'):
        write_mapped(tmp_path / 'm.txt', Array(rows), '0.5')
    assert not os.listdir(tmp_path)


def test_thresholds_finer_than_the_scores_and_equal_names_are_refused(tmp_path):
    features = Array(clustered(5, 3))
    with pytest.raises(ValueError, match='decimals'):
        write_mapped(tmp_path / 'm.txt', features, '0.605', 2)
    with pytest.raises(ValueError, match='decimals'):
        write_mapped(tmp_path / 'm.txt', features, '0.6', 10)
    with pytest.raises(ValueError, match='the same name'):
        write_mapped(tmp_path / 'm.txt', Array(clustered(2, 3), ['a', 'a']), '0.6', 2)


class Breaks(Exact):
    """A search that is interrupted."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def __call__(self, features, squares, threshold, done=0):
        for count, found in enumerate(super().__call__(features, squares, threshold, done)):
            if count == self.after:
                raise KeyboardInterrupt
            yield found


def test_an_interrupted_search_goes_on(tmp_path, blocks, monkeypatch, caplog):
    blocks(16)
    monkeypatch.setattr(pair_runs, 'BUDGET', 20)
    caplog.set_level('INFO')
    features = Array(clustered(120, 6))
    write_mapped(tmp_path / 'whole.txt', features, '0.5')
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            write_mapped(tmp_path / 'm.txt', features, '0.5', find=Breaks(6))
    left = write_mapped(tmp_path / 'm.txt', features, '0.5')
    assert (tmp_path / 'm.txt').read_bytes() == (tmp_path / 'whole.txt').read_bytes()
    said = caplog.messages
    assert len(said) == 3 and all('resuming' in line for line in said) and left.pairs > 100
    assert sorted(os.listdir(tmp_path)) == ['m.txt', 'whole.txt']


def test_what_another_search_left_is_not_taken(tmp_path, blocks, monkeypatch, caplog):
    blocks(16)
    monkeypatch.setattr(pair_runs, 'BUDGET', 20)
    with pytest.raises(KeyboardInterrupt):
        write_mapped(tmp_path / 'm.txt', Array(clustered(80, 6)), '0.4', find=Breaks(9))
    caplog.set_level('INFO')
    features = Array(clustered(80, 6, seed=1))
    write_mapped(tmp_path / 'm.txt', features, '0.4')
    assert list(mapped_files.read(tmp_path / 'm.txt')) == naive(features, 0.4)
    assert not caplog.messages
    (tmp_path / 'm.txt.parts').mkdir()
    (tmp_path / 'm.txt.parts' / 'photo.jpg').write_text('')
    with pytest.raises(ValueError, match='m.txt.parts'):
        write_mapped(tmp_path / 'm.txt', features, '0.4')


def test_without_faiss_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'faiss', None)
    with pytest.raises(RuntimeError, match='faiss is needed.*my-deep-retrieval.search.'):
        Approximate()


def test_a_killed_clean_up_leaves_no_gap(tmp_path, blocks, monkeypatch):
    """Runs whose note is gone, or that miss their predecessor, are not taken."""
    blocks(16)
    monkeypatch.setattr(pair_runs, 'BUDGET', 20)
    features, parts = Array(clustered(120, 6)), tmp_path / 'm.txt.parts'
    for spoil in (lambda: (parts / 'key.json').unlink(),
                  lambda: sorted(parts.glob('run_*'))[0].unlink(),
                  lambda: (parts / 'run_000000000_000000003.npy.aside').touch()):
        with pytest.raises(KeyboardInterrupt):
            write_mapped(tmp_path / 'm.txt', features, '0.5', find=Breaks(9))
        spoil()
        write_mapped(tmp_path / 'm.txt', features, '0.5')
        assert list(mapped_files.read(tmp_path / 'm.txt')) == naive(features, 0.5)
        assert os.listdir(tmp_path) == ['m.txt']


def test_two_searches_into_one_folder(tmp_path):
    code = ('import sys; from deep_retrieval.duplicates.pair_runs import PairRuns\n'
            'PairRuns(sys.argv[1], {}, 1)')
    with PairRuns(tmp_path / 'runs', {}, 60) as runs:
        done = subprocess.run([sys.executable, '-c', code, str(tmp_path / 'runs')], text=True,
                              capture_output=True)
        assert 'another process is writing it' in done.stderr
        runs.remove()


def test_runs_give_each_pair_once_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(pair_runs, 'BUDGET', 40)
    random, expected = np.random.default_rng(0), {}
    runs = PairRuns(tmp_path / 'runs', {}, 60)
    for part in range(30):
        i, j = np.sort(random.integers(0, 60, (2, 13)), axis=0)
        i, j = i[i < j], j[i < j]
        scores = (i * 7 + j * 3) % 11 - 5
        expected.update({(a, b): s for a, b, s in zip(i.tolist(), j.tolist(), scores.tolist(),
                                                      strict=True)})
        runs.add(part, i, j, scores)
    found, pieces = [], 0
    for numbers, starts, others, scores in runs.grouped():
        pieces += 1
        for k, number in enumerate(numbers.tolist()):
            found += [(number, -score, other) for other, score in
                      zip(others[starts[k]:starts[k + 1]].tolist(),
                          scores[starts[k]:starts[k + 1]].tolist(), strict=True)]
    assert found == sorted((*sides, ) for (a, b), s in expected.items()
                           for sides in ((a, -s, b), (b, -s, a)))
    assert runs.pairs == len(expected) and pieces > 3
    runs.remove()
    assert not os.listdir(tmp_path)


def test_approximate_scores_are_exact(tmp_path):
    random = np.random.default_rng(0)
    centres = np.repeat(random.standard_normal((400, 16)), 3, axis=0)
    features = Array(centres + 0.2 * random.standard_normal(centres.shape))
    exact = write_mapped(tmp_path / 'exact.txt', features, '0.8')
    some = write_mapped(tmp_path / 'some.txt', features, '0.8', find=Approximate(probes=4))
    every = write_mapped(tmp_path / 'all.txt', features, '0.8', find=Approximate(probes=10 ** 6))
    whole = {anchor: dict(items) for anchor, items in mapped_files.read(tmp_path / 'exact.txt')}
    for anchor, items in mapped_files.read(tmp_path / 'some.txt'):
        assert dict(items).items() <= whole[anchor].items()
    assert (tmp_path / 'all.txt').read_bytes() == (tmp_path / 'exact.txt').read_bytes()
    assert 0.9 * exact.pairs < some.pairs <= every.pairs == exact.pairs


@pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no GPU')
def test_a_gpu_gives_the_same_bytes(tmp_path):
    features = Array(clustered(9000, 48))
    write_mapped(tmp_path / 'cpu.txt', features, '0.6')
    write_mapped(tmp_path / 'gpu.txt', features, '0.6', find=Exact('cuda:0'))
    assert (tmp_path / 'cpu.txt').read_bytes() == (tmp_path / 'gpu.txt').read_bytes()


@pytest.mark.parametrize('text', ['b c.jpg 2\na 0\nd\t1 4\n', '2\tb c.jpg\n0\ta\n4\td\t1\n'])
def test_rows_are_named_by_either_list(tmp_path, text):
    rows = np.arange(20, dtype=np.float64).reshape(5, 4)
    np.save(tmp_path / 'x.npy', rows)
    (tmp_path / 'x.txt').write_text(text)
    features = open_features(tmp_path / 'x.npy')
    assert features.names == ['a', 'b c.jpg', 'd\t1'] and (len(features), features.dim) == (3, 4)
    np.testing.assert_array_equal(features.rows(1, 9), rows[[2, 4]].astype(np.float32))


@pytest.mark.parametrize('text, word', [('a 0\nb\n', ':2'), ('a 0\nb 5\n', 'no row 5'),
                                        ('a 0\na 1\n', 'repeats'), ('a 0\nb 0\n', 'repeats'),
                                        ('a -1\n', ':1'), ('', 'names no row')])
def test_bad_lists_are_refused(tmp_path, text, word):
    np.save(tmp_path / 'x.npy', np.ones((5, 4)))
    (tmp_path / 'x.txt').write_text(text)
    with pytest.raises(ValueError, match=word) as error:
        open_features(tmp_path / 'x.npy')
    assert 'x.txt' in str(error.value)


@pytest.mark.parametrize('array', [np.ones(4), np.ones((2, 3), int), np.ones((0, 4)), None])
def test_what_are_no_features_is_refused(tmp_path, array):
    (tmp_path / 'x.npy').write_bytes(b'\x93NUMPY')
    if array is not None:
        np.save(tmp_path / 'x.npy', array)
    with pytest.raises(ValueError, match='x.npy'):
        NamedRows(tmp_path / 'x.npy', tmp_path / 'x.txt')


def test_the_script(tmp_path):
    rows, names = clustered(30, 8), [f'ü {i}:.jpg' for i in range(30)]
    feature_shards.save(str(tmp_path / 'features'), names, rows, shard_size=7)
    flags = ['--gpu', -1, '--output', tmp_path / 'm.txt', '--threshold']
    done = run_script(SCRIPT, '--features', tmp_path / 'features', *flags, '0.60')
    features = open_features(str(tmp_path / 'features'))
    expected = naive(features, 0.6)
    assert list(mapped_files.read(tmp_path / 'm.txt')) == expected
    pairs = sum(len(items) for _, items in expected) // 2
    assert done.stdout == (f'{tmp_path}/m.txt: {pairs} pairs at or above 0.60, of {len(expected)} '
                           'of 30 images\n') and not done.stderr


def test_what_the_script_cannot_take_is_one_line(tmp_path):
    np.save(tmp_path / 'x.npy', [[np.nan, 1], [0, 1], [0, 0]])
    (tmp_path / 'x.txt').write_text('2\tc\n1\tb\n')     # row 0 is left out, as a bad image's
    done = run_script(SCRIPT, '--features', tmp_path / 'x.npy', '--gpu', -1, '--output',
                      tmp_path / 'm.txt')
    assert_one_line(done, 'x.npy', 'row 2 (c)', 'zero')
