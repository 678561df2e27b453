"""eval/compute_ap.cpp, compiled here, and scoring.py, which runs it."""
import os
import random
import subprocess
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from deep_retrieval import compute_ap

SOURCE = Path(__file__).resolve().parents[2] / 'eval' / 'compute_ap.cpp'


@pytest.fixture(scope='session')
def binary(tmp_path_factory):
    path = tmp_path_factory.mktemp('eval') / 'compute_ap'
    subprocess.run([os.environ.get('CXX', 'g++'), '-std=c++11', '-O2', '-Wall', '-Wextra',
                    '-Werror', '-o', path, SOURCE], check=True)
    return path


@pytest.fixture
def run(binary, tmp_path):
    """Score a ranking by the program; lists of names, or their files' whole text."""
    def text(names):
        return names if isinstance(names, str) else ''.join(f'{name}\n' for name in names)

    def run(ranked, good=(), ok=(), junk=()):
        for end, names in (('good', good), ('ok', ok), ('junk', junk)):
            (tmp_path / f'q_1_{end}.txt').write_text(text(names))
        (tmp_path / 'list.rnk').write_text(text(ranked))
        return subprocess.run([binary, tmp_path / 'q_1', tmp_path / 'list.rnk'],
                              capture_output=True, text=True)

    return run


def naive_average_precision(ranked, positives, junk):
    """The rule twice over: exact, and as float32 heights with the sum rounded at each place."""
    places = [name for name in dict.fromkeys(ranked) if name not in junk]
    hits = np.cumsum([0] + [name in positives for name in places])
    exact, rounded = Fraction(0), np.float32(0)
    for place in range(1, len(hits)):
        left = Fraction(int(hits[place - 1]), place - 1) if place > 1 else Fraction(1)
        right = Fraction(int(hits[place]), place)
        width = Fraction(int(hits[place] - hits[place - 1]), len(positives))
        exact += width * (left + right) / 2
        left, right = np.float32(float(left)), np.float32(float(right))
        width = (np.float32(hits[place] / len(positives))
                 - np.float32(hits[place - 1] / len(positives)))
        rounded = np.float32(float(rounded) + float(width) * float((left + right) / np.float32(2)))
    return float(exact), float(rounded)


def test_by_hand(run):
    # Junk j is absent, so the places are x a b. Trapezoids, each half a positive wide:
    # a: (0 + 1/2)/2 * 1/2 = 1/8;  b: (1/2 + 2/3)/2 * 1/2 = 7/24;  together 10/24.
    assert run('x a j b', good='a', ok='b', junk='j').stdout == '0.416667\n'
    # Four positives, two never ranked. a: (1 + 1)/2 * 1/4 = 1/4;  b, third after x:
    # (1/2 + 2/3)/2 * 1/4 = 7/48;  together 19/48.
    assert run('a x b', good='a b', ok='y z').stdout == '0.395833\n'


def test_at_the_ends(run):
    assert run('a b x', good='a', ok='b').stdout == '1\n'
    assert run('x y', good='a').stdout == '0\n'
    assert run('', good='a').stdout == '0\n'
    # one of 200 000 images, the last: (0 + 1/200000)/2 * 1
    assert run([f'x{i}' for i in range(199999)] + ['a'], good='a').stdout == '2.5e-06\n'


def test_sets(run):
    # in good and ok: one positive
    assert run('a', good='a', ok='a').stdout == '1\n'
    # positive and junk: skipped, but recall divides by it
    assert run('a b', good='a b', junk='a').stdout == '0.5\n'
    # ranked again: the first place counts, and later ones are no places
    assert run('a a a', good='a').stdout == '1\n'
    assert run('x x a', good='a').stdout == run('x a', good='a').stdout == '0.25\n'


def test_white_space_of_any_kind_separates(run):
    assert run('x\r\na\r\n\r\nj\tb', good='a\r\n', ok=' b', junk='j\n\n').stdout == '0.416667\n'


