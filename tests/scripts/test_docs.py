"""README.md and docs/: links lead somewhere, commands are known, and README's commands run."""

import argparse
import ast
import os
import re
import runpy
import shlex
import shutil
import sys

import pytest
import torch
from conftest import ROOT, run_script
from tiny import PROTO
from tiny import WEIGHTS as TINY

PAGES = ['README.md', *sorted(f'docs/{path.name}' for path in (ROOT / 'docs').glob('*.md'))]
TEXTS = {page: (ROOT / page).read_text(encoding='utf-8') for page in PAGES}
README = TEXTS['README.md']
# the commands of these two are run by their own tests
COMMANDS = {page: sorted({
    *(line for block in re.findall(r'```sh\n(.*?)```', text, re.S) for line in block.splitlines()),
    *re.findall(r'`((?:python|make) [^`]+)`', text)})
    for page, text in TEXTS.items() if page not in ('docs/session.md', 'docs/extending.md')}


def commands(kind, pages=COMMANDS):
    return [pytest.param(page, line, id=f'{page}: {line}') for page in pages
            for line in COMMANDS[page] if line.startswith(kind)]


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    links = re.findall(r'\]\((?!#|https?:)([^)#]+)', TEXTS[page])
    assert [link for link in links if not (folder / link).exists()] == []


@pytest.mark.parametrize('page', PAGES)
def test_paths_exist(page):
    paths = re.findall(r'`((?:proto|pycaffe|tests|docs|benchmarks|experiments|myPython)/[\w./-]*)`',
                       TEXTS[page])
    folders = ROOT, ROOT / 'pycaffe/caffe'
    assert [path for path in paths if not any((folder / path).exists() for folder in folders)] == []


def test_the_index_lists_every_page():
    pages = {page.removeprefix('docs/') for page in PAGES} - {'README.md', 'index.md'}
    assert pages == set(re.findall(r'^\| \[([\w-]+\.md)\]\(\1\)', TEXTS['docs/index.md'], re.M))


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_the_folders_of_the_readme_exist():
    tree = README.split('## Folders\n\n```\n')[1].split('```')[0]
    folder, paths = '', []
    for line in tree.splitlines():
        entry = line.split()[0]
        folder = '' if not line.startswith(' ') else folder
        paths.append(ROOT / folder / entry)
        folder = folder or (entry if entry.endswith('/') else '')
    assert len(paths) > 15 and [path for path in paths if not path.exists()] == []


@pytest.mark.parametrize('page', COMMANDS)
def test_blocks_of_python_can_be_parsed(page):
    for block in re.findall(r'```python\n(.*?)```', TEXTS[page], re.S):
        ast.parse(block)


@pytest.mark.parametrize('page', COMMANDS)
def test_no_command_is_overlooked(page):
    kinds = {shlex.split(line)[0] for line in COMMANDS[page]}
    assert kinds <= {'make', 'python', 'pip'}
    assert page != 'README.md' or len(COMMANDS[page]) >= 8


@pytest.mark.parametrize('page, line', commands('make'))
def test_make_targets_are_what_ci_runs(page, line):
    """CI begins with `make demo`, which installs first."""
    makefile, ci = ((ROOT / name).read_text() for name in ('Makefile', '.ci/run'))
    for target in line.split()[1:]:
        assert re.search(rf'^([\w-]+ )*{target}[ :]', makefile, re.M)
        assert target in ('install', 'bench') or re.search(
            rf'^(exec )?make .*\b{target}\b', ci, re.M)
    assert re.search(r'^demo: install', makefile, re.M)


class Parsed(BaseException):
    """Raised where a script would begin its work."""


