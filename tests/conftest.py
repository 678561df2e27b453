"""What tests share: nets from text, and scripts run as a user runs them."""

import functools
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import caffe
import pytest
import torch
from nursery import Nursery

ROOT = Path(__file__).resolve().parents[1]

# small nets; threads that wait for each other cost more than they bring
torch.set_num_threads(1)
# a job in the background of a shell is started deaf to Ctrl-C, and so is what it starts
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def cpu():
    caffe.set_mode_cpu()
    caffe.set_random_seed(0)


@pytest.fixture(autouse=True)
def environment():
    """A test, or a script that it runs in this process, that leaves a variable behind fails.

    Scripts that later tests start would inherit it.
    """
    def variables():
        return {name: value for name, value in os.environ.items() if name != 'PYTEST_CURRENT_TEST'}
    before = variables()
    with mock.patch.dict(os.environ):
        yield
        after = variables()
    assert after == before


@pytest.fixture(autouse=True)
def library_log():
    """Undo what a script that runs in this process does to the library's log (cli.start_logging).

    Otherwise caplog would not see the messages of later tests.
    """
    yield
    logger = logging.getLogger('deep_retrieval')
    logger.handlers.clear()
    logger.propagate = True


@pytest.fixture
def make_net(tmp_path):
    """Function: prototxt text -> Net."""
    def make(text, phase=caffe.TEST, **kwargs):
        path = tmp_path / 'net.prototxt'
        path.write_text(text)
        return caffe.Net(str(path), phase, **kwargs)
    return make


@functools.cache
def nursery():
    return Nursery()


def run_script(*args, cwd=None, **kwargs):
    """Run a script of the repository; returns the finished process with its text output.

    A script or module without further options is run in a fork of a process that has imported
    everything (nursery.py), others by an interpreter of their own.
    """
    if not kwargs and args[0] not in ('-c', '-X'):
        return nursery().run(args, cwd or ROOT)
    return subprocess.run([sys.executable, *map(str, args)], cwd=cwd or ROOT, text=True,
                          capture_output=True, **kwargs)


def assert_one_line(done, *words):
    """A user's mistake ends in a failing status and one line on stderr that holds `words`."""
    assert done.returncode not in (0, None)
    assert 'Traceback' not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    for word in words:
        assert word in last, done.stderr


def check_gradients(net, name, **options):
    """Compare the gradients of layer `name` with finite differences, in float64.

    At the net's current bottoms and parameters; every bottom but the layer's `no_gradient` and
    every parameter is varied.
    """
    layer = net.layer_dict[name]
    net.reshape()
    bottoms = [torch.tensor(net.blobs[blob].data, dtype=torch.float64)
               for blob in net.bottom_names[name]]
    varied = [i for i in range(len(bottoms)) if i not in layer.no_gradient]
    weights = ([torch.tensor(blob.data, dtype=torch.float64) for blob in layer.blobs]
               if layer.learns else [])

    def function(*leaves):
        tensors = list(bottoms)
        for i, leaf in zip(varied, leaves, strict=False):
            tensors[i] = leaf
        layer._leaves = dict(enumerate(leaves[len(varied):]))
        try:
            return layer.compute(*tensors)
        finally:
            layer._leaves = {}

    leaves = [tensor.clone().requires_grad_() for tensor in [bottoms[i] for i in varied] + weights]
    assert leaves, 'nothing to vary'
    assert torch.autograd.gradcheck(function, leaves, **options)


@pytest.fixture(scope='session')
def small(tmp_path_factory):
    """A rendered dataset of 27 images and 3 queries."""
    folder = tmp_path_factory.mktemp('data') / 'small'
    run_script('datasets/make_demo.py', '--output', folder, '--facades', 3, '--views', 5,
               '--distractors', 12, '--size', 160)
    return folder


@pytest.fixture(scope='session')
def scorer(tmp_path_factory):
    """The compiled compute_ap."""
    binary = tmp_path_factory.mktemp('eval') / 'compute_ap'
    subprocess.run([os.environ.get('CXX', 'g++'), '-O1', '-o', binary,
                    ROOT / 'eval/compute_ap.cpp'], check=True)
    return binary
