"""rerank.py as a user runs it, on features that were saved as test.py saves them."""

import json
import shutil

import numpy as np
import pytest
import saved_set
from conftest import assert_one_line
from deep_retrieval import metrics, ranking, store
from deep_retrieval.datasets import revisited as gnd_files
from deep_retrieval.ranking import diffusion
from deep_retrieval.whitening import Whitening

SCRIPT = 'myPython/rerank.py'


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """(folder, stem) of a dataset with its features."""
    folder = saved_set.make(tmp_path_factory.mktemp('rerank') / 'data')
    stem = saved_set.save_features(folder.parent / 'f/Oxford_S48_L2', saved_set.opened(folder))
    return folder, stem


@pytest.fixture
def run(made, scorer, tmp_path, capsys, monkeypatch):
    def run(mode, *flags):
        folder, stem = made
        given = [] if '--features' in flags else ['--features', stem]
        return saved_set.run(capsys, monkeypatch, SCRIPT, mode, '--dataset', folder, *given,
                             '--eval_binary', scorer, '--temp_dir', tmp_path / 'rnk', *flags)
    return run


def expected(folder, queries, database):
    """AP of each query of a ranking by similarity, in %."""
    dataset, result = saved_set.opened(folder), {}
    for query, row in zip(dataset.queries, np.argsort(-(queries @ database.T), axis=1)):
        good, ok, junk = dataset.ground_truth(query)
        result[query.name] = 100 * metrics.average_precision_oxford(
            [dataset.images[i] for i in row], good + ok, junk)
    return result


def loaded(stem):
    return np.load(f'{stem}_queries.npy'), np.load(f'{stem}_dataset.npy')


def compare(done, precisions):
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    shown = dict(line.split(': ') for line in lines[:3])
    assert shown == {name: f'{value:.2f}' for name, value in precisions.items()}
    mean = np.mean(list(precisions.values()))
    assert lines[4] == f"Mean: {mean:.2f} (Oxford's published protocol, query_crop roi)"


def test_plain(run, made):
    compare(run('plain'), expected(made[0], *loaded(made[1])))


def test_expansions(run, made):
    folder, stem = made
    q, d = loaded(stem)
    compare(run('aqe', '--k', 2), expected(folder, ranking.expand_queries(q, d, 2), d))
    compare(run('dbe', '--k', 4), expected(folder, q, ranking.expand_database(d, 4)))
    done = run('alpha_qe', '--n', 3, '--alpha', 2)
    after = expected(folder, ranking.alpha_expand_queries(q, d, 3, 2), d)
    compare(done, after)
    before = np.mean(list(expected(folder, q, d).values()))
    gain = np.mean(list(after.values())) - before
    assert gain > 0
    assert done.stdout.splitlines()[5] == (
        f"Plain: {before:.2f} (Oxford's published protocol, query_crop roi); "
        f'alpha_qe gives {gain:+.2f}')


def test_diffusion(run, made):
    folder, stem = made
    q, d = loaded(stem)
    graph = diffusion.make_graph(d, 5, 1)
    indices, _ = diffusion.rank_by_diffusion(q, d, graph, query_k=2, alpha=0.5, gamma=1)
    places = np.argsort(indices, axis=1)    # a ranking of rows by place is one by similarity
    compare(run('diffusion', '--k', 5, '--query_k', 2, '--alpha', 0.5, '--gamma', 1),
            expected(folder, -places, np.eye(len(d))))


def test_several_scales(run, made):
    folder, stem = made
    other = saved_set.save_features(f'{stem}_32', saved_set.opened(folder), S=32)
    (q, d), (r, e) = loaded(stem), loaded(other)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (q + r, d + e)]
    compare(run('plain', '--features', stem, other), expected(folder, *unit))


