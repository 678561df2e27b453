"""SSCD, imported from state dicts and TorchScript, gives the same descriptors."""

import sys

import pytest
import torch
from conftest import ROOT
from deep_retrieval.surgery.importing import import_resnet, import_sscd
from deep_retrieval.surgery.importing.imported import difference, normalized
from deep_retrieval.surgery.torch_import import TORCH_MEAN, TORCH_STD
from foreign_nets import Sscd, classy_state, randomize

SIZES = [(97, 130), (64, 64), (31, 70)]
NETS = {'bottleneck': dict(), 'groups': dict(groups=4), 'basic': dict(bottleneck=False)}


def source(model):
    return lambda rgb: model(torch.from_numpy(normalized(rgb, TORCH_MEAN, TORCH_STD))).numpy()


@pytest.mark.parametrize('kind', NETS)
@pytest.mark.parametrize('names', [
    lambda model: model.state_dict(), classy_state, lambda model: classy_state(model, '')],
    ids=['torchvision', 'classy', 'classy without wrapper'])
def test_descriptors_are_the_same(kind, names, tmp_path):
    model = randomize(Sscd(**NETS[kind]))
    torch.save(names(model), tmp_path / 'a.pt')
    made = import_sscd(tmp_path / 'a.pt')
    assert difference(made, source(model), sizes=SIZES) < 1e-5
    assert made.dimension == 20


@pytest.fixture
def script(tmp_path):
    model = randomize(Sscd())
    with torch.no_grad():
        torch.jit.trace(model, torch.rand(1, 3, 64, 80)).save(str(tmp_path / 'a.pt'))
    return model, tmp_path / 'a.pt'


def test_torchscript_is_read_with_trust_alone_and_compared(script):
    model, path = script
    with pytest.raises(ValueError, match='TorchScript.*--trust') as error:
        import_sscd(path)
    assert '\n' not in str(error.value)
    made = import_sscd(path, trust=True)
    assert made.checked[0] == 'the TorchScript' and made.checked[1] < 1e-5
    assert difference(made, source(model), sizes=SIZES) < 1e-5
    with pytest.raises(ValueError, match='TorchScript, which is code'):
        import_resnet(path)


def test_truncated_torchscript_and_other_nets_are_named(script, tmp_path):
    path = script[1]
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match='a.pt: is damaged'):
        import_sscd(path, trust=True)
    state = Sscd().state_dict()
    del state['backbone.fc.weight']
    torch.save(state, tmp_path / 'b.pt')
    with pytest.raises(ValueError, match='b.pt: fc.weight is missing$'):
        import_sscd(tmp_path / 'b.pt')


def test_the_command_writes_a_net_that_describes(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / 'myPython'))
    import model_tools
    from deep_retrieval import load_model, subcommands
    torch.save(randomize(Sscd()).state_dict(), tmp_path / 'a.pt')
    output = tmp_path / 'out/sscd.caffemodel'
    monkeypatch.setattr(sys, 'argv', ['model_tools.py', 'import', 'sscd', '--file',
                                      str(tmp_path / 'a.pt'), '--output', str(output), '--S', '96'])
    subcommands.run(model_tools.__doc__, model_tools.MODES, model_tools.FLAGS)
    assert capsys.readouterr().out.startswith(f'{output}: 20 dimensions\n')
    model = load_model(output)
    assert (model.S, model.end) == (96, 'descriptor')
