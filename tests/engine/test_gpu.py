"""A GPU gives what the CPU and genuine Caffe give, to float32 rounding; where there is a GPU."""

import caffe
import numpy as np
import pytest
import torch
from recorded_cases import CASES, LOG_NET, LOG_SOLVER, run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no GPU')


@pytest.fixture(autouse=True)
def gpu(cpu):
    caffe.set_device(0)
    caffe.set_mode_gpu()
    yield
    caffe.set_mode_cpu()


def test_every_recorded_case(make_net):
    failed = {}
    for case in CASES:
        case, arrays = case.values
        try:
            run(make_net(case['prototxt'], getattr(caffe, case['phase'])), arrays, tolerance=1e-4)
        except AssertionError as error:
            failed[case['name']] = str(error).splitlines()[:6]
    assert not failed


def test_what_a_user_writes_and_reads_is_on_the_gpu_too(make_net):
    net = make_net('layer { name: "x" type: "Input" top: "x" '
                   'input_param { shape { dim: 2 dim: 3 } } } '
                   'layer { name: "y" type: "Power" bottom: "x" top: "y" '
                   'power_param { scale: 2 } } force_backward: true')
    held_in, held_out = net.blobs['x'].data, net.blobs['y'].data
    for value in (1, 5):
        held_in[...] = value
        net.forward()
        assert net.blobs['y'].tensor.device.type == 'cuda'
        assert (net.blobs['y'].data == 2 * value).all() and (held_out == 2 * value).all()
        net.blobs['y'].diff[...] = value
        net.backward()
        assert (net.blobs['x'].diff == 2 * value).all()


@pytest.mark.parametrize('kind', ['SGD', 'Nesterov', 'AdaGrad', 'RMSProp', 'AdaDelta', 'Adam'])
def test_training_equals_the_cpus(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'net.prototxt').write_text(LOG_NET)
    (tmp_path / 'solver.prototxt').write_text(f'net: "net.prototxt" type: "{kind}" {LOG_SOLVER}')
    weights = []
    for mode in (caffe.set_mode_cpu, caffe.set_mode_gpu):
        mode()
        solver = caffe.get_solver('solver.prototxt')
        solver.net.params['ip'][0].data[...] = [[0.5, -1, 2]]
        solver.step(5)
        weights.append(solver.net.params['ip'][0].data.copy())
    np.testing.assert_allclose(weights[1], weights[0], rtol=1e-5, atol=1e-6)


def test_a_net_moves_between_cpu_and_gpu(make_net):
    net = make_net(CASES[0].values[0]['prototxt'])
    name = net.inputs[0]
    net.blobs[name].data[...] = np.random.default_rng(0).normal(size=net.blobs[name].shape)
    outputs = []
    for mode in (caffe.set_mode_gpu, caffe.set_mode_cpu, caffe.set_mode_gpu):
        mode()
        outputs.append({key: value.copy() for key, value in net.forward().items()})
    for key, value in outputs[0].items():
        np.testing.assert_allclose(outputs[1][key], value, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(outputs[2][key], value)
