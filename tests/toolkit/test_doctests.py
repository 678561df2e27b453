"""The examples in docstrings give what they show; the results were worked out by hand."""

import doctest
import importlib
import re

import pytest
from conftest import ROOT

SOURCES = {'caffe': ROOT / 'pycaffe/caffe', 'deep_retrieval': ROOT / 'myPython/deep_retrieval',
           'region_generator': ROOT / 'myPython/region_generator.py',
           'custom_layers': ROOT / 'myPython/custom_layers.py'}


def modules():
    """Names of the modules that hold examples which can be run."""
    found = []
    for name, source in SOURCES.items():
        for path in sorted(source.rglob('*.py')) if source.is_dir() else [source]:
            if re.search(r'>>> (?!.*\+SKIP)', path.read_text()):
                inside = path.relative_to(source).with_suffix('').parts if source.is_dir() else ()
                found.append('.'.join([name, *(part for part in inside if part != '__init__')]))
    return found


@pytest.mark.parametrize('name', modules())
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried and not failed


def test_the_modules_whose_examples_are_run():
    found = set(modules())
    assert {'caffe.io', 'deep_retrieval.metrics', 'deep_retrieval.scales',
            'region_generator'} <= found
