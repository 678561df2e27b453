"""From features to the counts of a sweep, against brute force in whole numbers: exact."""

import csv
from itertools import combinations

import check_on_cover
import numpy as np
import pytest
from deep_retrieval import open_features, subcommands
from deep_retrieval.duplicates.similar_pairs import write_mapped

HUNDREDTHS = range(60, 81)      # 69 among them
SIDE = 100                      # length of the rows that lie on the thresholds


def four_squares(total):
    """Four whole numbers whose squares have this sum."""
    for a in range(int(total ** 0.5), -1, -1):
        for b in range(a + 1):
            for c in range(b + 1):
                d = round(max(total - a * a - b * b - c * c, 0) ** 0.5)
                if a * a + b * b + c * c + d * d == total:
                    return a, b, c, d
    raise AssertionError(total)


def on_the_thresholds():
    """A row, and one for each threshold whose cosine with it is that threshold: whole numbers."""
    rows = [(SIDE, 0, 0, 0, 0)]
    rows += [(t, *four_squares(SIDE * SIDE - t * t)) for t in HUNDREDTHS]
    return np.array(rows)


@pytest.fixture(scope='module')
def cover():
    """Rows N x 10 of whole numbers, and the number of each row's group, -1 for none.

    22 rows are of one origin and 22 of 22; to those come small groups, their rows at random.
    """
    random = np.random.default_rng(0)
    exact, none = on_the_thresholds(), np.zeros((len(HUNDREDTHS) + 1, 5), int)
    origins = np.repeat(np.arange(12), random.integers(1, 7, 12))
    rows = random.integers(-40, 41, (12, 10))[origins] + random.integers(-19, 20,
                                                                         (len(origins), 10))
    rows = np.vstack([np.hstack([exact, none]), np.hstack([none, exact]), rows])
    groups = np.concatenate([np.zeros(22, int), np.arange(1, 23), 23 + origins])
    groups[-3:] = -1
    return rows, groups


def brute(rows, groups, hundredths, same):
    """Pairs, images and groups whose cosine is at least so many hundredths."""
    products = rows @ rows.T
    squares = np.diag(products)
    pairs = [(i, j) for i, j in combinations(range(len(rows)), 2)
             if products[i, j] > 0
             and (100 * products[i, j]) ** 2 >= hundredths ** 2 * squares[i] * squares[j]
             and (groups[i] == groups[j] >= 0) == same]
    images = {image for pair in pairs for image in pair}
    return len(pairs), len(images), len({groups[image] for image in images} - {-1})


def test_counts_are_exact_at_every_threshold(cover, tmp_path):
    rows, groups = cover
    names = [f'clip {i % 3}/frame:{i}.jpg' for i in range(len(rows))]
    np.save(tmp_path / 'rows.npy', rows.astype(np.float32))
    (tmp_path / 'rows.txt').write_text(''.join(f'{i}\t{name}\n' for i, name in enumerate(names)))
    (tmp_path / 'groups.txt').write_text(''.join(
        f'{group}\t' + ' '.join(names[i].replace(' ', '%20') for i in np.flatnonzero(
            groups == group)) + '\n' for group in sorted(set(groups) - {-1})))
    write_mapped(tmp_path / 'mapped.txt', open_features(tmp_path / 'rows.npy', None), '0.6')
    subcommands.run(check_on_cover.__doc__, check_on_cover.MODES, check_on_cover.FLAGS, [
        'sweep', '--mapped', str(tmp_path / 'mapped.txt'), '--groups', str(tmp_path / 'groups.txt'),
        '--low', '0.60', '--high', '0.80', '--step', '0.01', '--csv', str(tmp_path / 'sweep.csv')])
    with open(tmp_path / 'sweep.csv', newline='') as file:
        table = list(csv.DictReader(file))
    assert [row['threshold'] for row in table] == [f'0.{t}' for t in HUNDREDTHS]
    relevant = sum((groups == group).sum() * ((groups == group).sum() - 1) // 2
                   for group in set(groups) - {-1})
    last = {}
    for t, row in zip(HUNDREDTHS, table, strict=True):
        for kind, same in (('same-origin', True), ('unrelated', False)):
            found = tuple(int(row[f'{kind} {what}']) for what in ('pairs', 'images', 'groups'))
            assert found == brute(rows, groups, t, same), t
            # at each threshold lies a pair, so that the next one has fewer
            assert found[0] < last.get(kind, found[0] + 1)
            last[kind] = found[0]
        both = int(row['same-origin pairs']) + int(row['unrelated pairs'])
        assert float(row['precision']) == int(row['same-origin pairs']) / both
        assert float(row['recall']) == int(row['same-origin pairs']) / relevant