@pytest.mark.parametrize('page, line', commands('python'))
def test_the_flags_of_every_command_are_known(page, line, monkeypatch):
    """What the commands do is the matter of their own tests, on small data."""
    name, *flags = shlex.split(line)[1:]
    parse = argparse.ArgumentParser.parse_args

    def stop(parser, args=None, namespace=None):
        raise Parsed(parse(parser, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', stop)
    if name == '-m':
        monkeypatch.setattr(sys, 'argv', flags)
        with pytest.raises(Parsed):
            runpy.run_module(flags[0], run_name='__main__')
        return
    monkeypatch.setattr(sys, 'argv', [name, *flags])
    monkeypatch.syspath_prepend((ROOT / name).parent)
    with pytest.raises(SystemExit if '-h' in flags else Parsed):
        runpy.run_path(str(ROOT / name), run_name='__main__')
    paths = [flag.split('=')[-1] for flag in flags if 'proto/' in flag]
    assert all((ROOT / path).is_file() for path in paths)


def test_every_study_is_there():
    assert {path.name for path in ROOT.glob('myPython/offline/*/*_retrieval.py')} <= {
        line.split()[1].split('/')[-1] for line in COMMANDS['docs/studies.md']}


@pytest.mark.parametrize('page, line', commands('python test.py --dataset', ['README.md']))
def test_test_py_commands_run(page, line, small, scorer, tmp_path):
    name, *flags = shlex.split(line)[1:]
    done = run_script(name, *flags, '--dataset', small, '--proto', PROTO, '--weights', TINY,
                      '--S', 280, '--gpu', -1, '--eval_binary', scorer, '--temp_dir', tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith('Mean: ')


@pytest.mark.parametrize('page, line', commands('python -m', ['README.md']))
def test_the_commands_for_photographs_run(page, line, small, tmp_path):
    photos = small / 'jpg'
    words = [{'holiday_photos/': photos, 'query.jpg': min(photos.iterdir())}.get(word, word)
             for word in shlex.split(line)[1:]]
    done = run_script(*words, '--weights', TINY, '--proto', PROTO, '--S', 96, '--gpu', -1,
                      '--cache', tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize('page, line', commands('python caffemodel/make_demo_model.py'))
def test_the_weights_command_runs(page, line, small, tmp_path):
    name, *flags = shlex.split(line)[1:]
    done = run_script(name, *flags, '--proto', PROTO, '--dataset', small, '--S', 64,
                      '--output', tmp_path / 'm.caffemodel')
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('page, line', [pytest.param(*found.values, id=found.id) for found in
                                        commands('python benchmarks/')
                                        if '--chroot' in found.values[1]])
def test_the_genuine_benchmarks_say_what_they_need(page, line, tmp_path):
    """Genuine Caffe is not where tests run; the command must end in a line that says so."""
    name, flag, _ = shlex.split(line)[1:]
    more = ['--proto', PROTO, '--weights', TINY] if 'compare' in name else []
    if 'record' in name:    # what the tests compare with must survive
        more = ['--weights', tmp_path / 'made.caffemodel', '--output', tmp_path / 'made.npz']
    done = run_script(name, flag, tmp_path / 'nowhere', *more)
    assert done.returncode == 1 and '--chroot' in done.stderr and 'Traceback' not in done.stderr
    assert not list(tmp_path.iterdir())


def session():
    """README's session in Python, and the output that it prints there."""
    (code, shown), = re.findall(r'```python\n(import deep_retrieval.*?)```\n.*?```\n(.*?)```',
                                README, re.S)
    return code, shown


def run_session(code, capsys, monkeypatch, folder):
    """Run the session's lines in a folder; returns what they print."""
    monkeypatch.chdir(folder)
    capsys.readouterr()
    exec(compile(code, 'README.md', 'exec'), {})
    return capsys.readouterr().out


def test_the_session_of_the_readme_runs(small, capsys, monkeypatch, tmp_path):
    code, shown = session()
    assert len(code.splitlines()) <= 12
    (tmp_path / 'datasets').mkdir()
    (tmp_path / 'datasets/demo').symlink_to(small)
    for written, stands_in in (
            ("'caffemodel/lite0_rmac.caffemodel'",
             f'{str(TINY)!r}, proto={str(PROTO)!r}, S=96'),
            ('quayside_000001.jpg', min((small / 'jpg').iterdir()).name)):
        assert written in code
        code = code.replace(written, stands_in)
    out = run_session(code, capsys, monkeypatch, tmp_path)
    assert len(out.splitlines()) >= 3
    assert (tmp_path / 'tmp/holiday/gallery/index.html').exists()


@pytest.mark.demo
def test_the_session_prints_what_the_readme_shows(capsys, monkeypatch, tmp_path):
    """After `make demo`. Processors differ in the last digits, so values have a tolerance."""
    torch.set_num_threads(os.cpu_count())
    code, shown = session()
    for name in ('datasets', 'caffemodel'):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / 'tmp/demo', tmp_path / 'tmp/demo')   # the features that it kept
    number = r'\d+\.\d+'
    out = run_session(code, capsys, monkeypatch, tmp_path)
    assert re.sub(number, 'x', out) == re.sub(number, 'x', shown)
    assert [float(value) for value in re.findall(number, out)] == pytest.approx(
        [float(value) for value in re.findall(number, shown)], abs=0.011)
