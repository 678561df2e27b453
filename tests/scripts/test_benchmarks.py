"""The nets that the benchmarks train are there, on both sides; the numbers are not tests."""

import sys

import pytest
from conftest import ROOT


@pytest.fixture
def training_rate(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'benchmarks')
    monkeypatch.syspath_prepend(ROOT / 'proto')
    import training_rate
    yield training_rate
    sys.modules.pop('training_rate')


@pytest.mark.parametrize('forks', [True, False])
def test_both_sides_have_one_trunk(training_rate, forks):
    for make in training_rate.NETS.values():
        net = make(forks)
        kinds = [layer.type for layer in net.layer]
        assert kinds.count('BatchNorm') == kinds.count('Convolution') in (53, 104)
        assert kinds[-1].endswith('Loss')
    lifted = training_rate.lifted(forks)
    frozen = [layer for layer in lifted.layer if layer.type == 'Convolution']
    assert all(spec.lr_mult == 0 for layer in frozen for spec in layer.param) and frozen[0].param
