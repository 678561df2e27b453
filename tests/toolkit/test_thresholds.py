"""Sweeps of thresholds, against counts by brute force from the similarities themselves."""

from decimal import Decimal
from itertools import combinations

import numpy as np
import pytest
from deep_retrieval.duplicates import mapped_files, sweep_report, thresholds
from deep_retrieval.duplicates.decimals import steps
from deep_retrieval.duplicates.thresholds import count_anchors, count_groups


def test_both_ends_and_every_step_between_are_there():
    values = steps('0.65', '0.75', '0.01')
    assert [str(value) for value in values] == ['0.65', '0.66', '0.67', '0.68', '0.69', '0.70',
                                                '0.71', '0.72', '0.73', '0.74', '0.75']
    assert steps('0.7', '0.7', '0.1') == [Decimal('0.7')]
    assert len(steps('0', '1', '0.001')) == 1001


@pytest.mark.parametrize('given', [('0.6', '0.7', '0'), ('0.6', '0.7', '-0.01'),
                                   ('0.7', '0.6', '0.01'), ('0.6', '0.7', '0.03'),
                                   ('nan', '0.7', '0.01'), ('0.6', 'inf', '0.01'),
                                   ('0.6', 'x', '0.1')])
def test_steps_that_do_not_lead_there_are_refused(given):
    with pytest.raises(ValueError):
        steps(*given)


@pytest.fixture(scope='module')
def cover():
    """A cover set: names, similarities N x N, and its ground truth, some images in no group."""
    random = np.random.default_rng(0)
    origins = np.repeat(np.arange(18), random.integers(1, 9, 18))
    centres = random.standard_normal((18, 12)) + random.standard_normal(12)
    rows = centres[origins] + 0.55 * random.standard_normal((len(origins), 12))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names = [f'set {i % 3}/im_{i}:{i}%.jpg' for i in range(len(rows))]
    groups = {str(group): [names[i] for i in np.flatnonzero(origins == group)]
              for group in range(15)}
    similarities = rows @ rows.T
    # some that lie on a threshold as it is written, and next to it
    for (i, j), value in zip([(0, 1), (2, 9), (4, 5), (3, 20), (8, 11)],
                             [0.69, 0.69, np.nextafter(0.69, 0), 0.57, 0.7], strict=True):
        similarities[i, j] = similarities[j, i] = value
    return names, similarities, groups


def mapped(path, names, similarities, low, one_way=False):
    lines = []
    for i, name in enumerate(names):
        items = [(names[j], similarities[i, j]) for j in range(len(names))
                 if (i < j if one_way else i != j) and similarities[i, j] >= low]
        if items:
            lines.append((name, sorted(items, key=lambda item: (-item[1], item[0]))))
    mapped_files.write(path, lines)
    return str(path)


def brute(names, similarities, groups, limit, same):
    """Pairs, images and groups by brute force."""
    group_of = {name: key for key, members in groups.items() for name in members}
    pairs = [(a, b) for i, a in enumerate(names) for j, b in enumerate(names)
             if i < j and similarities[i, j] >= limit
             and (a in group_of and group_of.get(a) == group_of.get(b)) == same]
    images = {name for pair in pairs for name in pair}
    return len(pairs), len(images), len({group_of[name] for name in images if name in group_of})


@pytest.mark.parametrize('one_way', [False, True])
@pytest.mark.parametrize('low, high, step', [('0.55', '0.75', '0.01'), ('0.69', '0.69', '0.01'),
                                             ('0.5', '1', '0.125')])
