"""cover_helper from the file of groups to scores; the server is on this machine."""

import json

import cover_helper
import cv2
import numpy as np
import pytest
from deep_retrieval import subcommands
from deep_retrieval.datasets import Covers
from deep_retrieval.image_means import COVER
from deep_retrieval.listing import list_classes
from deep_retrieval.making import class_sets, cover_sets
from deep_retrieval.training.class_folders import ClassFolders
from image_server import serving
from picture_folders import save, tree

GROUPS = {'g1': ['a1', 'a2', 'a3'], '2': ['b 1', 'b:2'], 'x_3': ['ü1', 'ü2', 'c%3', 'c4'],
          'g4': ['d1']}
TEXT = 'g1\ta1 a2 a3\n2\tb%201 b:2\nx_3\tü1 ü2 c%253 c4\ng4\td1\n'


def call(mode, *flags):
    subcommands.run(cover_helper.__doc__, cover_helper.MODES, cover_helper.FLAGS,
                    [mode, *map(str, flags)])


def refused(capsys, words, *args):
    with pytest.raises(SystemExit) as ended:
        call(*args)
    told = capsys.readouterr().err
    assert ended.value.code == 1 and words in told.splitlines()[-1] and 'Traceback' not in told


@pytest.fixture
def groups(tmp_path):
    path = tmp_path / 'demo_shortv.txt'
    path.write_text(TEXT)
    return path


@pytest.fixture
def images(tmp_path):
    """All covers but c4; no two are equal."""
    names = sorted(name for names in GROUPS.values() for name in names if name != 'c4')
    for value, name in enumerate(names):
        save(tmp_path / f'images/{name}.jpg', 28, 50, 10 * value)
    return tmp_path / 'images'


def test_count_items(groups, capsys):
    call('count_items', '--groups', groups)
    assert capsys.readouterr().out.splitlines() == [
        *(f'groups of {size} items: 1' for size in (1, 2, 3, 4)),
        f'{groups}: 10 items in 4 groups']
    groups.write_text('g1 a b\n')
    refused(capsys, 'demo_shortv.txt:1', 'count_items', '--groups', groups)


def test_get_csmid_list(groups, tmp_path, capsys):
    call('get_csmid_list', '--groups', groups, '--least', 2, '--most', 3, '--output',
         tmp_path / 'l')
    assert (tmp_path / 'l/test.txt').read_text() == 'g1\ta1 a2 a3\n2\tb%201 b:2\n'
    assert (tmp_path / 'l/training.txt').read_text() == 'x_3\tü1 ü2 c%253 c4\ng4\td1\n'
    assert capsys.readouterr().out == (f'{tmp_path}/l/test.txt: 5 items in 2 groups\n'
                                       f'{tmp_path}/l/training.txt: 5 items in 2 groups\n')
    assert cover_sets.by_size({'a': ['x'] * 20, 'b': ['x'] * 24, 'c': ['x'] * 25, 'd': ['x'] * 19},
                              20, 24)[0].keys() == {'a', 'b'}


def test_sets_from_a_folder(groups, images, tmp_path, capsys):
    before = tree(images)
    flags = ['--groups', groups, '--images', images, '--least', 3, '--most', 4]
    call('make_test_set', *flags, '--output', tmp_path / 'test')
    made = tree(tmp_path / 'test')
    assert made == {f'{key}/{name}.jpg': before[f'{name}.jpg']
                    for key in ('g1', 'x_3') for name in GROUPS[key] if name != 'c4'}
    out, told = capsys.readouterr()
    assert out == f'{tmp_path}/test: 6 images\n'
    assert "does not have 1 of 7 covers, such as 'c4'" in told
    call('make_training_set', *flags, '--output', tmp_path / 'training')
    assert tree(tmp_path / 'training') == {f'{name}.jpg': before[f'{name}.jpg']
                                           for name in ('b 1', 'b:2', 'd1')}
    assert tree(images) == before
    call('cls_training_set', '--groups', groups, '--least', 3, '--most', 4, '--images',
         tmp_path / 'training', '--output', tmp_path / 'classes')
    assert set(tree(tmp_path / 'classes')) == {'0/b 1.jpg', '0/b:2.jpg', '1/d1.jpg'}
    groups.write_text('g1\t../../etc/a\n')
    refused(capsys, "'../../etc/a' cannot be the name", 'make_test_set', *flags)


