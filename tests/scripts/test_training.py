"""train.py: settings, resuming to the same bytes, logs and plots; on a small net."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import caffe
import cv2
import numpy as np
import pytest
import yaml
from caffe.proto import caffe_pb2
from conftest import ROOT, assert_one_line, run_script
from deep_retrieval.training import settings, training_log

NET = '''name: "small"
layer { name: "data" type: "ImageData" top: "data" top: "label" transform_param { mirror: true }
        image_data_param { source: "list.txt" batch_size: 3 shuffle: true root_folder: "img/" } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 4
        weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
'''
SOLVER = '''net: "net.prototxt" base_lr: 1e-5 momentum: 0.9 lr_policy: "step" gamma: 0.5 stepsize: 6
max_iter: 12 display: 1 snapshot: 5 snapshot_prefix: "out/small" random_seed: 3 iter_size: 2 '''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('img').mkdir()
    Path('out').mkdir()
    rng = np.random.default_rng(0)
    for i in range(7):
        cv2.imwrite(f'img/{i}.png', rng.integers(0, 256, (6, 5, 3), np.uint8))
    Path('list.txt').write_text(''.join(f'{i}.png {i % 4}\n' for i in range(7)))
    Path('net.prototxt').write_text(NET)
    Path('solver.prototxt').write_text(SOLVER)
    return tmp_path


def train(*flags, cwd):
    return run_script(ROOT / 'myPython/train.py', '--solver', 'solver.prototxt', '--gpu', -1,
                      *flags, cwd=cwd)


def test_the_documentation_has_every_flag():
    table = (ROOT / 'docs/training.md').read_text().split('## train.py')[1].split('## ')[0]
    flags = set(re.findall(r'--[a-z_]+', run_script(ROOT / 'myPython/train.py', '-h').stdout))
    assert flags - {'--help', '--debug'} == set(re.findall(r'^\| `(--[a-z_]+)', table, re.M))


def test_a_resumed_run_ends_in_the_same_bytes(folder):
    done = train('--plot', 'loss.png', cwd=folder)
    assert done.returncode == 0, done.stderr
    whole = Path('out/small_iter_12.caffemodel').read_bytes()
    log = Path('out/small.log').read_text()
    assert log.splitlines() == [line for line in done.stderr.splitlines()
                                if re.match('[IWE][0-9]{4}', line)]
    loss, rate = training_log.read_log('out/small.log')
    assert [i for i, _ in loss] == list(range(13)) and dict(rate)[11] == pytest.approx(5e-6)
    assert cv2.imread('loss.png').std() > 5
    Path('out/small_iter_12.caffemodel').unlink()
    done = train('--snapshot', 'out/small_iter_5.solverstate', cwd=folder)
    assert done.returncode == 0, done.stderr
    assert Path('out/small_iter_12.caffemodel').read_bytes() == whole


def test_a_log_of_several_runs_gives_each_iteration_once(tmp_path):
    """As of a run that was killed after iteration 3, resumed from 2, and then begun again."""
    def lines(iterations, loss):
        return ''.join(f'I] Iteration {i} (9 iter/s, 1s/1 iters), loss = {loss}\n'
                       f'I] Iteration {i}, lr = 0.{loss}\n' for i in iterations)
    text = lines(range(4), 1) + lines(range(2, 6), 2)
    (tmp_path / 'log').write_text(text)
    loss, rate = training_log.read_log(tmp_path / 'log')
    assert loss == [(0, 1), (1, 1), (2, 2), (3, 2), (4, 2), (5, 2)]
    assert [i for i, _ in rate] == list(range(6))
    (tmp_path / 'log').write_text(text + lines(range(2), 3))
    assert training_log.read_log(tmp_path / 'log')[0] == [(0, 3), (1, 3)]


def test_ctrl_c_leaves_a_snapshot_to_go_on_from(folder):
    flags = ['--set', 'solver.max_iter=100000', 'solver.snapshot=0', 'solver.display=20']
    running = subprocess.Popen(
        [sys.executable, ROOT / 'myPython/train.py', '--solver', 'solver.prototxt', '--gpu', '-1',
         *flags],
        stderr=subprocess.PIPE, text=True)
    for line in running.stderr:
        if 'Iteration 40 ' in line:
            running.send_signal(signal.SIGINT)
            break
    rest = running.stderr.read()
    assert running.wait() == 130 and 'stopped early' in rest
    state, = Path('out').glob('*.solverstate')
    reached = int(re.search(r'_iter_(\d+)', state.name)[1])
    stopped = state.with_suffix('.caffemodel').read_bytes()
    done = train('--set', f'solver.max_iter={reached}', cwd=folder)
    assert done.returncode == 0 and state.with_suffix('.caffemodel').read_bytes() == stopped


def test_settings_reach_layers_and_solver(folder):
    done = train('--set', 'data.batch_size=5', 'solver.max_iter=2', 'solver.lr_policy=fixed',
                 'ip.num_output=6', cwd=folder)
    assert done.returncode == 0, done.stderr
    text = Path('out/small_net.prototxt').read_text()
    assert 'batch_size: 5' in text and 'num_output: 6' in text
    net = caffe.Net('out/small_net.prototxt', 'out/small_iter_2.caffemodel', caffe.TRAIN)
    assert net.blobs['data'].shape[0] == 5 and net.params['ip'][0].shape[0] == 6


def test_settings_of_python_layers():
    param = caffe_pb2.NetParameter()
    layer = param.layer.add(name='a/b.c', type='Python')
    layer.python_param.param_str = "{'batch_size': 12, 'mean': [1, 2]}"
    name, field, value = settings.parse_setting('a/b.c.batch_size=3')
    settings.set_in_layer(param, name, field, value, 'net')
    settings.set_in_layer(param, name, 'cls_dir', 'some/folder', 'net')
    assert yaml.safe_load(layer.python_param.param_str) == {
        'batch_size': 3, 'mean': [1, 2], 'cls_dir': 'some/folder'}


@pytest.mark.parametrize('flags, words', [
    (['--set', 'data.batch_size'], ['NAME.FIELD=VALUE']),
    (['--set', 'nope.batch_size=3'], ['nope', 'net.prototxt']),
    (['--set', 'data.batch_sise=3'], ['batch_sise']),
    (['--set', 'data.batch_size=many'], ['batch_size=many']),
    (['--set', 'solver.net=none.prototxt'], ['none.prototxt', 'does not exist']),
    (['--set', 'solver.snapshot_prefix=gone/x'], ["make the folder 'gone'"]),
    (['--weights', 'none.caffemodel'], ['none.caffemodel']),
    (['--weights', 'img'], ['img: is a folder, not a file']),
    (['--plot', 'x.zork'], ['x.zork', 'known are', 'png']),
    (['--plot', 'img'], ['img: is a folder']),
    (['--snapshot', 'none.solverstate'], ['none.solverstate']),
    (['--set', 'data.source=none.txt'], ['none.txt', "'data'"]),
])
def test_mistakes_are_one_line(flags, words, folder):
    done = train(*flags, cwd=folder)
    assert_one_line(done, *words)
    assert 'Iteration' not in done.stderr
    assert list(Path('out').iterdir()) == []


def test_weights_of_another_head_and_of_another_net(folder):
    assert train('--set', 'solver.max_iter=1', cwd=folder).returncode == 0
    weights = 'out/small_iter_1.caffemodel'
    assert_one_line(train('--weights', weights, '--set', 'ip.num_output=9', cwd=folder),
                    weights, "'ip'", '(4, 90)', '(9, 90)')
    Path('net.prototxt').write_text(NET.replace('"ip"', '"other"'))
    assert_one_line(train('--weights', weights, cwd=folder), 'has no layers of small')


@pytest.mark.parametrize('layer', [
    'type: "ImageData" transform_param { mirror: true } image_data_param { source: "list.txt" '
    'batch_size: 3 shuffle: true root_folder: "img/" }',
    'type: "HDF5Data" hdf5_data_param { source: "h5.txt" batch_size: 3 shuffle: true }'])
def test_skipping_equals_reading(layer, folder, make_net):
    import h5py
    with h5py.File('rows.h5', 'w') as file:
        file['data'], file['label'] = np.arange(20.).reshape(10, 2), np.arange(10.)
    Path('h5.txt').write_text('rows.h5\n')
    text = f'layer {{ name: "d" top: "data" top: "label" {layer} }}'
    caffe.set_random_seed(1)
    read = make_net(text, caffe.TRAIN)
    for _ in range(6):
        expected = {name: value.copy() for name, value in read.forward().items()}
    caffe.set_random_seed(1)
    skipped = make_net(text, caffe.TRAIN)
    skipped.layers[0].skip(5)
    for name, value in skipped.forward().items():
        np.testing.assert_array_equal(value, expected[name])