def test_whitening_learned_elsewhere(run, made, tmp_path):
    other = saved_set.make(tmp_path / 'other', seed=1, views=12)
    learn = saved_set.save_features(tmp_path / 'learn', saved_set.opened(other))
    flags = ['--learn_features', learn, '--learn_dataset', other, '--learn_name', 'Oxford',
             '--output', tmp_path / 'w.npz']
    q, d = loaded(made[1])
    rows = loaded(learn)[1]
    whitening = Whitening.fit_pca(rows, 10)
    white = [whitening.apply(some) for some in (q, d)]
    compare(run('whiten', '--dims', 10, *flags), expected(made[0], *white))
    done = run('plain', '--whitening', tmp_path / 'w.npz')
    compare(done, expected(made[0], *white))
    # pairs: all of a query's good and ok images
    pairs = [(12 * thing + i, 12 * thing + j) for thing in (0, 1, 3) for i in range(1, 11)
             for j in range(i + 1, 11)]
    names = saved_set.opened(other).images
    assert names[1] == 'bridge_000001' and names[37] == 'tower_000001'
    whitening = Whitening.fit_pairs(rows, pairs, 10)
    white = [whitening.apply(some) for some in (q, d)]
    compare(run('whiten', '--kind', 'pairs', '--dims', 10, *flags), expected(made[0], *white))
    assert_one_line(run('whiten', '--dims', 30, *flags), '30 dimensions', '48 rows of 24',
                    'rank 24')


def test_whitening_learned_on_the_test_set_says_so(run, tmp_path):
    done = run('whiten', '--dims', 10, '--output', tmp_path / 'w.npz')
    assert done.returncode == 0 and 'inflates' in done.stderr


@pytest.fixture
def revisited(made, tmp_path):
    """A ground truth with queries outside the database, and its features."""
    folder, _ = made
    images = saved_set.opened(folder).images
    queries = [f'{thing}_000000' for thing in saved_set.THINGS]
    kept = [name for name in images if name not in queries]
    gnd = [{'bbx': [4, 2, 40, 30], 'easy': [kept.index(f'{thing}_{i:06d}') for i in easy],
            'hard': [kept.index(f'{thing}_000003')], 'junk': [kept.index(f'{thing}_000004')]}
           for thing, easy in zip(saved_set.THINGS, ((1, 2), (1,), ()))]
    path = tmp_path / 'gnd_rtiny.json'
    path.write_text(json.dumps({'imlist': kept, 'qimlist': queries, 'gnd': gnd}))
    dataset = gnd_files.Revisited(folder, gnd_files.read(path))
    return path, saved_set.save_features(tmp_path / 'rtiny', dataset), dataset


def test_revisited(run, revisited):
    path, stem, dataset = revisited
    done = run('plain', '--gnd', path, '--features', stem)
    assert done.returncode == 0, done.stderr
    q, d = loaded(stem)
    positive = {'Easy': ('easy',), 'Medium': ('easy', 'hard'), 'Hard': ('hard',)}
    for line, (name, wanted) in zip(done.stdout.splitlines(), positive.items(), strict=True):
        precisions = []
        for query, row in zip(dataset.queries, np.argsort(-(q @ d.T), axis=1)):
            grades = dataset.gnd.grades[query.name]
            good = sum((grades[grade] for grade in wanted), [])
            skipped = sum(grades.values(), [])
            if good:
                precisions.append(metrics.average_precision_oxford(
                    [dataset.images[i] for i in row], good, set(skipped) - set(good)))
        assert line.startswith(f'rtiny {name}: mAP {100 * np.mean(precisions):.2f}, mP@1 ')
        assert line.endswith(f'({len(precisions)} queries, query_crop roi)')
    assert [line.split('(')[1][0] for line in done.stdout.splitlines()] == ['2', '3', '3']
    done = run('alpha_qe', '--gnd', path, '--features', stem)
    assert done.stdout.count('alpha_qe gives') == done.stdout.count('plain mAP') == 3


def test_a_ground_truth_of_other_images(run, revisited, tmp_path):
    path, stem, _ = revisited
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, 'imlist': [f'x{name}' for name in data['imlist']]}))
    assert_one_line(run('plain', '--gnd', path, '--features', stem), 'gnd_rtiny.json',
                    'another dataset')
    path.write_text(json.dumps({**data, 'imlist': data['imlist'][::-1]}))
    assert_one_line(run('plain', '--gnd', path, '--features', stem), 'rtiny_dataset.npy',
                    'made from other images')


def test_the_protocol_is_that_of_the_features(run, made, tmp_path):
    folder, stem = made
    full = saved_set.save_features(tmp_path / 'full', saved_set.opened(folder), crop=False)
    done = run('plain', '--features', full, '--uni')
    assert "(Oxford's protocol, uni-sizes 32 x 48, query_crop full)" in done.stdout
    assert_one_line(run('plain', '--features', stem, full), 'another crop')