def test_random_rankings(run):
    rng = random.Random(1)
    for _ in range(300):
        names = [f'name_{i:03d}' for i in range(rng.randint(1, 300))]
        absent = [f'absent_{i}' for i in range(rng.randint(0, 5))]
        good = rng.sample(names, rng.randint(0, len(names) // 3)) + absent
        ok = rng.sample(names, rng.randint(0, len(names) // 3)) or ['absent_ok']
        junk = rng.sample(names, rng.randint(0, len(names) // 4))
        positives = set(good + ok)
        luck = rng.random()  # from a random order to all positives first
        ranked = sorted(names, key=lambda name: rng.random() - luck * (name in positives))
        ranked += rng.choices(names, k=rng.choice([0, 0, 4]))
        exact, rounded = naive_average_precision(ranked, positives, set(junk))
        printed = run(ranked, good, ok, junk).stdout
        assert printed == f'{rounded:.6g}\n'
        assert float(printed) == pytest.approx(exact, abs=3e-6)


def failure(done):
    """The one line that a failed run tells."""
    assert done.returncode == 1 and done.stdout == ''
    assert done.stderr.endswith('\n') and done.stderr.count('\n') == 1
    return done.stderr


def test_no_positives(run):
    told = failure(run('a b', junk='a'))
    assert 'no positives' in told and 'q_1_good.txt' in told and 'q_1_ok.txt' in told


@pytest.mark.parametrize('missing', ['q_1_good.txt', 'q_1_ok.txt', 'q_1_junk.txt', 'list.rnk'])
def test_unreadable_files(run, binary, tmp_path, missing):
    run('a', good='a')
    command = [binary, tmp_path / 'q_1', tmp_path / 'list.rnk']
    (tmp_path / missing).unlink()
    told = failure(subprocess.run(command, capture_output=True, text=True))
    assert f'cannot read {tmp_path / missing}: No such file' in told
    (tmp_path / missing).mkdir()
    told = failure(subprocess.run(command, capture_output=True, text=True))
    assert f'cannot read {tmp_path / missing}: Is a directory' in told


@pytest.mark.parametrize('arguments', [[], ['q_1'], ['q_1', 'list.rnk', 'more']])
def test_usage(binary, arguments):
    told = failure(subprocess.run([binary, *arguments], capture_output=True, text=True))
    assert told == 'usage: compute_ap GROUNDTRUTH_QUERY RANKED_LIST\n'


@pytest.fixture
def dataset(tmp_path):
    """Two queries in a folder with a space in its name."""
    lab = tmp_path / 'my lab'
    lab.mkdir()
    truth = {'first_1': 'a b', 'second_1': 'c'}
    for name, good in truth.items():
        for end, names in (('good', good), ('ok', ''), ('junk', 'j')):
            (lab / f'{name}_{end}.txt').write_text(names)
    return SimpleNamespace(queries=[SimpleNamespace(name=name) for name in truth],
                           lab_prefix=lambda query: str(lab / query.name))


RANKINGS = [['a', 'j', 'b', 'c'], ['a', 'c']]


def script(path, text):
    """A scorer that is no compute_ap."""
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)
    return path


def test_score(dataset, binary, tmp_path):
    temp = tmp_path / 'made' / 'temp dir'
    assert compute_ap.score(dataset, RANKINGS, temp, binary) == {'first_1': 1.0, 'second_1': 0.25}
    assert sorted(path.name for path in temp.iterdir()) == ['first_1.rnk', 'second_1.rnk']
    assert (temp / 'first_1.rnk').read_text() == 'a\nj\nb\nc\n'


def test_score_with_a_scorer_in_this_folder(dataset, binary, tmp_path, monkeypatch):
    monkeypatch.chdir(binary.parent)
    assert compute_ap.score(dataset, RANKINGS, tmp_path, 'compute_ap')['second_1'] == 0.25


def test_no_scorer(dataset, tmp_path):
    with pytest.raises(compute_ap.ScoringError, match='no scorer at .*compute_ap.*`make install`'):
        compute_ap.score(dataset, RANKINGS, tmp_path, tmp_path / 'compute_ap')
    plain = tmp_path / 'compute_ap.cpp'
    plain.write_text('int main() {}')
    with pytest.raises(compute_ap.ScoringError, match='compute_ap.cpp is not executable'):
        compute_ap.score(dataset, RANKINGS, tmp_path, plain)
    plain.chmod(0o755)
    plain.write_bytes(b'\x7fELF no program')
    with pytest.raises(compute_ap.ScoringError, match='cannot run the scorer .*compute_ap.cpp'):
        compute_ap.score(dataset, RANKINGS, tmp_path, plain)


def test_failing_scorer(dataset, binary, tmp_path):
    (tmp_path / 'my lab' / 'second_1_ok.txt').unlink()
    with pytest.raises(compute_ap.ScoringError,
                       match='second_1 .*status 1.*second_1_ok.txt') as told:
        compute_ap.score(dataset, RANKINGS, tmp_path, binary)
    assert '\n' not in str(told.value)
    silent = script(tmp_path / 'silent', 'exit 3')
    with pytest.raises(compute_ap.ScoringError, match='status 3.*no reason'):
        compute_ap.score(dataset, RANKINGS, tmp_path, silent)


@pytest.mark.parametrize('printed', ['hello', '', 'nan', '0.5 0.6'])
def test_scorer_that_prints_no_number(dataset, tmp_path, printed):
    strange = script(tmp_path / 'strange', f"echo '{printed}'")
    with pytest.raises(compute_ap.ScoringError, match=f"printed '{printed}' .*not a number"):
        compute_ap.score(dataset, RANKINGS, tmp_path, strange)


def test_rankings_that_do_not_fit(dataset, binary, tmp_path):
    with pytest.raises(compute_ap.ScoringError, match='1 rankings .* 2 queries'):
        compute_ap.score(dataset, RANKINGS[:1], tmp_path, binary)


@pytest.mark.parametrize('name', ['two words', 'line\nbreak', '', ' a'])
def test_names_that_would_be_split_are_refused(tmp_path, name):
    with pytest.raises(compute_ap.ScoringError, match='q_1.rnk: the image name .*rename'):
        compute_ap.write_ranking(tmp_path / 'q_1.rnk', ['a', name])
    assert not list(tmp_path.iterdir())


def test_ranking_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(compute_ap.ScoringError, match='cannot write the ranking .*q_1.rnk'):
        compute_ap.write_ranking(tmp_path / 'file' / 'q_1.rnk', ['a'])
