"""The benchmarks run on small inputs, and both sides compute the same."""

import sys

import numpy as np
import pytest
from conftest import ROOT, run_script
from offline_case import run_here
from tiny import WEIGHTS

BENCHMARKS = sorted(path.name for path in ROOT.glob('benchmarks/*.py')
                    if 'cli.run(' in path.read_text())
SMALL = {
    'all_pairs_rate.py': ['--counts', 300, '--slice', 0, '--dim', 8],
    'index_recall.py': ['--rows', 4000, '--dim', 16, '--queries', 3],
    'reranking_rate.py': ['--rows', 2000, '--dim', 64, '--queries', 20],
    'sweep_rate.py': ['--anchors', 40, '--items', 3],
}


@pytest.fixture(autouse=True)
def folders(monkeypatch):
    before = set(sys.modules)
    monkeypatch.syspath_prepend(ROOT / 'benchmarks')
    monkeypatch.syspath_prepend(ROOT / 'proto')
    yield
    for name in set(sys.modules) - before:
        if 'benchmarks' in str(getattr(sys.modules[name], '__file__', '')):
            del sys.modules[name]


@pytest.mark.parametrize('name', SMALL)
def test_a_small_run_prints_its_numbers(name, monkeypatch, capfd):
    status, out, err = run_here(monkeypatch, capfd, [ROOT / 'benchmarks' / name, *SMALL[name]])
    assert status == 0, err
    if name == 'reranking_rate.py':     # the more a method knows of the neighbours, the better
        means = [float(line.split('|')[5]) for line in out.splitlines()[3:]]
        assert means == sorted(means) and means[0] < means[-1] <= 100
    if name == 'index_recall.py':       # the first index compares with every row
        assert '| flat | all | 1.000 | 1.000 | 1.000 |' in out
    if name == 'all_pairs_rate.py':
        assert int(out.splitlines()[-1].split()[-2]) >= 90      # of the planted pairs


@pytest.mark.parametrize('name', BENCHMARKS)
def test_help_needs_nothing_heavy(name):
    done = run_script('-X', 'importtime', f'benchmarks/{name}', '-h')
    assert done.returncode == 0 and '--debug' in done.stdout
    for module in ('torch', 'caffe', 'cv2', 'numpy', 'scipy'):
        assert f'| {module}\n' not in done.stderr.replace('|   ', '|').replace('|  ', '| ')


def test_docs_list_every_benchmark():
    text = (ROOT / 'docs/benchmarks.md').read_text()
    assert all(f'python benchmarks/{name}' in text for name in BENCHMARKS)
    assert len(BENCHMARKS) == text.count('python benchmarks/')


@pytest.mark.parametrize('forks', [True, False])
def test_both_sides_have_one_trunk(forks):
    import training_rate
    for make in training_rate.NETS.values():
        net = make(forks)
        kinds = [layer.type for layer in net.layer]
        assert kinds.count('BatchNorm') == kinds.count('Convolution') in (53, 104)
        assert kinds[-1].endswith('Loss')
    lifted = training_rate.lifted(forks)
    frozen = [layer for layer in lifted.layer if layer.type == 'Convolution']
    assert all(spec.lr_mult == 0 for layer in frozen for spec in layer.param) and frozen[0].param


def test_the_naive_layers_of_the_genuine_side_compute_what_the_net_does(tmp_path):
    """genuine_side.py runs on this engine too, since that is a pycaffe."""
    import compare_genuine
    import genuine_side
    from deep_retrieval.model import DescriptorNet
    proto = ROOT / 'proto/deploy_resnet_tiny_normpython.prototxt'
    _, inputs = compare_genuine.inputs_of({'landscape': (64, 90), 'square': (80, 80)})
    compare_genuine.write_job(tmp_path, proto, WEIGHTS, inputs, repeats=0)
    genuine_side.main(str(tmp_path))
    outputs, _ = compare_genuine.run_engine(DescriptorNet(proto, WEIGHTS, L=2), inputs, repeats=0)
    with np.load(tmp_path / 'result.npz') as result:
        for i, output in enumerate(outputs):
            np.testing.assert_allclose(result[f'out_{i}'], output, atol=1e-5)
            assert np.linalg.norm(output) == pytest.approx(1, abs=1e-4)
