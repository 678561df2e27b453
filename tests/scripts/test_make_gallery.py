"""make_gallery.py as a user runs it: rankings, groups and strips, and what goes wrong."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import html_tree
import make_gallery
import numpy as np
import pytest
import saved_set
from conftest import ROOT, assert_one_line, run_script
from gallery_pages import content

SCRIPT = ROOT / 'myPython/make_gallery.py'


def net(images):
    """A random descriptor of unit length for each shade of grey and size; D = 8."""
    rows = np.array([np.random.default_rng([*image.shape[:2], round(image.mean())])
                     .standard_normal(8) for image in images], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A dataset of 6 pictures and 2 queries with rankings and features; a mapped file of them."""
    root = tmp_path_factory.mktemp('data')
    for folder in ('set/jpg', 'set/lab', 'tmp'):
        (root / folder).mkdir(parents=True)
    for number in range(6):
        cv2.imwrite(str(root / f'set/jpg/p{number}.jpg'),
                    np.full((60, 80, 3), 40 * number, np.uint8))
    for name, image, good, ok, junk in (('a_1', 'p0', 'p0 p1', 'p2', 'p3'),
                                        ('b_1', 'p4', 'p5', '', '')):
        (root / f'set/lab/{name}_query.txt').write_text(f'oxc1_{image} 0 0 40 60\n')
        for grade, names in (('good', good), ('ok', ok), ('junk', junk)):
            (root / f'set/lab/{name}_{grade}.txt').write_text('\n'.join(names.split()) + '\n')
    saved_set.save_features(root / 'tmp/F', saved_set.opened(root / 'set'), net=net)
    queries, database = (np.load(root / f'tmp/F_{part}.npy') for part in ('queries', 'dataset'))
    for name, row in zip(('a_1', 'b_1'), queries @ database.T, strict=True):
        (root / f'tmp/{name}.rnk').write_text(''.join(f'p{i}\n' for i in np.argsort(-row)))
    (root / 'mapped.txt').write_text('p0.jpg\tp1.jpg:0.900 p4.jpg:0.800 p0.jpg:0.750\np1.jpg\t\n'
                                     'p4.jpg\tp5.jpg:0.690 gone%20one.jpg:0.100\n')
    (root / 'groups.txt').write_text('x\tp0.jpg p1.jpg\ny\tp4.jpg\n')
    return root


@pytest.fixture
def run(data, tmp_path, capsys, monkeypatch):
    """Function: subcommand and flags -> what the script's process gives; it writes to tmp_path/out.

    It runs in this process, as each of its own would import torch again.
    """
    flags = {'ranking': ['--rankings', data / 'tmp', '--dataset', data / 'set'],
             'groups': ['--mapped', data / 'mapped.txt', '--images', data / 'set/jpg']}
    flags['strip'] = flags['groups']
    monkeypatch.setattr(sys, 'argv', [str(SCRIPT)])

    def run(mode, *more, output='out'):
        status = 0
        try:
            make_gallery.main(list(map(str, [mode, *flags[mode], '--output', tmp_path / output,
                                             *more])))
        except SystemExit as end:
            status = end.code
        return subprocess.CompletedProcess(more, status, *capsys.readouterr())
    return run


def read_page(folder, name='index.html'):
    return html_tree.read(Path(folder, name).read_text('utf-8'))


def shown(entry):
    """The (name, similarity or rank, mark) of an entry's hits."""
    return [(hit.one('', 'name').text, hit.one('', 'similarity').text,
             ' '.join(node.text for node in hit.all('', 'mark')))
            for hit in entry.one('ol').all('li')]


def test_rankings(run, data, tmp_path):
    done = run('ranking', '--features', data / 'tmp/F', '--top', 4)
    assert done.returncode == 0 and done.stderr == ''
    marks = {'a_1': dict(p0='✓ good', p1='✓ good', p2='✓ ok', p3='– junk'),
             'b_1': dict(p5='✓ good')}
    database, queries = (np.load(data / f'tmp/F_{part}.npy') for part in ('dataset', 'queries'))
    page, names = read_page(tmp_path / 'out'), {'p0', 'p4'}
    assert page.one('title').text == page.one('h1').text == 'Rankings of set'
    for entry, name, query in zip(page.all('section'), ('a_1', 'b_1'), queries, strict=True):
        assert entry.one('h2').text.endswith(name)
        similar = {f'p{i}': float(row @ query) for i, row in enumerate(database)}
        best = sorted(similar, key=similar.get, reverse=True)[:4]
        assert shown(entry) == [(image, f'{np.floor(1000 * similar[image]) / 1000:.3f}',
                                 marks[name].get(image, '✗ other')) for image in best]
        names |= set(best)
        assert 'left:0.00%' in entry.one('', 'box').attributes['style']
    assert done.stdout == (f'{tmp_path}/out/index.html: 2 queries, {len(names)} pictures, '
                           'pages: 1\n')
    slider = page.one('input').attributes
    assert sum(counts[0] for _, counts in json.loads(slider['data-counts'])) == 8


