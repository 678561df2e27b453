"""Every command of docs/studies.md names an existing script, which takes its flags."""

import re
import runpy
import shlex
import sys

import pytest
from conftest import ROOT

TEXT = (ROOT / 'docs/studies.md').read_text(encoding='utf-8')
COMMANDS = sorted({*re.findall(r'^(python .*)$', TEXT, re.M), *re.findall(r'`(python .*?)`', TEXT)})


class Parsed(Exception):
    pass


@pytest.mark.parametrize('line', COMMANDS)
def test_the_scripts_take_the_flags(line, monkeypatch):
    def parsed(*args):
        raise Parsed
    name, *flags = shlex.split(line)[1:]
    monkeypatch.setattr(sys, 'argv', [name, *flags])
    monkeypatch.setattr('deep_retrieval.cli.user_errors', parsed)
    monkeypatch.syspath_prepend((ROOT / name).parent)
    with pytest.raises(Parsed):
        runpy.run_path(str(ROOT / name), run_name='__main__')


def test_every_study_is_there():
    assert len(COMMANDS) > 15
    assert {path.name for path in ROOT.glob('myPython/offline/*/*_retrieval.py')} <= {
        line.split()[1].split('/')[-1] for line in COMMANDS}
