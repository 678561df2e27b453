"""Every recorded case of genuine Caffe, forward and backward."""

import json
import re
from pathlib import Path

import caffe
import numpy as np
import pytest

DATA = Path(__file__).parents[1] / 'data/genuine'
# layers.npz, ext_layers.npz: nets of every type; the others: more of the types of a family
FILES = ['layers.npz', 'ext_layers.npz', 'forward_cases.npz',
         *sorted(path.name for path in DATA.glob('cases_*.npz'))]


def load(name):
    arrays = np.load(DATA / name)
    groups = {}
    for key in arrays.files:
        case, _, rest = key.partition('/')
        groups.setdefault(case, {})[rest] = arrays[key]
    return [(case, groups[case['name']]) for case in json.loads(str(arrays['index']))]


CASES = [pytest.param(case, arrays, id=f'{name[:-4]}-{case["name"]}')
         for name in FILES for case, arrays in load(name)]


def test_no_case_is_lost():
    assert [len(load(name)) for name in FILES[:3]] == [100, 24, 294]


def test_no_type_of_genuine_caffe_is_lost():
    """All but Python and those that read or write files, which have tests of their own."""
    text = ' '.join(case.values[0]['prototxt'] for case in CASES)
    kinds = set(re.findall(r'\btype: "([A-Z]\w+)"', text))
    assert len(kinds) == 57 and kinds <= set(caffe.layer_type_list())


@pytest.mark.parametrize('case, arrays', CASES)
def test_equals_genuine_caffe(case, arrays, make_net):
    net = make_net(case['prototxt'], getattr(caffe, case['phase']))
    compared = run(net, arrays)
    assert compared


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
