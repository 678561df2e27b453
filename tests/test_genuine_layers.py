"""Every recorded case of genuine Caffe whose layer types the engine has."""

import json
from pathlib import Path

import caffe
import numpy as np
import pytest

DATA = Path(__file__).parent / 'data/genuine'
TYPES = {'Convolution', 'Pooling', 'BatchNorm', 'Scale', 'ReLU', 'Eltwise', 'Concat',
         'InnerProduct', 'Reshape', 'ROIPooling', 'Normalize'}


def load(name):
    arrays = np.load(DATA / name)
    return [(case, {key.split('/', 1)[1]: arrays[key] for key in arrays.files
                    if key.startswith(case['name'] + '/')})
            for case in json.loads(str(arrays['index'])) if case['type'] in TYPES]


# forward_cases.npz: 294 more of these types, drawn at random and recorded in the same form
CASES = load('layers.npz') + load('ext_layers.npz') + load('forward_cases.npz')


def test_no_case_is_lost():
    assert len(CASES) == 31 + 12 + 294
    assert {case['type'] for case, _ in CASES} == TYPES


@pytest.mark.parametrize('case, arrays', CASES, ids=[case['name'] for case, _ in CASES])
def test_forward_equals_genuine_caffe(case, arrays, make_net):
    net = make_net(case['prototxt'], getattr(caffe, case['phase']))
    for key, value in arrays.items():
        kind, name, *index = key.split('/')
        if kind == 'in':
            net.blobs[name].data[...] = value
        if kind == 'param':
            net.params[name][int(index[0])].data[...] = value
    net.forward()
    compared = 0
    for key, value in arrays.items():
        kind, name, *index = key.split('/')
        if kind == 'out':
            assert net.blobs[name].data.shape == value.shape
            np.testing.assert_allclose(net.blobs[name].data, value, rtol=1e-5, atol=1e-5)
            compared += 1
        if kind == 'param_after':
            np.testing.assert_allclose(net.params[name][int(index[0])].data, value,
                                       rtol=1e-5, atol=1e-6)
    assert compared
