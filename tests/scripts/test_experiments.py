"""The original's tables, run again on a small dataset with the tiny nets."""

import csv
import inspect
import json
import os
import re
import runpy
import shlex
import shutil
import sys

import pytest
from conftest import ROOT, run_script
from deep_retrieval import paths
from offline_case import TINY, folder, run_here, scorer  # noqa: F401 (fixtures)

sys.path.insert(0, str(ROOT / 'experiments'))
import measuring  # noqa: E402
import recipes  # noqa: E402
import reporting  # noqa: E402
import steps  # noqa: E402

RUN = ROOT / 'experiments/run.py'
# the README of the original has these, row by row
PUBLISHED = {
    'offline': [[81.11], [82.88], [68.33], [76.75], [76.48], [76.61], [81.62], [81.78]],
    'offline_dim': [[81.11], [81.62], [80.33], [81.78], [80.99]],
    'multires': [[84.09, 93.57], [86.07, 94.53], [94.68, 96.58]],
    'distilling': [[80.45, 98.87, '187MB'], [82.90, 98.97, '187MB'], [80.52, 99.03, '187MB'],
                   [79.45, 98.82, '217MB'], [78.75, 98.80, '196MB'], [74.18, '/', '196MB']]}


@pytest.fixture
def run(monkeypatch, capsys, folder, scorer, tmp_path):       # noqa: F811
    """Function: flags of run.py -> its status, stdout, stderr."""
    def run(*flags):
        return run_here(monkeypatch, capsys, [
            RUN, '--tiny', '--gpu', -1, '--weights', TINY, '--dataset', folder, '--eval_binary',
            scorer, '--temp_dir', tmp_path / 'tmp', '--output', tmp_path / 'out', *flags])
    return run


def table_of(text):
    """The header and the rows of a Markdown table."""
    lines = [[cell.strip() for cell in line.strip('|').split('|')]
             for line in text.splitlines() if line.startswith('|')]
    assert {len(line) for line in lines} == {len(lines[0])}
    assert set(''.join(lines[1])) == {'-'}
    return lines[0], lines[2:]


def test_the_published_numbers_are_the_originals():
    tables = reporting.load_tables()
    assert {name: [row['published'] for row in table['rows']]
            for name, table in tables.items()} == PUBLISHED
    for table in tables.values():
        assert 'README' in table['source'] and 'L = 2' in table['setting']


@pytest.mark.parametrize('name, S', [('offline', 64), ('offline_dim', 64), ('multires', 300),
                                     ('distilling', 64)])
def test_a_table_runs_end_to_end(name, S, run, tmp_path):
    status, out, err = run(name, '--S', S)
    assert status == 0, err
    header, rows = table_of(out)
    published = [column for column, title in enumerate(header) if title.endswith(', published')]
    ours = header.index('mAP, ours')
    expected = [[f'{cell:.2f}' if isinstance(cell, float) else cell for cell in row]
                for row in PUBLISHED[name]]
    assert [[row[column] for column in published] for row in rows] == expected
    trained = [row for row in rows if 'no student' not in row[-1]]
    assert len(trained) == (2 if name == 'distilling' else len(rows))
    assert ('--student NAME PROTO WEIGHTS' in out) == (len(trained) < len(rows))
    for row in trained:
        assert re.fullmatch(r'\d+\.\d\d', row[ours]) and 'query_crop' in row[-1]
    assert 'ours: ' in out and '(34 images, 2 queries)' in out and f'S = {S}' in out
    assert (tmp_path / f'out/{name}.md').read_text() == out
    with open(tmp_path / f'out/{name}.csv', newline='') as file:
        assert list(csv.reader(file)) == [header, *rows]
    again = run(name, '--S', S)
    assert again[1] == out and 'recomputing' not in err + again[2]


@pytest.fixture
def mean_of(folder, scorer, tmp_path):      # noqa: F811
    """Function: a script and its flags -> the mean that it prints, run as a user runs it."""
    def mean_of(name, proto, *flags):
        done = run_script(name, '--gpu', -1, '--S', 64, '--weights', TINY, '--proto', ROOT / proto,
                          '--dataset', folder, '--eval_binary', scorer, '--temp_dir',
                          tmp_path / 'script', *flags)
        return re.search(r'^Mean: (\d+\.\d\d) \((.*)\)$', done.stdout, re.M).groups()
    return mean_of


def test_rows_are_what_their_scripts_print(run, mean_of, tmp_path):
    _, out, _ = run('offline_dim', '--S', 64)
    header, rows = table_of(out)
    ours = header.index('mAP, ours')
    script = 'myPython/offline/pca_concat/pca_concat_retrieval.py'
    flags = ['--fewer', '--features_dir', tmp_path / 'features']
    assert tuple(rows[1][ours::len(header) - ours - 1]) == mean_of(
        script, measuring.BRANCHES[True], '--maps', 2, *flags)
    assert tuple(rows[4][ours::len(header) - ours - 1]) == mean_of(
        script, measuring.BRANCHES[True], '--maps', 4, '--dim', 2048, *flags)
    # of 36 images no more than 18 components
    assert '4 maps, 18-d' in rows[-1][-1] and '1 map, ' in rows[0][-1]


