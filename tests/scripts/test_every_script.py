"""Every script: its help, its flags, and what it does without any flag in a fresh clone."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

FOLDERS = ('.', 'myPython', 'datasets', 'caffemodel', 'experiments', 'benchmarks', 'proto')
HEAVY = {'torch', 'caffe', 'cv2', 'sklearn', 'scipy', 'matplotlib', 'faiss'}
HELPERS = ROOT / 'tests/helpers'

# what takes minutes by default gets the least work
FLAGS = {
    'datasets/make_demo.py': '--facades 1 --views 2 --distractors 0 --size 64',
    'datasets/make_cover_demo.py': '--clips 1 --singles 0 --seconds 1',
    'datasets/make_training_demo.py': '--classes 2 --test_classes 1 --views 2',
    'datasets/download.py oxford': '--tries 1 --home http://127.0.0.1:9',
    'datasets/download.py paris': '--tries 1 --home http://127.0.0.1:9',
    'benchmarks/all_pairs_rate.py': '--counts 300 --slice 0 --dim 8',
    'benchmarks/index_recall.py': '--rows 4000 --dim 16 --queries 3',
    'benchmarks/reranking_rate.py': '--rows 2000 --dim 64 --queries 20',
    'benchmarks/sweep_rate.py': '--anchors 40 --items 3',
    'benchmarks/trunk_cache_rate.py': '--images 12 --draws 1',
}
# what must be named: a picture, a folder of images, a table, a URL
NEEDS_WORDS = {'experiments/run.py', 'experiments/recipes.py', '-m deep_retrieval describe',
               '-m deep_retrieval search', '-m deep_retrieval groups',
               'myPython/dataset_helper/download_helper.py fetch'}
# notices, which may stand before the line that tells what is missing
NOTICE = re.compile(r'.*(; computing on the CPU|: its paths are relative to .*)')
# what is not a path in the repository: a service, an archive's home, and Debian with genuine Caffe
WANTED = re.compile(r'--service is required|http://127\.0\.0\.1:9/|--chroot$')


def scripts():
    """The command line of each script: a path in the repository, or `-m deep_retrieval`."""
    found = {path for folder in FOLDERS for path in (ROOT / folder).glob(
        '**/*.py' if folder == 'myPython' else '*.py')}
    package = ROOT / 'myPython/deep_retrieval'
    names = [path.relative_to(ROOT).as_posix() for path in sorted(found)
             if package not in path.parents and re.search(
                 r'^if __name__ == .__main__.:', path.read_text(), re.M)
             and re.search(r'parse_args\(|(cli|subcommands)\.run\(', path.read_text())]
    return [*names, '-m deep_retrieval']


def answers(script, *args, **kwargs):
    """What a helper prints: a JSON object per line."""
    done = subprocess.run([sys.executable, HELPERS / script, *args], capture_output=True,
                          text=True, cwd=ROOT, **kwargs)
    assert done.returncode == 0, done.stderr
    return list(map(json.loads, done.stdout.splitlines()))


@pytest.fixture(scope='module')
def helps():
    """Script -> what it answers to -h."""
    found = {answer['script']: answer for answer in answers('ask_help.py', *scripts())}
    assert sorted(found) == sorted(scripts()) and len(found) > 50
    return found


def test_help_imports_nothing_heavy(helps):
    """So it answers in a tenth of a second."""
    assert {name: found for name, answer in helps.items()
            if (found := sorted(HEAVY & set(answer['modules'])))} == {}


def test_every_flag_has_help(helps):
    for name, answer in helps.items():
        assert answer['status'] == 0 and answer['help'].startswith('usage: '), name
        assert answer['without help'] == [], name


@pytest.fixture(scope='module')
def clone(tmp_path_factory):
    """The tracked files, without data and weights."""
    folder = tmp_path_factory.mktemp('clone') / 'repository'
    listed = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip('needs the list of files of git')
    for name in listed.stdout.decode().split('\0'):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def test_defaults_from_another_folder(helps, clone, tmp_path):
    """A result, or one line that names a path in the clone; the current folder stays empty."""
    lines = [f'{name} {mode}'.strip() for name, answer in helps.items()
             for mode in answer['subcommands'] or ['']]
    # last what makes something that others would find
    lines.sort(key=lambda line: line.startswith('datasets/make_'))
    env = {**os.environ, 'PYTHONPATH': f'{clone}/pycaffe:{clone}/myPython', 'OMP_NUM_THREADS': '1'}
    done = answers('try_defaults.py', clone, tmp_path / 'empty', env=env, input=json.dumps(
        [f'{line} {FLAGS.get(line, "")}'.split() for line in lines]))
    assert len(done) == len(lines)
    faults = [(line, fault) for line, answer in zip(lines, done, strict=True)
              if (fault := fault_of(line, answer, clone))]
    assert not faults, '\n'.join(f'{line}: {fault}' for line, fault in faults)


def fault_of(line, answer, clone):
    """What is wrong with a run; None if nothing is."""
    errors = [text for text in answer['errors'].strip().splitlines() if not NOTICE.fullmatch(text)]
    if answer['made']:
        return f'made {answer["made"]}'
    if 'Traceback' in answer['errors']:
        return answer['errors']
    if answer['status'] == 0:
        return None
    if line in NEEDS_WORDS:
        return None if answer['status'] == 2 and errors[0].startswith('usage: ') else errors
    if len(errors) != 1 or not (str(clone) in errors[0] or WANTED.search(errors[0])):
        return f'status {answer["status"]}, {errors}'
    return None