def test_a_sweep_equals_brute_force_at_every_threshold(cover, tmp_path, low, high, step, one_way):
    names, similarities, groups = cover
    path = mapped(tmp_path / 'm.txt', names, similarities, 0.5, one_way)
    values = steps(low, high, step)
    table = count_groups(mapped_files.read(path), groups, values)
    relevant = sum(len(members) * (len(members) - 1) // 2 for members in groups.values())
    for k, value in enumerate(values):
        same = brute(names, similarities, groups, float(value), True)
        other = brute(names, similarities, groups, float(value), False)
        assert tuple(row[k] for row in table.same_origin) == same
        assert tuple(row[k] for row in table.unrelated) == other
        found = same[0] + other[0]
        precision, recall = (same[0] / found if found else None), same[0] / relevant
        assert table.precision()[k] == precision
        assert table.recall()[k] == recall
        assert table.f1()[k] == pytest.approx(
            2 * precision * recall / (precision + recall) if same[0] else 0)
    assert table.relevant == relevant
    if low == '0.69':
        assert table.same_origin.pairs[0] + table.unrelated.pairs[0] == sum(
            similarities[i, j] >= 0.69 for i, j in combinations(range(len(names)), 2))


def test_a_sweep_by_anchors_counts_as_the_original(cover, tmp_path):
    names, similarities, _ = cover
    path, values = mapped(tmp_path / 'm.txt', names, similarities, 0.5), steps('0.5', '0.9', '0.1')
    good = names[:7]
    table = count_anchors(mapped_files.read(path), good, values)
    for k, value in enumerate(values):
        for counts, anchors in ((table.same_origin, range(7)),
                                (table.unrelated, range(7, len(names)))):
            pairs = [(i, j) for i in anchors for j in range(len(names))
                     if i != j and similarities[i, j] >= float(value)]
            assert counts.pairs[k] == len(pairs)
            assert counts.images[k] == len({i for pair in pairs for i in pair})
            assert counts.groups[k] == len({i for i, _ in pairs})
    assert table.recall()[0] == 1
    every = count_anchors(mapped_files.read(path), None, values)
    assert every.same_origin.pairs == [a + b for a, b in zip(table.same_origin.pairs,
                                                            table.unrelated.pairs, strict=True)]
    assert every.unrelated.pairs == [0] * len(values) and every.asked == 0


def test_what_is_missing_is_listed():
    lines = [('a', [('b', 0.9)]), ('b', [('a', 0.9)])]
    groups = {'1': ['a', 'b', 'gone'], '2': ['alone'], '3': ['x', 'y']}
    table = count_groups(lines, groups, steps('0.5', '0.9', '0.4'))
    assert table.missing == ['gone', 'x', 'y'] and table.asked == 5 and table.lowest == 0.9
    assert table.relevant == 4 and table.recall() == [0.25, 0.25]
    assert count_anchors(lines, ['q', 'a'], steps('0.5', '0.5', '1')).missing == ['q']


def test_nothing_to_count():
    values = steps('0.5', '0.6', '0.1')
    for table in (count_groups([], {'1': ['a']}, values), count_groups([('a', [])], {}, values),
                  count_anchors([], None, values)):
        assert table.same_origin == table.unrelated == ([0, 0],) * 3
        assert table.precision() == table.recall() == table.f1() == [None, None]
        assert table.best_f1() is None and table.reaching(Decimal('0.5')) is None
        assert table.lowest is None
        assert 'at no threshold' in sweep_report.verdict(table, Decimal('0.5'))[0]


def test_an_image_is_no_pair_with_itself():
    lines = [('a', [('a', 1.0), ('b', 0.8)]), ('b', [('b', 1.0), ('a', 0.7)])]
    table = count_groups(lines, {'1': ['a', 'b']}, steps('0.75', '0.85', '0.05'))
    # of the two scores of a pair the higher one counts
    assert table.same_origin.pairs == [1, 1, 0] and table.unrelated.pairs == [0, 0, 0]


def test_many_pieces_are_one(cover, tmp_path, monkeypatch):
    names, similarities, groups = cover
    path, values = mapped(tmp_path / 'm.txt', names, similarities, 0.4), steps('0.4', '0.8', '0.1')
    whole = count_groups(mapped_files.read(path), groups, values)
    monkeypatch.setattr(thresholds, 'HELD', 7)
    assert count_groups(mapped_files.read(path), groups, values) == whole


@pytest.fixture
def table():
    """Precision 1/2, 2/3, 1, 1 and recall 3/4, 2/4, 2/4, 1/4 of 4 pairs, worked by hand."""
    groups = {'1': ['a', 'b', 'c'], '2': ['d', 'e']}
    lines = [('a', [('b', 0.95), ('c', 0.85), ('x', 0.7)]), ('d', [('e', 0.65), ('x', 0.62)]),
             ('x', [('e', 0.61)])]
    return count_groups(lines, groups, steps('0.6', '0.9', '0.1'))


def test_the_best_threshold_and_the_wanted_one(table):
    assert table.precision() == [0.5, 2 / 3, 1, 1] and table.recall() == [0.75, 0.5, 0.5, 0.25]
    np.testing.assert_allclose(table.f1(), [0.6, 4 / 7, 2 / 3, 0.4])
    assert table.best_f1() == 2
    assert [table.reaching(Decimal(value)) for value in ('0.5', '0.6', '0.95', '1')] == [0, 1, 2, 2]
    assert sweep_report.verdict(table, Decimal('0.6')) == [
        'best F1: threshold 0.8 (precision 1.000, recall 0.500, F1 0.667)',
        'precision of 0.6: from threshold 0.7 (precision 0.667, recall 0.500, F1 0.571)']


def test_the_table_is_the_originals(table):
    rows = sweep_report.rows(table)
    assert rows[0] == '| threshold          |   0.6 |   0.7 |   0.8 |   0.9 |'
    assert rows[1] == '|--------------------|------:|------:|------:|------:|'
    assert rows[2] == '| same-origin pairs  |     3 |     2 |     2 |     1 |'
    assert rows[3] == '| unrelated pairs    |     3 |     1 |     0 |     0 |'
    assert len({len(row) for row in rows}) == 1 and len(rows) == 11


def test_csv_and_plot(table, tmp_path):
    sweep_report.save_csv(tmp_path / 's.csv', table)
    lines = (tmp_path / 's.csv').read_text().splitlines()
    assert lines[0] == ('threshold,same-origin pairs,unrelated pairs,same-origin images,'
                        'unrelated images,same-origin groups,unrelated groups,'
                        'precision,recall,F1')
    assert lines[1].startswith('0.6,3,3,5,4,2,2,0.5,0.75,0.6') and len(lines) == 5
    for name in ('s.png', 's.svg'):
        sweep_report.save_plot(tmp_path / name, table)
        first = (tmp_path / name).read_bytes()
        sweep_report.save_plot(tmp_path / name, table)
        assert len(first) > 5000 and (tmp_path / name).read_bytes() == first
    with pytest.raises(ValueError, match='png'):
        sweep_report.save_plot(tmp_path / 's.what', table)