def test_the_nets_own_descriptor_scores_as_test_on_oxford_says(run, mean_of):
    """It comes out of the forward pass that gives the maps, for one resolution and for three."""
    _, out, _ = run('offline', '--S', 64)
    header, rows = table_of(out)
    for row, flags in ((rows[0], []), (rows[1], ['--multires'])):
        mean, _ = mean_of('myPython/test/test_on_oxford.py', measuring.WHOLE[True], *flags)
        assert row[header.index('mAP, ours')] == mean


def test_covers_are_scored_as_test_on_cover_says(tmp_path, monkeypatch, folder):    # noqa: F811
    for part in ('queries', 'dataset'):
        (tmp_path / part).mkdir()
    for i in range(12):
        shutil.copy(folder / f'jpg/i{i:02d}.jpg', tmp_path / ('queries' if i < 3 else 'dataset'))
    (tmp_path / 'query.txt').write_text('i00.jpg\ni01.jpg\ni02.jpg\n')
    (tmp_path / 'answer.txt').write_text('i03.jpg\ti04.jpg\ni05.jpg\ni09.jpg\ti11.jpg\n')
    for flags in ([], ['--multires']):
        done = run_script('myPython/test/test_on_cover.py', '--gpu', -1, '--dataset', tmp_path,
                          '--weights', TINY, '--proto', ROOT / measuring.WHOLE[True],
                          '--temp_dir', tmp_path / 'script', *flags)
        mean = steps.score_covers(str(tmp_path), str(ROOT / measuring.WHOLE[True]), str(TINY),
                                  'rmac/normalized', str(tmp_path / 'here'), bool(flags))
        assert done.stdout.splitlines()[-1] == f'mAP: {100 * mean:.2f} (VOC 2010)', done.stderr


def test_students_are_found_and_scored(run, tmp_path):
    students = tmp_path / 'students'
    for name in ('concat-pca-relu', 'mine', 'empty'):
        (students / name).mkdir(parents=True)
    for name in ('concat-pca-relu', 'mine'):
        shutil.copy(ROOT / 'proto/deploy_resnet_tiny.prototxt', students / name)
        shutil.copy(TINY, students / name / 'a_iter_10.caffemodel')
        (students / name / 'a_iter_9.caffemodel').write_bytes(b'older')
    status, out, err = run('distilling', '--S', 64, '--students', students, '--student', 'given',
                           ROOT / 'proto/deploy_resnet_tiny.prototxt', TINY)
    assert status == 0, err
    assert 'empty: is not a student' in err
    header, rows = table_of(out)
    ours = {row[0]: row[header.index('mAP, ours')] for row in rows}
    wanted = ours['original']
    assert ours['single-resolution: concat-pca-relu'] == ours['mine'] == ours['given'] == wanted
    assert ours['original fine-tuned'] == '-'
    assert {row[0]: row[-1] for row in rows}['original fine-tuned'] == (
        f'no student in {students}/fine-tuned')
    assert rows[-1][-1] == 'compute_ap, query_crop full, deploy_resnet_tiny.prototxt'
    assert {row[0]: row[header.index('weights, ours')] for row in rows}['mine'] == (
        f'{TINY.stat().st_size / 1e6:.3g}MB')


@pytest.mark.parametrize('flags, words', [
    (['nothing'], ['nothing', 'offline_dim']),
    (['offline', '--dataset', 'nowhere'], ['nowhere']),
    (['offline', '--eval_binary', 'nowhere'], ['nowhere', 'make install']),
    (['multires', '--weights', 'nowhere.caffemodel'], ['nowhere.caffemodel', 'no such file']),
    (['distilling', '--students', 'nowhere'], ['nowhere', 'students'])])
def test_a_users_mistake_is_one_line(flags, words, run):
    status, out, err = run(*flags)
    assert status and out == '' and 'Traceback' not in err
    for word in words:
        assert word in err.splitlines()[-1]


