"""What genuine Caffe computed for nets of every type, and how it is compared with."""

import json
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).parents[1] / 'data/genuine'
# layers.npz, ext_layers.npz: nets of every type; the others: more of the types of a family
FILES = ['layers.npz', 'ext_layers.npz', 'forward_cases.npz',
         *sorted(path.name for path in DATA.glob('cases_*.npz'))]
# the solver whose log is recorded
LOG_NET = '''name: "lg" layer { name: "x" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 2 dim: 3 } shape { dim: 2 dim: 1 } data_filler { type: "constant" value: 1 }
  data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param {
  num_output: 1 } }
layer { name: "L" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "loss" }'''
LOG_SOLVER = '''test_iter: 2 test_interval: 2 base_lr: 0.1 lr_policy: "multistep" stepvalue: 2
  gamma: 0.5 clip_gradients: 0.1 display: 1 max_iter: 4 snapshot_prefix: "lg" average_loss: 2 '''


def load(name):
    arrays = np.load(DATA / name)
    groups = {}
    for key in arrays.files:
        case, _, rest = key.partition('/')
        groups.setdefault(case, {})[rest] = arrays[key]
    return [(case, groups[case['name']]) for case in json.loads(str(arrays['index']))]


CASES = [pytest.param(case, arrays, id=f'{name[:-4]}-{case["name"]}')
         for name in FILES for case, arrays in load(name)]


def run(net, arrays, tolerance=1e-5):
    """Put the recorded values in, run, and compare; returns how many arrays were compared."""
    blobs = {'in': lambda name: net.blobs[name].data,
             'param': lambda name, index: net.params[name][int(index)].data,
             'topdiff': lambda name: net.blobs[name].diff}
    put = {key: value for key, value in arrays.items() if key.split('/')[0] in blobs}
    for key, value in put.items():
        kind, *where = key.split('/')
        if kind == 'in':
            net.blobs[where[0]].reshape(*value.shape)
        if kind != 'topdiff':
            blobs[kind](*where)[...] = value
    net.forward()
    compare(arrays, tolerance, {
        'out': lambda name: net.blobs[name].data,
        'param_after': lambda name, index: net.params[name][int(index)].data})
    for key, value in put.items():
        kind, *where = key.split('/')
        if kind == 'topdiff':
            blobs[kind](*where)[...] = value
    net.backward()
    compare(arrays, tolerance, {
        'bottomdiff': lambda name: net.blobs[name].diff,
        'paramdiff': lambda name, index: net.params[name][int(index)].diff})
    return len(arrays) - len(put)


def compare(arrays, tolerance, ours):
    for key, value in arrays.items():
        kind, *where = key.split('/')
        if kind in ours:
            found = ours[kind](*where)
            assert found.shape == value.shape, key
            finite = np.abs(value[np.isfinite(value)])
            scale = max(1, finite.max()) if finite.size else 1
            np.testing.assert_allclose(found, value, rtol=tolerance, atol=tolerance * scale,
                                       err_msg=key)
