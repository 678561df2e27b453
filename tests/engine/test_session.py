"""docs/session.md: its blocks run in their order, and show what they say."""

import re
import shlex
from pathlib import Path

from conftest import ROOT, run_script

BLOCKS = re.findall(r'```(python|sh)\n(.*?)```', (ROOT / 'docs/session.md').read_text(), re.S)


def test_every_block_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names = {}
    for kind, text in BLOCKS:
        if kind == 'python':
            exec(compile(text, 'docs/session.md', 'exec'), names)
            continue
        command = shlex.split(text)
        assert command.pop(0) == 'caffe'
        Path('lenet_iter_300.caffemodel').unlink()
        done = run_script('-m', 'caffe.tools.caffe', *command, cwd='.')
        assert done.returncode == 0, done.stderr
        assert Path('lenet_iter_300.caffemodel').exists()
    out = capsys.readouterr().out
    assert names['accuracy'] > 0.97
    assert f'{names["accuracy"]:.3f}' in out and '[[2. 4. 6.]]' in out
    assert names['saliency'].shape == (28, 28) and names['saliency'].any()