def test_missing_demo_data_is_made(monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(paths, 'ROOT', tmp_path)
    monkeypatch.setattr(steps.Step, 'run', lambda step: made.append((step.name, step.flags)))
    dataset, weights = tmp_path / 'datasets/demo', measuring.weights_of(False)
    assert weights == tmp_path / 'caffemodel/demo_resnet101.caffemodel'
    measuring.make_missing(dataset, weights, False)
    assert made == [('make_demo', {}), ('make_demo_model', {
        'proto': tmp_path / 'proto/deploy_resnet101.prototxt', 'output': weights})]
    (tmp_path / 'caffemodel').mkdir()
    assert measuring.weights_of(True) == tmp_path / 'caffemodel/demo_tiny.caffemodel'
    for tiny, name in ((False, 'model'), (True, 'resnet_tiny')):
        path = tmp_path / f'caffemodel/{name}.caffemodel'
        path.touch()
        assert measuring.weights_of(tiny) == path


@pytest.mark.parametrize('note, words', [
    ({'trained': False}, 'untrained'), ({'trained': True}, ' (trained on '), ({}, 'untrained'),
    (None, '')])
def test_weights_say_how_they_were_made(note, words, tmp_path):
    for source in ('made by caffemodel/make_demo_model.py', 'https://example.org'):
        if note is not None:
            (tmp_path / 'a.json').write_text(json.dumps({'source': source, **note}))
        made = reporting.made_of(tmp_path / 'a.caffemodel')
        if source.startswith('made by'):
            assert words in made and (made == '') == (note is None)
        else:
            assert made == ''


# Recipes

RECIPES = recipes.read_recipes()
STEPS = {step.command(): step for recipe in RECIPES.values() for step in recipe['steps']}


@pytest.mark.parametrize('command', STEPS)
def test_a_step_and_its_script_take_the_same_flags(command, monkeypatch):
    class Parsed(Exception):
        pass

    def parsed(*args):
        raise Parsed(args[1] if len(args) > 1 else None)
    step, (name, *flags) = STEPS[command], shlex.split(command)
    inspect.signature(steps.STEPS[step.name][1]).bind(**step.flags)
    monkeypatch.setattr(sys, 'argv', [name, *flags])
    monkeypatch.setattr('deep_retrieval.cli.user_errors', parsed)
    with pytest.raises(Parsed):
        runpy.run_path(str(ROOT / name), run_name='__main__')
    named = [word for word in flags if word.startswith('proto/')]
    assert all((ROOT / path).is_file() for path in named)


def test_the_commands_are_printed_as_they_are_typed(monkeypatch, capsys):
    status, out, _ = run_here(monkeypatch, capsys, [ROOT / 'experiments/recipes.py', 'distill',
                                                    '--dry_run'])
    lines = out.splitlines()
    assert status == 0 and len(lines) == 8
    assert lines[1] == ('$ python datasets/make_demo.py --output datasets/tiny/demo --facades 48 '
                        '--queries 2 --size 512')
    assert lines[4].startswith('$ python myPython/model_tools.py clip --proto proto/deploy_')
    assert lines[7].endswith(
        ' --weights caffemodel/resnet_tiny_pca32.caffemodel --cache_trunk '
        'tmp/recipes/trunk_distill --set data.batch_size=32 solver.base_lr=0.5 '
        'solver.lr_policy=poly solver.power=1 solver.max_iter=2000 solver.snapshot=2000')


@pytest.fixture
def copy_step(monkeypatch, tmp_path):
    """Function: flags -> a step that copies a file; `calls` counts."""
    def copy(source, output, times=1):
        copy_step.calls += 1
        if times:
            (tmp_path / output).write_text((tmp_path / source).read_text() * times)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(steps.STEPS, 'copy', ('copy.py', copy))
    (tmp_path / 'a.txt').write_text('text')

    def copy_step(**flags):
        return steps.Step('copy', {'source': 'a.txt', 'output': 'b.txt', **flags}, ['b.txt'])
    copy_step.calls = 0
    return copy_step


def test_a_finished_step_is_not_repeated(copy_step, tmp_path):
    def calls(**flags):
        before = copy_step.calls
        recipes.run_step(copy_step(**flags))
        return copy_step.calls - before
    assert [calls(), calls()] == [1, 0]
    assert [calls(times=2), calls(times=2), calls(), calls()] == [1, 0, 1, 0]
    (tmp_path / 'a.txt').write_text('another text')
    assert [calls(), calls()] == [1, 0]
    (tmp_path / 'b.txt').write_text('damaged')
    assert [calls(), calls()] == [1, 0]
    (tmp_path / 'b.txt').unlink()
    assert [calls(), calls()] == [1, 0]
    assert (tmp_path / 'b.txt').read_text() == 'another text'


def test_a_step_that_leaves_nothing_is_an_error(copy_step):
    with pytest.raises(RuntimeError, match='copy: left no b.txt'):
        recipes.run_step(copy_step(times=0))


def test_a_step_that_makes_a_folder_is_always_called(copy_step, tmp_path, monkeypatch):
    def make(output):
        copy_step.calls += 1
        os.makedirs(output, exist_ok=True)
    monkeypatch.setitem(steps.STEPS, 'make', ('make.py', make))
    for _ in range(2):
        recipes.run_step(steps.Step('make', {'output': 'folder'}, ['folder']))
    assert copy_step.calls == 2 and sorted(os.listdir(tmp_path)) == ['a.txt', 'folder']


def test_a_training_depends_on_its_net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a_solver.prototxt').write_text('net: "net.prototxt"\nmax_iter: 1\n')
    (tmp_path / 'net.prototxt').write_text('name: "a"')
    step = steps.Step('train', {'solver': 'a_solver.prototxt', 'gpu': -1}, ['x.caffemodel'])
    found = recipes.fingerprints(step)
    assert sorted(found) == ['a_solver.prototxt', 'net.prototxt']
    (tmp_path / 'net.prototxt').write_text('name: "b"')
    assert recipes.fingerprints(step)['net.prototxt'] != found['net.prototxt']
