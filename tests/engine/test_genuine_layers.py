"""Every recorded case of genuine Caffe, forward and backward."""

import caffe
import pytest
from recorded_cases import CASES, FILES, load, run

SILENT = {'Split', 'Input', 'Python', 'Data', 'ImageData', 'WindowData', 'MemoryData', 'DummyData',
          'HDF5Data', 'HDF5Output'}     # tested elsewhere


def test_no_case_is_lost():
    assert [len(load(name)) for name in FILES[:3]] == [100, 24, 294]


def test_every_type_has_a_case():
    text = ' '.join(case.values[0]['prototxt'] for case in CASES)
    missing = {kind for kind in caffe.layer_type_list() if f'type: "{kind}"' not in text}
    assert missing <= SILENT


@pytest.mark.parametrize('case, arrays', CASES)
def test_equals_genuine_caffe(case, arrays, make_net):
    net = make_net(case['prototxt'], getattr(caffe, case['phase']))
    compared = run(net, arrays)
    assert compared
