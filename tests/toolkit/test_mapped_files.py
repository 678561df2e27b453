"""Mapped files: written, read back, and their faults reported in one line."""

from decimal import Decimal

import numpy as np
import pytest
from deep_retrieval.duplicates import mapped_files
from deep_retrieval.duplicates.mapped_files import (
    decode,
    encode,
    read,
    read_groups,
    read_names,
    score_text,
    write,
)

ODD = ['a b.jpg', 'x:y_z.jpg', 'tab\there', 'line\nbreak', 'back\rfeed', '100%.jpg', '%20',
       'ü/é.jpg', 'one/a.jpg', 'two/a.jpg', '\x85\x0b\u2028.jpg', 'bytes\udcff.jpg']


def write_text(path, text):
    path.write_bytes(text.encode())
    return str(path)


@pytest.mark.parametrize('name', ODD)
def test_a_name_comes_back(name):
    assert decode(encode(name)) == name
    assert not set(encode(name)) & set(' \t\n\r')


def test_only_what_separates_fields_is_encoded():
    assert encode('ü a:b%c') == 'ü%20a:b%25c'
    # any other % stays as it is
    assert decode('100%_sale%2F') == '100%_sale%2F'
    with pytest.raises(ValueError, match='empty'):
        encode('')


def test_a_file_comes_back(tmp_path):
    lines = [(anchor, [(item, round(0.9 - k / 50, 2)) for k, item in enumerate(ODD)
                       if item != anchor]) for anchor in ODD] + [('alone', [])]
    path = tmp_path / 'new' / 'mapped.txt'
    assert write(path, lines) == len(ODD) + 1
    assert list(read(path)) == lines
    assert path.read_bytes().split(b'\n')[0].startswith(b'a%20b.jpg\tx:y_z.jpg:0.880000 ')


@pytest.mark.parametrize('score, decimals, text', [
    (0.69, 2, '0.69'), (0.7, 3, '0.700'), (0.6999999, 2, '0.69'), (0.29, 2, '0.29'),
    (1.0, 6, '1.000000'), (1 - 1e-16, 3, '0.999'), (0.57, 3, '0.570'), (-0.001, 2, '-0.01'),
    (0.0, 1, '0.0'), (-0.0, 1, '0.0'), (0.9999999, 0, '0')])
def test_scores_are_rounded_down(score, decimals, text):
    assert score_text(score, decimals) == text


def test_a_written_score_reaches_the_thresholds_that_the_similarity_reaches():
    random = np.random.default_rng(0)
    limits = [Decimal(k).scaleb(-2) for k in range(101)]
    near = [float(limit) + change for limit in limits for change in (-1e-16, 0, 1e-16)]
    for score in [*random.uniform(0, 1, 300), *near]:
        written = Decimal(score_text(score, 2))
        assert [written >= limit for limit in limits] == [score >= float(limit)
                                                          for limit in limits]


def test_a_line_without_items_is_an_anchor(tmp_path):
    path = write_text(tmp_path / 'm.txt', 'a\nb\t\nc\tx:0.5\r\n\n\nd\t x:0.5  y:0.4 \n')
    assert list(read(path)) == [('a', []), ('b', []), ('c', [('x', 0.5)]),
                                ('d', [('x', 0.5), ('y', 0.4)])]


def test_the_last_colon_separates_item_and_score(tmp_path):
    path = write_text(tmp_path / 'm.txt', 'a:b\tc:d:0.50 :e:-0.1\n')
    assert list(read(path)) == [('a:b', [('c:d', 0.5), (':e', -0.1)])]


@pytest.mark.parametrize('entry', ['x:nan', 'x:inf', 'x', 'x:', ':0.5', 'x:high', '0.5'])
def test_an_item_without_a_score_is_refused(tmp_path, entry):
    path = write_text(tmp_path / 'm.txt', f'a\ty:0.5\nb\ty:0.5 {entry}\n')
    with pytest.raises(ValueError, match='m.txt:2: ') as error:
        list(read(path))
    assert entry in str(error.value) and '\n' not in str(error.value)


def test_a_line_without_an_anchor_is_refused(tmp_path):
    path = write_text(tmp_path / 'm.txt', 'a\n\tx:0.5\n')
    with pytest.raises(ValueError, match='m.txt:2: .*anchor'):
        list(read(path))


def test_what_stands_twice_counts_once(tmp_path, caplog):
    path = write_text(tmp_path / 'm.txt', 'a\tx:0.9 y:0.8 x:0.7\nb\tx:0.5\na\tz:1\n')
    assert list(read(path)) == [('a', [('x', 0.9), ('y', 0.8)]), ('b', [('x', 0.5)])]
    said = caplog.messages
    assert len(said) == 2 and 'm.txt:1: ' in said[0] and "'x'" in said[0]
    assert 'm.txt:3: ' in said[1]
    caplog.clear()
    path = write_text(tmp_path / 'm.txt', 'a\tx:0.9\n' * 100)
    assert len(list(read(path))) == 1
    assert len(caplog.messages) == 11
    assert caplog.messages[-1] == f'{path}: 89 more names are repeated'


def test_a_score_that_is_not_finite_is_not_written(tmp_path):
    (tmp_path / 'm.txt').write_text('old')
    with pytest.raises(ValueError, match='nan'):
        write(tmp_path / 'm.txt', [('a', [('b', float('nan'))])])
    assert [path.name for path in tmp_path.iterdir()] == ['m.txt']
    assert (tmp_path / 'm.txt').read_text() == 'old'


def test_reading_is_lazy(tmp_path):
    path = write_text(tmp_path / 'm.txt', 'a\tx:0.9\nb\tx\n')
    assert next(read(path)) == ('a', [('x', 0.9)])


def test_names_are_the_first_fields(tmp_path):
    path = write_text(tmp_path / 'q.txt', 'a%20b.jpg\na c.jpg\nd.jpg\tx:0.5\nd.jpg\n')
    assert read_names(path) == ['a b.jpg', 'a c.jpg', 'd.jpg']
    with pytest.raises(ValueError, match='names no image'):
        read_names(write_text(tmp_path / 'empty.txt', '\n'))


def test_groups_are_read(tmp_path, caplog):
    path = write_text(tmp_path / 'g.txt', '7\ta%20b c\n3\td\n9\te e\n')
    assert read_groups(path) == {'7': ['a b', 'c'], '3': ['d'], '9': ['e']}
    assert len(caplog.messages) == 1 and 'g.txt:3: ' in caplog.messages[0]


@pytest.mark.parametrize('text, place, word', [
    ('1\ta b\n2\n', 'g.txt:2', 'NAME'), ('1\ta b\n1\tc d\n', 'g.txt:2', "'1'"),
    ('1\ta b\n2\tc a\n', 'g.txt:2', 'g.txt:1'), ('', 'g.txt', 'no group')])
def test_bad_groups_are_refused(tmp_path, text, place, word):
    with pytest.raises(ValueError) as error:
        read_groups(write_text(tmp_path / 'g.txt', text))
    assert place in str(error.value) and word in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.txt'):
        list(mapped_files.read(tmp_path / 'none.txt'))
