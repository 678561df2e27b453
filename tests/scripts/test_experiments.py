"""The original's tables, run again on a small dataset with the tiny nets."""

import csv
import json
import re
import shutil
import sys

import pytest
from conftest import ROOT, run_script
from offline_case import TINY, folder, run_here, scorer  # noqa: F401 (fixtures)

sys.path.insert(0, str(ROOT / 'experiments'))
import measuring  # noqa: E402
import reporting  # noqa: E402

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
    """Function: flags of run.py -> its status, stdout, stderr; all scripts run in this process."""
    def script(words):
        said = capsys.readouterr()
        status, out, err = run_here(monkeypatch, capsys, [ROOT / words[0], *words[1:]])
        sys.stdout.write(said.out)
        sys.stderr.write(said.err + err)
        commands.append(words)
        if status:
            raise RuntimeError(f'{words[0]} failed, see the line above')
        return out

    def run(*flags):
        return run_here(monkeypatch, capsys, [
            RUN, '--tiny', '--gpu', -1, '--weights', TINY, '--dataset', folder, '--eval_binary',
            scorer, '--temp_dir', tmp_path / 'tmp', '--output', tmp_path / 'out', *flags])
    commands = run.commands = []
    monkeypatch.setattr(measuring, 'run_script', script)
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
    assert again[1] == out and 'anew' not in err + again[2]


def test_rows_are_what_their_scripts_print(run):
    _, out, _ = run('offline_dim', '--S', 64)
    header, rows = table_of(out)
    done = run_script(*run.commands[1])
    assert f'Mean: {rows[1][header.index("mAP, ours")]} (' in done.stdout
    # of 36 images no more than 18 components
    assert '4 maps, 18-d' in rows[-1][-1] and '1 map, ' in rows[0][-1]


def test_the_nets_own_descriptor_scores_as_test_on_oxford_says(run, monkeypatch, tmp_path):
    """It comes out of the forward that gives the maps, for one resolution and for three."""
    _, out, _ = run('offline', '--S', 64)
    header, rows = table_of(out)
    for row, flags in ((rows[0], []), (rows[1], ['--multires'])):
        words = run.commands[0][1:]
        words = dict(zip(words[::2], words[1::2]))
        done = run_script(
            'myPython/test/test_on_oxford.py', '--gpu', '-1', '--S', '64', '--weights', TINY,
            '--proto', ROOT / 'proto/deploy_resnet_tiny.prototxt', '--dataset', words['--dataset'],
            '--eval_binary', words['--eval_binary'], '--temp_dir', tmp_path / 'oxford', *flags)
        assert f'Mean: {row[header.index("mAP, ours")]} (' in done.stdout, done.stderr


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
    assert 'empty: is no student' in err
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
    (['multires', '--weights', 'nowhere.caffemodel'], ['test.py failed']),
    (['distilling', '--students', 'nowhere'], ['nowhere', 'students'])])
def test_a_users_mistake_is_one_line(flags, words, run):
    status, out, err = run(*flags)
    assert status and out == '' and 'Traceback' not in err
    for word in words:
        assert word in err.splitlines()[-1]


def test_a_script_that_fails_is_named(tmp_path):
    (tmp_path / 'a.py').write_text('import sys; print(sys.argv[1]); sys.exit(int(sys.argv[2]))')
    assert measuring.run_script([tmp_path / 'a.py', 'said', '0']) == 'said\n'
    with pytest.raises(RuntimeError, match='a.py failed, see the line above'):
        measuring.run_script([tmp_path / 'a.py', 'said', '3'])


def test_missing_demo_data_is_made(monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(measuring, 'ROOT', tmp_path)
    monkeypatch.setattr(measuring, 'run_script', made.append)

    class Args:
        tiny, weights = False, measuring.weights_of(False)
        dataset = tmp_path / 'datasets/demo'
    assert Args.weights == tmp_path / 'caffemodel/demo_resnet101.caffemodel'
    measuring.make_missing(Args)
    assert [words[0] for words in made] == ['datasets/make_demo.py',
                                            'caffemodel/make_demo_model.py']
    (tmp_path / 'caffemodel').mkdir()
    assert measuring.weights_of(True) == tmp_path / 'caffemodel/demo_tiny.caffemodel'
    for tiny, name in ((False, 'model'), (True, 'resnet_tiny')):
        path = tmp_path / f'caffemodel/{name}.caffemodel'
        path.touch()
        assert measuring.weights_of(tiny) == path


@pytest.mark.parametrize('note, words', [
    ({'trained': False}, 'untrained'), ({'trained': True}, ' (trained on '), ({}, ''), (None, '')])
def test_weights_say_how_they_were_made(note, words, tmp_path):
    if note is not None:
        (tmp_path / 'a.json').write_text(json.dumps(note))
    made = reporting.made_of(tmp_path / 'a.caffemodel')
    assert words in made and (made == '') == (not note)