def test_the_average_precision_of_the_whole_ranking(run, data, tmp_path):
    """b_1 has one positive at some rank r: AP = (0/(r-1) + 1/r) / 2, or 1 for r = 1."""
    assert run('ranking', '--top', 1).returncode == 0
    rank = (data / 'tmp/b_1.rnk').read_text().split().index('p5') + 1
    _, entry = read_page(tmp_path / 'out').all('section')
    expected = 100 if rank == 1 else 100 / rank / 2
    assert entry.one('', 'note').text == f'AP {expected:.2f}, 1 hit'
    assert shown(entry)[0][1] == '#1'    # without features a rank


def test_features_of_several_scales_are_summed(run, data, tmp_path):
    done = run('ranking', '--features', data / 'tmp/F', data / 'tmp/F', '--top', 3)
    assert done.returncode == 0 and done.stderr == ''
    both = [shown(entry) for entry in read_page(tmp_path / 'out').all('section')]
    run('ranking', '--features', data / 'tmp/F', '--top', 3, output='one')
    assert [shown(entry) for entry in read_page(tmp_path / 'one').all('section')] == both


def test_groups_with_ground_truth(run, data, tmp_path):
    done = run('groups', '--truth', data / 'groups.txt', '--per_page', 2, '--title', 'Hello')
    assert done.returncode == 0
    assert done.stdout == f'{tmp_path}/out/index.html: 3 groups, 5 pictures, pages: 2\n'
    assert done.stderr == ('make_gallery.py: missing pictures, shown as placeholders: 1 '
                           '(gone one.jpg)\n')
    first, second = read_page(tmp_path / 'out').all('section')
    assert read_page(tmp_path / 'out').one('h1').text == 'Hello'
    assert shown(first) == [('p1.jpg', '0.900', '✓ same'), ('p4.jpg', '0.800', '✗ other')]
    assert shown(second) == []
    third = read_page(tmp_path / 'out', 'page-2.html').one('section')
    assert shown(third) == [('p5.jpg', '0.690', '✗ other'), ('gone one.jpg', '0.100', '✗ other')]


def test_groups_without_and_fewer(run, tmp_path):
    done = run('groups', '--groups', 2, '--top', 1)
    assert done.returncode == 0 and 'the first 2 groups are shown; --groups' in done.stderr
    page = read_page(tmp_path / 'out')
    assert [shown(entry) for entry in page.all('section')] == [[('p1.jpg', '0.900', '')], []]
    assert [node.text for node in page.all('', 'note')] == ['the first 1 of 2, 1 hit', '0 hits']
    assert not list(page.all('', 'legend'))
    run('groups', '--anchors', 'p4.jpg')
    assert read_page(tmp_path / 'out').one('h2').text == '1 p4.jpg'
    assert_one_line(run('groups', '--anchors', 'p4.jpg', 'p9.jpg'), 'mapped.txt', 'p9.jpg')


def test_a_mapped_file_without_a_group_is_told(run, tmp_path):
    (tmp_path / 'none.txt').touch()
    done = run('groups', '--mapped', tmp_path / 'none.txt')
    assert done.returncode == 0 and 'none.txt: contains no groups\n' in done.stderr
    assert ': 0 groups' in done.stdout


def test_a_strip(run, data, tmp_path):
    flags = ['--truth', data / 'groups.txt', '--anchors', 'p0.jpg', 'p4.jpg']
    done = run('strip', *flags, output='strip.png')
    assert done.returncode == 0 and done.stdout == f'{tmp_path}/strip.png: 2 rows\n'
    assert 'missing or damaged pictures, shown as placeholders: 1 (gone one.jpg)' in done.stderr
    image = cv2.imread(str(tmp_path / 'strip.png'))
    assert image.shape[1] > 3 * 200 and image.shape[0] > 2 * 150
    for value in (0, 40, 160, 200, 225):    # p0, p1, p4, p5, and what stands for the missing
        assert (image == value).all(2).sum() > 100 * 100
    before = (tmp_path / 'strip.png').read_bytes()
    run('strip', *flags, output='strip.png')
    assert (tmp_path / 'strip.png').read_bytes() == before


