"""Damaged input files of training and surgery end in status 1 and one line that names the file."""

import io
import os
import random
import re
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from deep_retrieval import cli
from deep_retrieval.surgery import tools
from deep_retrieval.training import solving
from torch_resnet import ResNet

VARIANTS = int(os.environ.get('DAMAGED_VARIANTS', 40))     # of each file
PROTO = ROOT / 'proto/deploy_resnet_tiny.prototxt'
NET = '''name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "label" type: "DummyData" top: "label" dummy_data_param { shape { dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param {
        num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "wanted" type: "Python" bottom: "label" top: "wanted" python_param {
        module: "custom_layers" layer: "FeatureLayer"
        param_str: "{'features': 'features.npy'}" } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "wanted" top: "loss" }
'''
SOLVER = '''net: "net.prototxt" base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" max_iter: 2
snapshot: 1 display: 0 snapshot_prefix: "out/small" random_seed: 3 '''


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


@contextmanager
def messages():
    """A list that gets the lines on stderr, without the log, as a terminal shows them."""
    lines, stderr = [], sys.stderr
    sys.stderr = io.TextIOWrapper(io.BytesIO(), 'utf-8', errors='backslashreplace')
    try:
        yield lines
    finally:
        sys.stderr.flush()
        text = sys.stderr.buffer.getvalue().decode()
        lines += [line for line in text.splitlines() if not re.match('[IW][0-9]{4} ', line)]
        sys.stderr = stderr


def outcome(function, *args):
    """None if the call succeeds, or the line in which it ends."""
    with messages() as lines:
        try:
            with cli.user_errors():
                function(*args)
            return None
        except SystemExit as end:
            assert end.code == 1
    assert len(lines) == 1, lines
    return lines[0]


def campaign(name, function, names=()):
    """Call a function of a path with damaged variants of a file; returns how many it refused.

    The line names the file, one of `names` or a file that does not exist, and the folder `out`
    stays empty.
    """
    whole, rng, refused = Path(name).read_bytes(), random.Random(name), 0
    for _ in range(VARIANTS):
        for path in Path('out').iterdir():
            path.unlink()
        Path(name).write_bytes(damage(whole, rng))
        line = outcome(function, name)
        if line is not None:
            refused += 1
            assert any(file in line for file in (name, *names, 'No such file')), line
            assert list(Path('out').iterdir()) == [], line
    return refused


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
def test_damaged_inputs_of_training(name, folder):
    assert campaign(name, CALLS[name]) > VARIANTS / 4


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A folder with a small ResNet of PyTorch in its formats."""
    monkeypatch.chdir(tmp_path)
    Path('out').mkdir()
    torch.manual_seed(0)
    return ResNet().state_dict()


def import_torch(path):
    tools.import_torch(PROTO, path, 'out/a.prototxt', 'out/a.caffemodel', (.5, .5, .5), (1, 1, 1))


@pytest.mark.parametrize('name, options', [
    ('a.pth', {}), ('b.pth', {'_use_new_zipfile_serialization': False})])
def test_damaged_state_dicts(name, options, state):
    torch.save(state, name, **options)
    assert campaign(name, import_torch) > VARIANTS / 4


def test_damaged_safetensors(state):
    pytest.importorskip('safetensors.torch').save_file(state, 'a.safetensors')
    assert campaign('a.safetensors', import_torch) > VARIANTS / 8


@pytest.mark.parametrize('name', ['net.prototxt', 'made/small_iter_2.caffemodel'])
def test_damaged_inputs_of_surgery(name, folder):
    def fold(path):
        tools.fold('net.prototxt', 'made/small_iter_2.caffemodel', 'out/a.prototxt',
                   'out/a.caffemodel')

    assert campaign(name, fold, ['small_iter_2.caffemodel']) > VARIANTS / 4


@pytest.mark.parametrize('name', ['a.pth', 'weights.caffemodel', 'old.caffemodel', 'a.safetensors'])
def test_weights_of_pytorch_name_the_importer(name, folder):
    if name.startswith('a.safe'):
        pytest.importorskip('safetensors.torch').save_file({'w': torch.zeros(3)}, name)
    else:
        torch.save({'w': torch.zeros(3)}, name, _use_new_zipfile_serialization=name[0] != 'o')
    line = outcome(lambda: solving.train('solver.prototxt', weights=[name]))
    assert f'{name}: is not a caffemodel; convert it with myPython/model_tools.py import' in (
        line)
    assert list(Path('out').iterdir()) == []


def test_weights_as_hdf5_are_known_by_their_content(folder):
    Path('made/small_iter_2.caffemodel.h5').rename('weights.caffemodel')
    whole = Path('made/small_iter_2.caffemodel')
    for path, copy in (('weights.caffemodel', 'h5'), (whole, 'binary')):
        solving.train('solver.prototxt', weights=[str(path)])
        Path('out/small_iter_2.caffemodel').rename(copy)
    assert Path('h5').read_bytes() == Path('binary').read_bytes()


@pytest.mark.parametrize('content, words', [
    (b'', 'has no layers of small'), (b'{"a": 1}', 'is not a caffemodel'),
    (b'name: "small"', 'is not a caffemodel'), (b'\x89HDF\r\n\x1a\n', 'damaged HDF5')])
def test_files_that_are_no_weights(content, words, folder):
    Path('x.caffemodel').write_bytes(content)
    line = outcome(lambda: solving.train('solver.prototxt', weights=['x.caffemodel']))
    assert 'x.caffemodel: ' in line and words in line
    assert list(Path('out').iterdir()) == []


def test_a_training_that_fails_restores_the_files_of_an_earlier_one(folder):
    solving.train('solver.prototxt')
    before = {path: path.read_bytes() for path in Path('out').iterdir()}
    Path('x.caffemodel').write_bytes(b'no weights')
    assert outcome(lambda: solving.train('solver.prototxt', weights=['x.caffemodel'],
                                         settings=['solver.base_lr=7']))
    np.save('features.npy', np.full((3, 4), np.nan, np.float32))      # fails in the first forward
    line = outcome(lambda: solving.train('solver.prototxt'))
    assert 'features.npy: row 0 is not finite' in line
    assert {path: path.read_bytes() for path in Path('out').iterdir()} == before


def test_a_training_that_fails_after_a_snapshot_keeps_its_files(folder):
    def fail(*args):
        raise ValueError('the picture cannot be drawn')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solving, 'plot', fail)
        assert 'cannot be drawn' in outcome(
            lambda: solving.train('solver.prototxt', plot_file='out/a.png'))
    assert {'small.log', 'small_net.prototxt', 'small_iter_2.solverstate'} <= {
        path.name for path in Path('out').iterdir()}


def test_errors_name_the_users_files(folder):
    Path('net.prototxt').write_text(NET.replace('num_output: 4', 'num_output: 0'))
    line = outcome(lambda: solving.train('solver.prototxt'))
    assert "net.prototxt: layer 'ip'" in line and 'small_' not in line
    Path('net.prototxt').write_text(NET.replace("'features':", "'rows':"))
    assert 'net.prototxt: FeatureLayer: ' in outcome(lambda: solving.train('solver.prototxt'))
    line = outcome(lambda: solving.train('solver.prototxt', settings=['solver.momentum=-1',
                                                                      'solver.iter_size=0']))
    assert line.split(': ')[1] == 'solver.prototxt'
    line = outcome(lambda: solving.train(
        'solver.prototxt', settings=['solver.snapshot_prefix=gone/x']))
    assert "make the folder 'gone'" in line and not Path('gone').exists()
