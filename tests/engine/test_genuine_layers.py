"""Every recorded case of genuine Caffe, forward and backward."""

import re

import caffe
import pytest
from recorded_cases import CASES, FILES, load, run


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