def test_it_is_a_script_that_runs_from_any_folder_and_repeatable(run, data, tmp_path):
    assert run('groups').returncode == 0
    done = run_script(SCRIPT, 'groups', '--mapped', 'mapped.txt', '--images', 'set/jpg', '--output',
                      tmp_path / 'again', cwd=data)
    assert done.returncode == 0 and done.stderr.startswith('make_gallery.py: missing pictures')
    assert content(tmp_path / 'again') == content(tmp_path / 'out')
    done = run_script(SCRIPT, 'groups', '--mapped', 'nowhere.txt', '--images', data)
    assert_one_line(done, 'make_gallery.py: nowhere.txt: No such file')


@pytest.mark.parametrize('mode, flags, words', [
    ('ranking', ['--rankings', 'nowhere'], ['nowhere', 'test.py']),
    ('ranking', ['--dataset', 'nowhere'], ['nowhere', 'jpg/']),
    ('ranking', ['--features', 'nowhere'], ['nowhere_dataset.npy', 'no such file']),
    ('ranking', ['--features', '{data}/bad'], ['bad_queries.npy', '3, 8']),
    ('groups', ['--mapped', 'nowhere.txt'], ['nowhere.txt', 'No such file']),
    ('groups', ['--mapped', '{data}/bad.txt'], ['bad.txt', '2', 'p1.jpg']),
    ('groups', ['--truth', '{data}/bad_groups.txt'], ['bad_groups.txt:2', 'p0.jpg']),
    ('groups', ['--images', 'nowhere'], ['nowhere']),
    ('groups', ['--per_page', '0'], ['--per_page']),
    ('groups', ['--output', '{data}'], ['contains', 'choose another']),
    ('groups', ['--output', '{data}/set'], ['contains', 'choose another']),
    ('strip', ['--output', '{data}/strip'], ['strip', '.png'])])
def test_a_users_mistake_is_one_line(mode, flags, words, run, data, tmp_path):
    (data / 'bad.txt').write_text('p0.jpg\tp1.jpg:0.9\np4.jpg\tp1.jpg\n')
    (data / 'bad_groups.txt').write_text('x\tp0.jpg\ny\tp0.jpg\n')
    for end in ('queries.npy', 'queries.json', 'dataset.npy', 'dataset.json'):
        shutil.copy(data / f'tmp/F_{end}', data / f'bad_{end}')
    np.save(data / 'bad_queries.npy', np.zeros((3, 8), np.float32))
    before = content(data)
    done = run(mode, *(flag.format(data=data) for flag in flags))
    assert_one_line(done, *words)
    assert done.stdout == '' and content(data) == before and not os.listdir(tmp_path)


def test_a_ranking_of_other_features_and_a_missing_one_are_told(run, data, tmp_path):
    for path in (data / 'tmp').iterdir():
        if path.name != 'b_1.rnk':
            os.makedirs(tmp_path / 'tmp', exist_ok=True)
            (tmp_path / 'tmp' / path.name).write_bytes(path.read_bytes())
    names = (data / 'tmp/a_1.rnk').read_text().split()
    (tmp_path / 'tmp/a_1.rnk').write_text('\n'.join(names[::-1] + ['unknown']))
    done = run('ranking', '--rankings', tmp_path / 'tmp', '--features', data / 'tmp/F')
    assert done.returncode == 0
    assert 'a_1: similarities increase' in done.stderr and 'no ranking of b_1' in done.stderr
    assert 'missing pictures, shown as placeholders: 1 (unknown)' in done.stderr
    assert shown(read_page(tmp_path / 'out').one('section'))[-1] == ('unknown', '#7', '✗ other')


def test_help_explains_every_flag(run):
    for mode, flags in (('ranking', 'rankings dataset dataset_name features top output per_page'),
                        ('groups', 'mapped images truth groups anchors thumb title overwrite'),
                        ('strip', 'mapped images truth groups anchors top output')):
        done = run(mode, '-h')
        assert done.returncode == 0 and all(f'--{flag}' in done.stdout for flag in flags.split())


@pytest.mark.parametrize('mode', ['ranking', 'groups', 'strip'])
def test_the_help_imports_nothing_heavy(mode):
    code = ('import sys; sys.argv = ["make_gallery.py", sys.argv[1], "-h"]\n'
            'import atexit; atexit.register(lambda: print(sorted({"numpy", "cv2", "torch", "caffe",'
            ' "jinja2", "tqdm"} & set(sys.modules)), file=sys.stderr))\n'
            f'import runpy; runpy.run_path({str(SCRIPT)!r}, run_name="__main__")')
    done = subprocess.run([sys.executable, '-c', code, mode], text=True, capture_output=True)
    assert done.returncode == 0 and done.stderr == '[]\n'


def test_without_jinja2_one_line_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, 'jinja2', None)
    assert_one_line(run('groups'), 'jinja2 is needed', "my-deep-retrieval[gallery]")
