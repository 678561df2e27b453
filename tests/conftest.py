"""What tests share: nets from text, and scripts run as a user runs them."""

import subprocess
import sys
from pathlib import Path

import caffe
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def cpu():
    caffe.set_mode_cpu()
    caffe.set_random_seed(0)


@pytest.fixture
def make_net(tmp_path):
    """Function: prototxt text -> Net."""
    def make(text, phase=caffe.TEST, **kwargs):
        path = tmp_path / 'net.prototxt'
        path.write_text(text)
        return caffe.Net(str(path), phase, **kwargs)
    return make


def run_script(*args, cwd=None, **kwargs):
    """Run a script of the repository; returns the finished process with its text output."""
    return subprocess.run([sys.executable, *map(str, args)], cwd=cwd or ROOT, text=True,
                          capture_output=True, **kwargs)


def assert_one_line(done, *words):
    """A user's mistake ends in a failing status and one line on stderr that holds `words`."""
    assert done.returncode not in (0, None)
    assert 'Traceback' not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    for word in words:
        assert word in last, done.stderr
