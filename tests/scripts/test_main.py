"""`python -m deep_retrieval` as a user runs it, on a few rendered pictures and the tiny net."""

import os

import pytest
from conftest import assert_one_line, run_script
from tiny import PROTO, WEIGHTS


def run(*words, cwd='.'):
    return run_script('-m', 'deep_retrieval', *words, cwd=cwd)


@pytest.fixture
def flags(tmp_path):
    return ['--weights', WEIGHTS, '--proto', PROTO, '--S', 96, '--gpu', -1, '--cache',
            tmp_path / 'cache']


def test_describe_search_and_groups_share_a_cache(small, flags, tmp_path):
    photos = small / 'jpg'
    done = run('describe', photos, *flags)
    assert done.returncode == 0 and done.stdout == f'{tmp_path}/cache: 27 x 128\n', done.stderr
    name = sorted(os.listdir(photos))[0]
    done = run('search', photos / name, photos, '--top', 3, *flags)
    assert done.returncode == 0, done.stderr
    first, *others = done.stdout.splitlines()
    assert first == f'1.0000  {name}' and len(others) == 2
    done = run('groups', photos, '--threshold', 0.99, '--output', tmp_path / 'gallery', *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f'gallery: {tmp_path}/gallery/index.html'
    assert (tmp_path / 'gallery/index.html').exists()


def test_no_group_is_no_gallery(small, flags, tmp_path):
    done = run('groups', small / 'jpg', '--threshold', 1, '--output', tmp_path / 'g', *flags)
    assert done.returncode == 0 and done.stdout.startswith('0 groups at a similarity of')
    assert not (tmp_path / 'g').exists()


def test_one_group_of_one_is_singular(small, flags, tmp_path):
    (tmp_path / 'photos').mkdir()
    name = sorted(os.listdir(small / 'jpg'))[0]
    for copy in 'ab':
        os.link(small / 'jpg' / name, tmp_path / f'photos/{copy}.jpg')
    done = run('groups', tmp_path / 'photos', '--output', tmp_path / 'g', *flags)
    assert done.stdout.splitlines()[1] == (
        '1 group at a similarity of at least 0.75; 2 of 2 images'), done.stderr


def test_evaluate(small, flags):
    done = run('evaluate', small, *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith('(query_crop roi)')


@pytest.mark.parametrize('words, expected', [
    (['describe', 'nowhere'], 'nowhere: is not a folder'),
    (['search', 'nothing.jpg', '.'], 'nothing.jpg'),
    (['evaluate', 'nowhere'], 'nowhere')])
def test_a_mistake_is_one_line(words, expected, flags, tmp_path):
    assert_one_line(run(*words, *flags, cwd=tmp_path), 'deep_retrieval: ', expected)


@pytest.mark.parametrize('command, flag', [
    ('describe', '--cache'), ('groups', '--output'), ('search', '--weights')])
def test_an_empty_path_does_not_mean_the_default(command, flag, tmp_path):
    words = [command, *['a.jpg'] * (command == 'search'), '.', flag, '']
    assert_one_line(run(*words, cwd=tmp_path), f'argument {flag}: a path cannot be empty')
