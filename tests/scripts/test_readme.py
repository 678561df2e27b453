"""The README's paths exist, and its commands run: on the tiny net and a small dataset."""

import argparse
import re
import runpy
import shlex
import sys

import pytest
from conftest import ROOT, run_script
from tiny import PROTO
from tiny import WEIGHTS as TINY

README = (ROOT / 'README.md').read_text()
COMMANDS = [line for block in re.findall(r'```sh\n(.*?)```', README, re.S)
            for line in block.splitlines()]


def test_every_command_is_known():
    kinds = {shlex.split(line)[0] for line in COMMANDS}
    assert kinds == {'make', 'python'} and len(COMMANDS) >= 12


@pytest.mark.parametrize('line', [line for line in COMMANDS if line.startswith('make')])
def test_make_targets_are_what_ci_runs(line):
    """CI begins with `make demo`, which installs first."""
    target = line.split()[1]
    makefile = (ROOT / 'Makefile').read_text()
    ci = (ROOT / '.ci/run').read_text()
    assert re.search(rf'^([\w-]+ )*{target}[ :]', makefile, re.M)
    assert target == 'install' or re.search(rf'^make .*\b{target}\b', ci, re.M)
    assert re.search(r'^demo: install', makefile, re.M)


class Parsed(BaseException):
    """Raised where a script would begin its work."""


@pytest.mark.parametrize('line', [line for line in COMMANDS if line.startswith('python')])
def test_the_flags_of_every_command_are_known(line, monkeypatch):
    """What the commands do is the matter of their own tests, on small data."""
    name, *flags = shlex.split(line)[1:]
    parse = argparse.ArgumentParser.parse_args

    def stop(parser, args=None, namespace=None):
        raise Parsed(parse(parser, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', stop)
    monkeypatch.setattr(sys, 'argv', [name, *flags])
    monkeypatch.syspath_prepend((ROOT / name).parent)
    with pytest.raises(Parsed):
        runpy.run_path(str(ROOT / name), run_name='__main__')
    paths = [flag.split('=')[-1] for flag in flags if 'proto/' in flag]
    assert all((ROOT / path).is_file() for path in paths)


@pytest.mark.parametrize('line', [line for line in COMMANDS if ' test.py' in line
                                  and '--gnd' not in line and '--end' not in line])
def test_test_py_commands_run(line, small, scorer, tmp_path):
    name, *flags = shlex.split(line)[1:]
    done = run_script(name, *flags, '--dataset', small, '--proto', PROTO, '--weights', TINY,
                      '--S', 280, '--gpu', -1, '--eval_binary', scorer, '--temp_dir', tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith('Mean: ')


@pytest.mark.parametrize('line', [line for line in COMMANDS if 'extraction_rate' in line])
def test_the_extraction_benchmark_runs(line, small):
    name, *flags = shlex.split(line)[1:]
    done = run_script(name, *flags, '--dataset', small, '--proto', PROTO, '--weights', TINY,
                      '--S', 96, '--images', 6, '--turns', 1)
    assert done.returncode == 0, done.stderr
    assert re.search(r'share +\d+\.\d%', done.stdout)


GENERATORS = ('datasets/make_demo.py', 'caffemodel/make_demo_model.py', 'proto/make_nets.py')


@pytest.mark.parametrize('line', [line for line in COMMANDS if line.split()[1] in GENERATORS])
def test_the_generators_commands_run(line, small, tmp_path):
    name, *flags = shlex.split(line)[1:]
    more = {'datasets/make_demo.py': ['--output', tmp_path / 'd', '--facades', 1, '--views', 1,
                                      '--distractors', 1, '--size', 64],
            'caffemodel/make_demo_model.py': ['--proto', PROTO, '--dataset', small, '--S', 64,
                                              '--output', tmp_path / 'm.caffemodel'],
            'proto/make_nets.py': []}[name]
    done = run_script(name, *flags, *more)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('line', [line for line in COMMANDS if '--chroot' in line])
def test_the_genuine_benchmarks_say_what_they_need(line, tmp_path):
    """Genuine Caffe is not where tests run; the command must end in a line that says so."""
    name, flag, _ = shlex.split(line)[1:]
    more = ['--proto', PROTO, '--weights', TINY] if 'compare' in name else []
    done = run_script(name, flag, tmp_path / 'nowhere', *more)
    assert done.returncode == 1 and '--chroot' in done.stderr and 'Traceback' not in done.stderr


def test_every_path_exists():
    paths = set(re.findall(r'\]\((?!#|http)([^)]+)\)', README))
    paths |= {f'{folder}{name}' for folder, name in re.findall(
        r'`((?:proto|eval|pycaffe|tests|docs|benchmarks|datasets)/)([\w./]*)`', README)
        if 'Oxford' not in name and 'demo' not in name and name != 'compute_ap'}
    tree = README.split('## Folders\n\n```\n')[1].split('```')[0]
    folder = ''
    for line in tree.splitlines():
        entry = line.split()[0]
        if not line.startswith(' '):
            folder = entry if entry.endswith('/') else ''
            paths |= {part for part in line.split('  ')[0].split()}
        else:
            paths.add(folder + entry)
    assert len(paths) > 15
    missing = sorted(path for path in paths if not (ROOT / path).exists())
    assert not missing


def test_every_flag_of_test_py_is_in_the_table():
    help_text = run_script('test.py', '--help').stdout
    flags = set(re.findall(r'(--\w+)', help_text)) - {'--help'}
    table = README.split('## test.py')[1].split('##')[0]
    assert flags == set(re.findall(r'`(--\w+)', table))
