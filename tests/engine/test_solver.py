"""Solvers against genuine Caffe: from the start, resumed from its snapshots, and what they log."""

import os
import re
import subprocess
import sys
from pathlib import Path

import caffe
import numpy as np
import pytest
from recorded_cases import LOG_NET, LOG_SOLVER, load

DATA = Path(__file__).parents[1] / 'data/genuine/solvers'


# steps.npz and more_steps.npz: 8 and 5 settings that genuine Caffe stepped 12 times
CASES = [pytest.param(*case, id=case[0]['name'])
         for name in ('steps.npz', 'more_steps.npz') for case in load(f'solvers/{name}')]


# The loss of this one grows to 1e21, and rounding with it: genuine Caffe differs from its own
# recording by 0.5 to 7 in 1000, as OpenBLAS picks its kernels for Haswell or Sandybridge instead
# of Prescott.
DIVERGING = {'nesterov': 2e-2}


@pytest.fixture
def make_solver(tmp_path, monkeypatch):
    """Function: solver text, net text -> solver, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def make(text, net):
        Path('net.prototxt').write_text(net)
        Path('solver.prototxt').write_text(f'net: "net.prototxt" {text}')
        return caffe.get_solver('solver.prototxt')
    return make


def set_params(net, arrays, prefix):
    for key, value in arrays.items():
        if key.startswith(prefix + '/'):
            _, layer, index = key.split('/')
            net.params[layer][int(index)].data[...] = value


def check_params(net, arrays, prefix, tolerance):
    checked = 0
    for key, value in arrays.items():
        if key.startswith(prefix + '/'):
            _, layer, index = key.split('/')
            scale = max(1, np.abs(value).max())
            np.testing.assert_allclose(net.params[layer][int(index)].data, value,
                                       rtol=tolerance, atol=tolerance * scale, err_msg=key)
            checked += 1
    assert checked == 11


def run(solver, arrays, first, last, tolerance=5e-5):
    for k in range(first, last):
        solver.net.blobs['data'].data[...] = arrays['X'][k]
        solver.net.blobs['target'].data[...] = arrays['T'][k]
        solver.step(1)
        np.testing.assert_allclose(float(solver.net.blobs['loss'].data), arrays['loss'][k],
                                   rtol=tolerance, atol=1e-6)
        if f'after{k + 1}/ip/0' in arrays:
            check_params(solver.net, arrays, f'after{k + 1}', tolerance)


@pytest.mark.parametrize('case, arrays', CASES)
def test_steps_equal_genuine_caffe(case, arrays, make_solver):
    solver = make_solver(case['solver'], case['net'])
    set_params(solver.net, arrays, 'init')
    run(solver, arrays, 0, case['iters'], DIVERGING.get(case['name'], 5e-5))
    assert solver.iter == case['iters']


@pytest.mark.parametrize('case, arrays', CASES)
def test_goes_on_from_a_snapshot_of_genuine_caffe(case, arrays, make_solver):
    solver = make_solver(case['solver'], case['net'])
    # the state names its model where it was written: elsewhere, so it is found beside the state
    state, = DATA.glob(f'{case["name"]}_iter_6.solverstate*')
    solver.restore(str(state))
    assert solver.iter == 6
    check_params(solver.net, arrays, 'after6', 1e-7)
    run(solver, arrays, 6, case['iters'], DIVERGING.get(case['name'], 5e-5))


@pytest.mark.parametrize('kind', ['BINARYPROTO', 'HDF5'])
@pytest.mark.parametrize('name', ['sgd_multistep', 'adam', 'adadelta'])
def test_own_snapshots_resume_to_equal_bytes(name, kind, make_solver):
    case, arrays = next(case.values for case in CASES if case.id == name)
    text = re.sub('snapshot_format: [A-Z0-9]+', f'snapshot_format: {kind}', case['solver'])
    text = re.sub('snapshot_prefix: "[^"]*"', 'snapshot_prefix: "s"', text)
    solver = make_solver(text, case['net'])
    set_params(solver.net, arrays, 'init')
    run(solver, arrays, 0, 6)
    solver.snapshot()
    run(solver, arrays, 6, 12)
    other = caffe.get_solver('solver.prototxt')
    suffix = '.h5' if kind == 'HDF5' else ''
    other.restore(f's_iter_6.solverstate{suffix}')
    run(other, arrays, 6, 12)
    for layer, blobs in solver.net.params.items():
        for mine, theirs in zip(blobs, other.net.params[layer]):
            assert mine.data.tobytes() == theirs.data.tobytes()


def test_log_equals_genuine_caffes(make_solver, capsys):
    make_solver(LOG_SOLVER, LOG_NET).solve()
    lines = capsys.readouterr().err.splitlines()
    pattern = r'[IW]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [a-z_]+\.py:\d+\] (.*)'
    messages = [re.fullmatch(pattern, line)[1] for line in lines]
    timing = re.compile(r'\([-.e0-9]+ iter/s, [-.e0-9]+s/')
    expected = (DATA / 'log.txt').read_text().splitlines()
    assert [timing.sub('(', line) for line in messages] == [
        timing.sub('(', line) for line in expected]


def test_minloglevel_silences(make_solver, capsys):
    solver = make_solver(LOG_SOLVER, LOG_NET)
    caffe.init_log(1)
    try:
        solver.step(1)
    finally:
        caffe.init_log(0)
    assert capsys.readouterr().err == ''


def test_nan_is_said_once_with_iteration_and_layer(make_solver, capsys):
    solver = make_solver('base_lr: 0.1 lr_policy: "fixed" max_iter: 9 snapshot_prefix: "x"',
                         LOG_NET)
    solver.step(2)
    solver.net.params['ip'][0].data[...] = np.nan
    solver.step(3)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith('W')]
    assert len(lines) == 1 and "Iteration 2: the loss is nan in layer 'L'" in lines[0]


def test_callbacks_and_apply_update(make_solver):
    solver = make_solver('base_lr: 0.1 lr_policy: "step" stepsize: 1 gamma: 0.5 '
                         'snapshot_prefix: "x"', LOG_NET)
    calls = []
    solver.add_callback(lambda: calls.append(('start', solver.iter)),
                        lambda: calls.append(('gradients', solver.iter)))
    solver.step(2)
    assert calls == [('start', 0), ('gradients', 0), ('start', 1), ('gradients', 1)]
    assert solver.lr == pytest.approx(0.025)
    weights = solver.net.params['ip'][0].data.copy()
    solver.net.clear_param_diffs()
    solver.net.forward()
    solver.net.backward()
    gradient = solver.net.params['ip'][0].diff.copy()
    solver.apply_update()
    assert solver.iter == 3
    # without momentum the update is the gradient times the rate, and stands in diff
    np.testing.assert_allclose(solver.net.params['ip'][0].diff, 0.025 * gradient, rtol=1e-6)
    np.testing.assert_allclose(solver.net.params['ip'][0].data, weights - 0.025 * gradient,
                               rtol=1e-6)


@pytest.mark.parametrize('policy, expected', [
    ('lr_policy: "fixed"', [1, 1, 1, 1]),
    ('lr_policy: "step" gamma: 0.1 stepsize: 2', [1, 1, 0.1, 0.1]),
    ('lr_policy: "exp" gamma: 0.5', [1, 0.5, 0.25, 0.125]),
    ('lr_policy: "inv" gamma: 1 power: 2', [1, 1 / 4, 1 / 9, 1 / 16]),
    ('lr_policy: "multistep" gamma: 0.1 stepvalue: 1 stepvalue: 3', [1, 0.1, 0.1, 0.01]),
    ('lr_policy: "poly" power: 2 max_iter: 4', [1, 9 / 16, 1 / 4, 1 / 16]),
    ('lr_policy: "sigmoid" gamma: -1 stepsize: 1', [1 / (1 + np.exp(-1)), 1 / 2,
                                                   1 / (1 + np.exp(1)), 1 / (1 + np.exp(2))]),
])
def test_learning_rates(policy, expected, make_solver):
    solver = make_solver(f'base_lr: 1 snapshot_prefix: "x" {policy}', LOG_NET)
    rates = []
    for _ in expected:
        rates.append(solver.lr)
        solver.step(1)
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_test_nets_share_weights_and_average(make_solver):
    train = LOG_NET.split('layer { name: "ip"')[0]
    test = train.replace('name: "lg"', '').replace('value: 1', 'value: 2')
    net = LOG_NET.replace(train, train.replace('"x"', '"x" include { phase: TRAIN }', 1)
                          + test.replace('"x"', '"x" include { phase: TEST stage: "b" }', 1))
    solver = make_solver('test_iter: 3 test_interval: 100 test_state { stage: "b" } base_lr: 0.1 '
                         'lr_policy: "fixed" snapshot_prefix: "x" test_initialization: false', net)
    solver.net.params['ip'][0].data[...] = [[1, 2, 4]]
    assert solver.test_nets[0].params['ip'][0].data.tolist() == [[1, 2, 4]]
    assert solver.test()['loss'] == (14 - 2) ** 2 / 2


def test_frozen_parameters_stay_and_cost_nothing(make_solver):
    net = LOG_NET.replace('top: "ip" inner',
                          'top: "h" param { lr_mult: 0 } param { lr_mult: 0 } inner')
    net = net.replace('layer { name: "L"',
                      'layer { name: "top" type: "InnerProduct" bottom: "h" top: "ip" '
                      'inner_product_param { num_output: 1 } } layer { name: "L"')
    solver = make_solver('base_lr: 0.1 weight_decay: 0.1 momentum: 0.9 lr_policy: "fixed" '
                         'snapshot_prefix: "x"', net)
    solver.net.params['ip'][0].data[...] = 1
    solver.step(2)
    assert (solver.net.params['ip'][0].data == 1).all()
    assert not solver.net.blobs['h'].has_diff
    assert solver.net.params['top'][0].data.any()


@pytest.mark.parametrize('text, words', [
    ('lr_policy: "foo"', ['foo', 'fixed']),
    ('lr_policy: "fixed" type: "Foo"', ['Foo', 'SGD']),
    ('lr_policy: "step"', ['stepsize']),
    ('lr_policy: "fixed" snapshot: 1 snapshot_prefix: "none/such/x"',
     ['none/such', 'snapshot_prefix']),
    ('lr_policy: "fixed" test_iter: 1', ['test_interval']),
    ('lr_policy: "fixed" train_net: "net.prototxt"', ['one of']),
    ('lr_policy: "fixed" type: "AdaGrad" momentum: 0.9', ['momentum', 'AdaGrad']),
    ('lr_policy: "fixed" regularization_type: "L3"', ['L3']),
    ('lr_policy: "fixed" iter_size: 0', ['iter_size']),
    ('lr_policy: "fixed" no_such: 1', ['solver.prototxt:1', 'no_such']),
])
def test_bad_solvers_are_one_line_errors(text, words, make_solver):
    with pytest.raises(caffe.CaffeError) as error:
        make_solver(text, LOG_NET)
    assert '\n' not in str(error.value)
    for word in ['solver.prototxt', *words]:
        assert word in str(error.value)


def test_a_state_of_another_net_changes_nothing(make_solver):
    solver = make_solver('base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "x"', LOG_NET)
    before = solver.net.params['ip'][0].data.copy()
    with pytest.raises(caffe.CaffeError, match='sgd_iter_6.solverstate.*history'):
        solver.restore(str(DATA / 'sgd_iter_6.solverstate'))
    assert solver.iter == 0 and (solver.net.params['ip'][0].data == before).all()


def test_a_snapshot_that_cannot_be_written_leaves_the_older(make_solver):
    solver = make_solver('base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "keep/x"', LOG_NET)
    os.mkdir('keep')
    solver.snapshot()
    older = {path.name: path.read_bytes() for path in Path('keep').iterdir()}
    os.rename('keep', 'kept')
    with pytest.raises(caffe.CaffeError, match='keep/x_iter_0.caffemodel'):
        solver.snapshot()
    assert {path.name: path.read_bytes() for path in Path('kept').iterdir()} == older


SIGINT = '''
import os, signal, sys, caffe
solver = caffe.get_solver('solver.prototxt')
def interrupt():
    if solver.iter == 5:
        os.kill(os.getpid(), signal.SIGINT)
solver.add_callback(lambda: None, interrupt)
solver.solve()
print('ended at', solver.iter)
'''


def test_sigint_snapshots_and_stops(make_solver):
    make_solver('base_lr: 0.001 lr_policy: "fixed" max_iter: 100000 snapshot_prefix: "x"', LOG_NET)
    done = subprocess.run([sys.executable, '-c', SIGINT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == 'ended at 6\n'
    assert 'Optimization stopped early.' in done.stderr
    assert Path('x_iter_6.solverstate').exists() and Path('x_iter_6.caffemodel').exists()


def test_random_seed_repeats_a_run(make_solver):
    net = LOG_NET.replace(
        'num_output: 1 }', 'num_output: 1 weight_filler { type: "xavier" } }').replace(
        '"constant" value: 1', '"gaussian"')
    weights = []
    for _ in range(2):
        solver = make_solver('base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "x" random_seed: 7',
                             net)
        solver.step(3)
        weights.append(solver.net.params['ip'][0].data.tobytes())
    assert weights[0] == weights[1]
