"""A plain install: which names it brings, from any folder, and what the extras of setup.py are."""

import os
import re
import shutil
import subprocess
import sys

import caffe.optional
import pytest
from conftest import ROOT
from deep_retrieval import cli, optional


def extras():
    """The extras of setup.py, by name, without running its setup()."""
    source = (ROOT / 'setup.py').read_text()
    names = {}
    exec(source[source.index('EXTRAS ='):source.index('setup(\n')], names)
    return names['EXTRAS']


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A folder that holds what `pip install .` puts into site-packages."""
    pytest.importorskip('setuptools')
    source, target = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('target')
    shutil.copy(ROOT / 'setup.py', source)
    for folder in ('pycaffe', 'myPython'):      # a copy, because the build writes beside setup.py
        shutil.copytree(ROOT / folder, source / folder,
                        ignore=shutil.ignore_patterns('__pycache__', '*.egg-info'))
    done = subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps',
                           '--no-index', '--no-build-isolation', '--disable-pip-version-check',
                           '--target', str(target), str(source)], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return target


def test_only_these_top_level_names(installed):
    found = {path.name for path in installed.iterdir()
             if path.name != '__pycache__' and not path.name.endswith('.dist-info')}
    assert found == {'caffe', 'deep_retrieval', 'custom_layers.py', 'region_generator.py', 'bin'}


def test_no_module_and_no_data_file_is_missing(installed):
    def content(folder):
        return {str(path.relative_to(folder)) for path in folder.rglob('*')
                if path.is_file() and path.suffix != '.pyc'}
    for name, source in (('caffe', 'pycaffe/caffe'), ('deep_retrieval', 'myPython/deep_retrieval')):
        assert content(installed / name) == content(ROOT / source)


def test_imports_and_the_command_from_another_folder(installed, tmp_path):
    environment = {**os.environ, 'PYTHONPATH': str(installed)}
    code = 'import caffe, deep_retrieval, custom_layers, region_generator; print(caffe.__file__)'
    run = lambda *args: subprocess.run([sys.executable, *args], cwd=tmp_path, env=environment,
                                       text=True, capture_output=True, check=True).stdout
    assert run('-c', code).startswith(str(installed))
    assert 'describe' in run(str(installed / 'bin/deep-retrieval'), '--help')


def test_every_extra_that_the_code_names_exists():
    named = {extra for folder in ('myPython', 'pycaffe') for path in (ROOT / folder).rglob('*.py')
             for extra in re.findall(r"\bneed\(f?'[\w.{}]+', '(\w+)'\)", path.read_text())}
    assert named == extras().keys() - {'all', 'test'}


def test_all_and_test_hold_every_extra():
    made = extras()
    packages = {package for name, listed in made.items() if name not in ('all', 'test')
                for package in listed}
    assert set(made['all']) == packages and packages < set(made['test'])


@pytest.mark.parametrize('need', [optional.need, caffe.optional.need])
def test_a_missing_package_is_one_line_with_its_command(need, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'faiss', None)
    with pytest.raises(SystemExit), cli.user_errors():
        need('faiss', 'search')
    line, = capsys.readouterr().err.splitlines()
    assert line.endswith("faiss is needed for this: pip install 'my-deep-retrieval[search]'")


def test_optional_packages_are_imported_by_need_alone():
    optional_modules = r'(faiss|pymilvus|milvus_lite|matplotlib|h5py|lmdb|onnx|safetensors|pydot)'
    found = [str(path.relative_to(ROOT)) for folder in ('myPython', 'pycaffe')
             for path in sorted((ROOT / folder).rglob('*.py'))
             if re.search(rf'^ *(import|from) {optional_modules}\b', path.read_text(), re.M)]
    # a process of its own, which its parent starts once it has lmdb; an exception's class
    assert set(found) <= {'pycaffe/caffe/check_lmdb.py',
                          'myPython/deep_retrieval/search/milvus_store.py'}


def test_the_core_imports_no_optional_package():
    code = ('import sys, runpy\n'
            'sys.argv = ["test.py"]\n'
            'runpy.run_path("test.py", run_name="core")\n'
            'import caffe, deep_retrieval, deep_retrieval.describe, deep_retrieval.evaluate\n'
            'import deep_retrieval.cli\n'
            'print(*sorted({"faiss", "pymilvus", "milvus_lite", "matplotlib", "PIL", "h5py",\n'
            '               "lmdb", "onnx", "safetensors"} & set(sys.modules)))')
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, text=True, capture_output=True)
    assert done.stdout.split() == [], done.stderr
    assert done.returncode == 0, done.stderr


def test_scripts_keep_freed_memory_and_run_with_a_caffe_that_cannot(monkeypatch):
    calls = []
    monkeypatch.setattr(caffe, 'keep_freed_memory', lambda: calls.append(1))
    cli.use_device(-1)
    assert calls == [1]
    monkeypatch.delattr(caffe, 'keep_freed_memory')
    cli.use_device(-1)
