"""Every script: its help at once, its flags, and its defaults from another folder in a clone."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

FOLDERS = ('', 'myPython', 'myPython/convert', 'myPython/test', 'myPython/dataset_helper',
           'myPython/offline/raw', 'myPython/offline/pca_concat', 'myPython/offline/pca_eltwise',
           'myPython/offline/rmac_eltwise', 'datasets', 'caffemodel')
SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for folder in FOLDERS
                 for path in (ROOT / folder).glob('*.py')
                 if '__main__' in path.read_text() and path.name != 'setup.py')
HEAVY = {'torch', 'caffe', 'cv2', 'sklearn', 'scipy', 'faiss', 'matplotlib'}
# they would download, render for minutes, or train
LONG = {'datasets/download.py', 'datasets/make_demo.py', 'datasets/make_cover_demo.py',
        'datasets/make_training_demo.py'}
# subcommands that name what is missing by a word that is not a path
WANTED = re.compile(r'--(service|url|ids|images)\b')


def test_the_list_is_whole():
    assert len(SCRIPTS) > 30 and 'test.py' in SCRIPTS and 'myPython/train.py' in SCRIPTS


@pytest.mark.parametrize('script', SCRIPTS)
def test_help_imports_nothing_heavy(script):
    """Without them `--help` answers in under half a second on any machine."""
    code = ('import runpy, sys; path = sys.argv.pop(1); sys.argv[0] = path\n'
            'sys.path.insert(0, path.rpartition("/")[0])\n'
            'try:\n    runpy.run_path(path, run_name="__main__")\n'
            'except SystemExit as end:\n    assert not end.code\n'
            'print("IMPORTED", *sorted({name.partition(".")[0] for name in sys.modules}))')
    done = subprocess.run([sys.executable, '-c', code, str(ROOT / script), '--help'],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text, _, imported = done.stdout.rpartition('IMPORTED')
    assert text.startswith('usage: ') and not HEAVY & set(imported.split())


def subcommands(script):
    """The subcommands of a script, or one empty list of words."""
    done = subprocess.run([sys.executable, ROOT / script, '--help'], capture_output=True, text=True)
    if not re.search(r'^usage: .*(SUBCOMMAND|MODE|DATASET) \.\.\.$', done.stdout.replace(
            '\n       ', ' '), re.M) and ' ...\n' not in done.stdout:
        return [[]]
    return [[name] for name in re.findall(r'^    ([a-zA-Z][\w-]*)(?: |$)', done.stdout, re.M)]


@pytest.fixture(scope='session')
def clone(tmp_path_factory):
    """The repository's files as a fresh clone has them, without data, weights and scorer."""
    folder = tmp_path_factory.mktemp('clone') / 'repository'
    listed = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().split('\0'):
        if name and not name.startswith(('tests/', 'images/')) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.mark.parametrize('script', [name for name in SCRIPTS if name not in LONG])
def test_defaults_from_another_folder(script, clone, tmp_path):
    """A result, or one line; a path that it names belongs to the clone, not to the folder."""
    env = {**os.environ, 'PYTHONPATH': f'{clone}/pycaffe:{clone}/myPython', 'OMP_NUM_THREADS': '1'}
    for words in subcommands(script):
        done = subprocess.run([sys.executable, clone / script, *words], cwd=tmp_path, env=env,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert 'Traceback' not in done.stderr, (words, done.stderr)
        if done.returncode:
            assert str(clone) in done.stderr or WANTED.search(done.stderr), (words, done.stderr)
        # nothing was made in the folder that it was called from
        assert os.listdir(tmp_path) == [], (words, os.listdir(tmp_path))
