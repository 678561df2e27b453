"""Damaged input files of training and surgery end in status 1 and one line that names the file."""

import os
import random
from pathlib import Path

import caffe
import numpy as np
import pytest
import torch
from caffe.proto import caffe_pb2
from conftest import ROOT
from deep_retrieval import cli
from deep_retrieval.surgery import nets, tools
from deep_retrieval.training import solving
from google.protobuf import text_format
from test_torch_import import ResNet

VARIANTS = int(os.environ.get('DAMAGED_VARIANTS', 40))     # of each file
PROTO = ROOT / 'proto/deploy_resnet_tiny.prototxt'
NET = '''name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "label" type: "DummyData" top: "label" dummy_data_param { shape { dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param {
        num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "wanted" type: "Python" bottom: "label" top: "wanted" python_param {
        module: "custom_layers" layer: "FeatureLayer" param_str: "{'features': 'features.npy'}" } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "wanted" top: "loss" }
'''
SOLVER = '''net: "net.prototxt" base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" max_iter: 2 snapshot: 1
display: 0 snapshot_prefix: "out/small" random_seed: 3 '''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of whole inputs: a net, its solver, weights and states in both formats."""
    monkeypatch.chdir(tmp_path)
    for name in ('made', 'out'):
        Path(name).mkdir()
    np.save('features.npy', np.ones((3, 4), np.float32))
    Path('net.prototxt').write_text(NET)
    Path('solver.prototxt').write_text(SOLVER)
    for kind in ('', ' snapshot_format: HDF5'):
        Path('made.prototxt').write_text(SOLVER.replace('out/', 'made/') + kind)
        solving.train('made.prototxt')
    return tmp_path


def damage(data, rng):
    """The bytes of a file, damaged in one of several ways."""
    kind, place = rng.randrange(6), rng.randrange(len(data))
    if kind == 0:
        return data[:place]
    if kind == 1:       # where the structure is: most of the rest are values
        place = rng.randrange(min(len(data), 200))
    if kind <= 2:
        return data[:place] + bytes([rng.randrange(256)]) + data[place + 1:]
    length = rng.randrange(1, 20)
    if kind == 3:
        return data[:place] + data[place + length:]
    if kind == 4:
        return data[:place] + rng.randbytes(length) + data[place:]
    return rng.randbytes(min(len(data), 2000))


def outcome(function, capsys):
    """None where the call succeeds, or the line in which it ends."""
    capsys.readouterr()
    try:
        with cli.user_errors():
            function()
    except SystemExit as end:
        lines = [line for line in capsys.readouterr().err.splitlines()
                 if not line.startswith(('I', 'W', 'E')) or not line[1:5].isdigit()]
        assert end.code == 1 and len(lines) == 1, lines
        return lines[0]
    finally:
        caffe.copy_log(None)


CALLS = {
    'made/small_iter_2.caffemodel': lambda path: solving.train('solver.prototxt', weights=[path]),
    'made/small_iter_2.caffemodel.h5': lambda path: solving.train('solver.prototxt',
                                                                  weights=[path]),
    'made/small_iter_1.solverstate': lambda path: solving.train('solver.prototxt', snapshot=path),
    'made/small_iter_1.solverstate.h5': lambda path: solving.train('solver.prototxt',
                                                                   snapshot=path),
    'net.prototxt': lambda path: solving.train('solver.prototxt'),
    'solver.prototxt': solving.train,
    'features.npy': lambda path: solving.train('solver.prototxt'),
}


@pytest.mark.parametrize('name', CALLS)
def test_damaged_inputs_of_training(name, folder, capsys):
    whole, rng = Path(name).read_bytes(), random.Random(name)
    refused = 0
    for _ in range(VARIANTS):
        for path in Path('out').iterdir():
            path.unlink()
        Path(name).write_bytes(damage(whole, rng))
        line = outcome(lambda: CALLS[name](name), capsys)
        if line is not None:
            refused += 1
            assert name in line or name == 'net.prototxt', line
            assert list(Path('out').iterdir()) == [], line
    assert refused > VARIANTS / 4
