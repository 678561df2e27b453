"""Scripts with subcommands: the table, --debug, defaults that work from any folder, a fast -h."""

import argparse
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from deep_retrieval import subcommands

SCRIPTS = sorted(str(path.relative_to(ROOT)) for folder in ('myPython/dataset_helper', 'datasets',
                                                            'caffemodel')
                 for path in (ROOT / folder).glob('*.py')) + [
    'myPython/convert/video2frames.py', 'myPython/convert/gnd2json.py']


def show(args):
    """Show 100 % of what is given."""
    if args.number == 13:
        raise ValueError('13 is not\n  allowed')
    if args.number == 14:
        raise KeyError(14)
    print(args.mode, args.number, args.seed, args.output)


FLAGS = {'number': dict(type=int, default=1, help='a number'), 'output': dict(help='a folder')}
MODES = {'show': (show, 'number seed output', {'output': 'x'}), 'other': (show, 'number')}


def run(*argv):
    subcommands.run('A script.\n\nMore.', MODES, FLAGS, list(argv))


def test_flags_defaults_and_the_mode(capsys):
    run('show', '--number', '3')
    assert capsys.readouterr().out == 'show 3 0 x\n'
    with pytest.raises(SystemExit):
        run('other', '--seed', '1')     # not among its flags
    with pytest.raises(SystemExit):
        run()
    with pytest.raises(SystemExit):
        run('show', '-h')
    text = capsys.readouterr().out
    assert 'Show 100 % of what is given.' in text and '(default: x)' in text and '--debug' in text
    with pytest.raises(SystemExit):
        run('-h')
    assert 'Show 100 % of what is given.' in capsys.readouterr().out


def test_errors_end_in_one_line_unless_debug_is_given(capsys, monkeypatch):
    monkeypatch.delenv('DEEP_RETRIEVAL_DEBUG', raising=False)
    with pytest.raises(SystemExit) as ended:
        run('show', '--number', '13')
    assert ended.value.code == 1
    assert capsys.readouterr().err.endswith(': 13 is not allowed\n')
    with pytest.raises(KeyError):       # a programming error
        run('show', '--number', '14')
    for flags in (('--debug', 'show'), ('show', '--debug')):
        monkeypatch.setenv('DEEP_RETRIEVAL_DEBUG', '')
        with pytest.raises(ValueError):
            run(*flags, '--number', '13')


@pytest.mark.parametrize('text, value', [('0', 0), ('1', 1), ('0.25', 0.25)])
def test_share(text, value):
    assert subcommands.share(text) == value


@pytest.mark.parametrize('text', ['-0.1', '1.01', 'nan'])
def test_what_is_no_share(text):
    with pytest.raises(argparse.ArgumentTypeError, match='not from 0 to 1'):
        subcommands.share(text)


@pytest.mark.parametrize('script', SCRIPTS)
def test_default_paths_are_absolute(script, monkeypatch):
    """What a user types is relative to the current folder; defaults belong to the repository."""
    monkeypatch.syspath_prepend(str((ROOT / script).parent))
    found = runpy.run_path(str(ROOT / script))
    if 'MODES' in found:
        modes = [[mode, *(['--url', 'http://x'] if mode == 'fetch' else [])]
                 for mode in found['MODES']]
        parsed = [subcommands.parse(found['__doc__'], found['MODES'], found['FLAGS'], mode)
                  for mode in modes]
    else:
        monkeypatch.setattr(sys, 'argv', [script])
        parsed = [found['parse_args']()]
    count = 0
    for args in parsed:
        for name, value in vars(args).items():
            if name in ('function', 'mode', 'url'):
                continue
            for part in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(part, Path) or re.search('/|[.](npy|txt|pkl|csv)$', str(part)):
                    assert os.path.isabs(part), (name, part)
                    count += 1
    # the default paths of make_lite.py depend on its other flags
    assert count or script == 'caffemodel/make_lite.py'


def test_help_imports_nothing_heavy():
    """All scripts in one process; so each is fast."""
    code = f"""
import os, runpy, sys
for path in {SCRIPTS!r}:
    sys.argv, sys.path[0] = [path, '-h'], os.path.dirname(os.path.abspath(path))
    try:
        runpy.run_path(path, run_name='__main__')
    except SystemExit as ended:
        assert ended.code == 0
print('heavy:', {{'torch', 'caffe', 'cv2', 'numpy', 'sklearn', 'tqdm'}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.endswith('heavy: set()\n'), done.stdout[-200:] + done.stderr
    assert done.stdout.count('usage: ') == len(SCRIPTS) >= 12