def change_note(path, skipped=(), **change):
    """Change what a manifest says its features were made from."""
    note = json.loads(path.read_text())
    note['made_from'].update(change)
    path.write_text(json.dumps({**note, 'skipped': list(skipped)}))


@pytest.fixture
def copy(made, tmp_path):
    """Function: copies the features, and changes the manifest of a part; gives the stem."""
    def copy(part='dataset', **change):
        for name in ('queries', 'dataset'):
            for end in ('npy', 'json'):
                shutil.copy(f'{made[1]}_{name}.{end}', tmp_path / f'copy_{name}.{end}')
        change_note(tmp_path / f'copy_{part}.json', **change)
        return tmp_path / 'copy'
    return copy


def test_descriptors_of_another_model(run, copy, made, tmp_path):
    assert_one_line(run('plain', '--features', copy(weights='zzz')), 'copy_queries.npy',
                    'another weights')
    assert_one_line(run('plain', '--features', copy(S=99)), 'another S')
    stem = copy(weights='zzz')
    change_note(tmp_path / 'copy_queries.json', weights='zzz')
    assert run('plain', '--features', stem).returncode == 0
    assert_one_line(run('plain', '--features', made[1], stem), 'copy', 'another weights')
    assert run('whiten', '--dims', 9, '--output', tmp_path / 'w.npz').returncode == 0
    assert_one_line(run('plain', '--features', stem, '--whitening', tmp_path / 'w.npz'), 'w.npz',
                    'another weights')


def test_rows_that_are_not_finite(run, copy, tmp_path):
    stem = copy()
    path = tmp_path / 'copy_dataset.npy'
    rows = np.load(path)
    rows[4] = np.nan
    note = json.loads(path.with_suffix('.json').read_text())
    store.save_array(path, rows, note['made_from'], skipped=[])
    assert_one_line(run('plain', '--features', stem), 'copy_dataset.npy: row 4 (bridge_000004)',
                    'not finite')
    store.save_array(path, rows, note['made_from'], skipped=['bridge_000004'])
    done = run('plain', '--features', stem)
    assert done.returncode == 0 and '1 of 24 images were skipped' in done.stderr


@pytest.mark.parametrize('damage, words', [
    (lambda f: f('npy').unlink(), ['copy_dataset.npy', 'test.py makes it']),
    (lambda f: f('json').unlink(), ['copy_dataset.npy', 'nothing says']),
    (lambda f: f('npy').write_bytes(b'no'), ['copy_dataset.npy', 'is not the file that']),
    (lambda f: np.save(f('npy'), np.array([{}], object)), ['copy_dataset.npy', 'is not the file']),
    (lambda f: store.save_array(f('npy'), np.zeros(4), {}), ['copy_dataset.npy', 'not a matrix']),
    (lambda f: np.save(f('npy'), np.ones((3, 24))), ['copy_dataset.npy', 'shape is [3, 24]']),
    (lambda f: f('json').write_text('[]'), ['copy_dataset.json', 'damaged']),
    (lambda f: f('json').write_text('{'), ['copy_dataset.json', 'damaged'])])
def test_damaged_features(damage, words, run, copy, tmp_path):
    stem = copy()
    damage(lambda end: tmp_path / f'copy_dataset.{end}')
    assert_one_line(run('plain', '--features', stem), *words)


@pytest.mark.parametrize('mode, flags, words', [
    ('alpha_qe', ['--n', 99], ['99', '24']), ('diffusion', ['--k', 24], ['k is 24', '23']),
    ('diffusion', ['--k', 5, '--alpha', 1], ['alpha is 1']), ('aqe', ['--k', 99], ['99', '24']),
    ('plain', ['--dataset', 'nowhere'], ['nowhere']), ('plain', ['--gnd', 'no.json'], ['no.json']),
    ('plain', ['--whitening', 'no.npz'], ['no.npz']),
    ('whiten', ['--kind', 'pairs'], ['shrinkage'])])
def test_mistakes(mode, flags, words, run, tmp_path):
    assert_one_line(run(mode, *flags), *words)


def test_help(capsys, monkeypatch):
    text = saved_set.run(capsys, monkeypatch, SCRIPT, '-h').stdout
    for mode in ('plain', 'aqe', 'dbe', 'alpha_qe', 'diffusion', 'whiten'):
        assert mode in text