def test_names_with_extensions(images, tmp_path):
    """A group names files with or without extension; of two that would do, the first."""
    save(images / 'a1.png', 4, 4, 0)
    steps, lost = cover_sets.steps_of([('a1', 'x/a1'), ('a1.png', 'y/a1.png'), ('no', 'no')],
                                      images)
    assert {path: step.source for path, step in steps.items()} == {
        'x/a1.jpg': f'{images}/a1.jpg', 'y/a1.png': f'{images}/a1.png'} and lost == ['no']


def test_sets_from_a_service(groups, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    ids = {'a1': 'a1', 'a2': 'a2', 'a3': 'a3', 'b 1': 'b%201', 'b:2': 'b%3A2'}
    with serving() as server:
        for value, quoted in enumerate(ids.values()):
            server.files[f'/api/{quoted}'] = json.dumps({'cover': f'/{value}.jpg'}).encode()
            server.files[f'/{value}.jpg'] = cv2.imencode(
                '.jpg', np.full((28, 50, 3), value, np.uint8))[1].tobytes()
        server.faults['/2.jpg'] = [('cut', 100), 503]
        del server.files['/1.jpg']
        flags = ['make_test_set', '--groups', groups, '--least', 2, '--most', 3, '--output',
                 tmp_path / 'test', '--service', f'{server.url}/api/{{id}}', '--pause', 0.001]
        call(*flags)
        assert {path for path in tree(tmp_path / 'test') if '/' in path} == {
            'g1/a1.jpg', 'g1/a3.jpg', '2/b 1.jpg', '2/b:2.jpg'}
        assert '1 of 5 images are broken' in capsys.readouterr().err
        server.files['/1.jpg'] = server.files['/0.jpg']
        call(*flags)
        assert (tmp_path / 'test/g1/a2.jpg').read_bytes() == server.files['/0.jpg']
    refused(capsys, '--service is required', 'make_test_set', '--groups', groups)


@pytest.fixture
def classes(tmp_path):
    """g1 of 4 covers, one damaged, and two equal; g2 of 3; g3 of 2."""
    for name, values in (('g1', (10, 20, 20, 30, 40)), ('g2', (50, 60, 70)), ('g3', (80, 90))):
        for number, value in enumerate(values):
            save(tmp_path / f'in/{name}/{name}_{number}.jpg', 28, 50, value)
    path = tmp_path / 'in/g1/g1_4.jpg'
    path.write_bytes(path.read_bytes()[:300])
    return tmp_path / 'in'


def test_make_clean_set(classes, tmp_path, capsys):
    before = tree(classes)
    call('make_clean_set', '--input', classes, '--output', tmp_path / 'clean')
    assert set(tree(tmp_path / 'clean')) == {'g1/g1_0.jpg', 'g1/g1_1.jpg', 'g1/g1_3.jpg',
                                             'g2/g2_0.jpg', 'g2/g2_1.jpg', 'g2/g2_2.jpg'}
    told = capsys.readouterr().err
    for words in ('g1_4.jpg', 'g1/g1_2.jpg: is the same as g1_1.jpg',
                  'g3: has 2 images, but 3 are needed'):
        assert words in told
    assert tree(classes) == before
    assert ClassFolders(tmp_path / 'clean').size == (28, 50)


def test_make_queries_for_test(classes, tmp_path, capsys):
    call('make_queries_for_test', '--input', classes, '--output', tmp_path / 'c')
    assert capsys.readouterr().out == f'{tmp_path}/c: 10 images, 2 of them queries\n'
    dataset = Covers(tmp_path / 'c')
    queries = dataset.queries
    assert [query.name[:2] for query in queries] == ['g1', 'g2'] and len(dataset.images) == 8
    for query in queries:
        group = {path.name for path in (classes / query.name[:2]).iterdir()}
        assert dataset.truth(query).positives == group - {query.name}
    lines = (tmp_path / 'c/answer.txt').read_text().splitlines()
    assert [len(line.split('\t')) for line in lines] == [4, 2]
    assert (tmp_path / 'c/query.txt').read_text().splitlines() == [query.name for query in queries]


def test_the_same_name_in_two_groups(tmp_path):
    steps, texts = class_sets.flat_queries(
        'in', {'a': ['1.jpg', '2.jpg'], 'b': ['1.jpg', '3.jpg']}, least=2)
    names = {path.split('/')[1]: step.source for path, step in steps.items()}
    assert names == {'a_1.jpg': 'in/a/1.jpg', '2.jpg': 'in/a/2.jpg', 'b_1.jpg': 'in/b/1.jpg',
                     '3.jpg': 'in/b/3.jpg'}
    assert {*texts['query.txt'].split(), *texts['answer.txt'].split()} == set(names)
    for classes, words in (({'a': ['b.jpg', 'x'], 'c': ['b.jpg', 'a_b.jpg']}, 'two images would'),
                           ({'a': ['1\t.jpg', '2.jpg']}, 'has a tab'),
                           ({'a': ['1.jpg']}, 'no class has the 2 images')):
        with pytest.raises(ValueError, match=words):
            class_sets.flat_queries('in', {key: sorted(names) for key, names in classes.items()},
                                    least=1 if len(classes) > 1 else 2, seed=3)


def test_queries_are_drawn_evenly(classes):
    folders = {'g': ['a', 'b', 'c'], **list_classes(classes)}
    drawn = [class_sets.draw(folders['g'], seed, 'g') for seed in range(300)]
    assert all(60 < drawn.count(name) < 140 for name in 'abc')


def test_the_mean_of_the_training_set(images, capsys):
    call('cal_mean_training_set', '--images', images)
    # of 0, 10, ... 80, a cover each
    assert capsys.readouterr().out.splitlines()[0].endswith(
        ': 40.00000 40.00000 40.00000 (B G R, 9 images)')
    assert COVER == (117.80904, 130.27611, 134.65074)


def test_cal_precision_and_mAP(tmp_path, capsys):
    """Query 1: a1, x, a2 are found; 1 of its first 2 is right, AP (1 + 2/3) / 2. Query 2: all."""
    for name in ('queries/a', 'queries/b', 'dataset/a1', 'dataset/a2', 'dataset/b1', 'dataset/x'):
        save(tmp_path / f'{name}.jpg', 28, 50, 128)
    (tmp_path / 'query.txt').write_text('a.jpg\nb.jpg\n')
    (tmp_path / 'answer.txt').write_text('a1.jpg\ta2.jpg\nb1.jpg\n')
    np.save(tmp_path / 'q.npy', np.float32([[1, 0], [0, 1]]))
    np.save(tmp_path / 'd.npy', np.float32([[.9, 0], [.5, .1], [.1, .8], [.7, .3]]))
    flags = ['--test_set', tmp_path, '--queries_npy', tmp_path / 'q.npy', '--dataset_npy',
             tmp_path / 'd.npy']
    call('cal_precision', *flags, '--wrong_dir', tmp_path / 'wrong')
    assert capsys.readouterr().out == 'precision: 75.00 (at R, 2 queries)\n'
    wrong = [path.name for path in (tmp_path / 'wrong').rglob('*.jpg')]
    assert '00002_x_0.700.jpg' in wrong and not any('a1' in name for name in wrong)
    call('cal_mAP', *flags)
    assert capsys.readouterr().out == 'mAP: 91.67 (VOC 2010, 2 queries)\n'
