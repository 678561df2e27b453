"""ResNets of torchvision and timm, imported, give the same maps and descriptors."""

import json

import numpy as np
import pytest
import torch
from deep_retrieval import load_model
from deep_retrieval.images import read_image
from deep_retrieval.surgery.importing import frameworks, import_resnet
from deep_retrieval.surgery.importing.imported import difference, normalized
from deep_retrieval.surgery.importing.resnet import ARCHS, Layout
from deep_retrieval.surgery.torch_import import TORCH_MEAN, TORCH_STD
from foreign_nets import Trunk, gem, randomize
from torch.nn import functional as F

SIZES = [(97, 130), (64, 64), (65, 66), (33, 71), (128, 31)]
NETS = {
    'bottleneck': dict(), 'basic': dict(bottleneck=False), 'groups': dict(groups=4),
    'numbered': dict(blocks=(1, 4, 7, 1)), 'deep stem': dict(deep=True, pooled=True),
    'deep basic': dict(deep=True, pooled=True, bottleneck=False), 'pooled': dict(pooled=True),
}


def last_map(model, mean=TORCH_MEAN, std=TORCH_STD):
    return lambda rgb: model.last_map(torch.from_numpy(normalized(rgb, mean, std)))


def saved(model, path):
    torch.save(model.state_dict(), path)
    return path


@pytest.mark.parametrize('kind', NETS)
def test_the_last_map_is_the_same_at_every_size(kind, tmp_path):
    model = randomize(Trunk(**NETS[kind]))
    made = import_resnet(saved(model, tmp_path / 'a.pth'))
    assert difference(made, last_map(model), made.map, SIZES) < 1e-5
    assert made.dimension == model.channels


@pytest.mark.parametrize('head, pool', [
    ('gem', lambda x: gem(x, 3)), ('mac', lambda x: x.amax((2, 3))),
    ('spoc', lambda x: x.mean((2, 3)))])
def test_heads_over_the_whole_map(head, pool, tmp_path):
    model = randomize(Trunk())
    made = import_resnet(saved(model, tmp_path / 'a.pth'), head, mean=(0.5, 0.4, 0.3),
                         std=(1, 0.5, 0.25))
    source = last_map(model, (0.5, 0.4, 0.3), (1, 0.5, 0.25))
    assert difference(made, lambda rgb: F.normalize(pool(source(rgb))), sizes=SIZES) < 1e-5
    two = np.random.default_rng(0).uniform(0, 255, (2, 3, 64, 80)).astype(np.float32)
    np.testing.assert_allclose(made.run(two)[1:], made.run(two[1:]), atol=1e-5)


@pytest.mark.parametrize('head, L', [('rmac', 2), ('gem', 0)])
def test_the_files_describe_themselves(head, L, tmp_path, cover):
    model = randomize(Trunk())
    output = tmp_path / 'out/a.caffemodel'
    made = import_resnet(saved(model, tmp_path / 'a.pth'), head)
    made.save(output, S=96, licence='MIT')
    info = json.loads((tmp_path / 'out/a.json').read_text())
    assert info['net'] == 'a.prototxt' and info['S'] == 96 and info['L'] == L
    assert info['licence'] == 'MIT' and info['dimension'] == 256 and 'a.pth' in info['source']
    loaded = load_model(output)
    image = read_image(cover)
    rows = loaded([image, image[:, ::-1].copy()])
    assert rows.shape == (2, 256)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)


@pytest.fixture
def cover(tmp_path):
    import cv2
    picture = np.random.default_rng(0).integers(0, 256, (97, 130, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'cover.png'), picture)
    return tmp_path / 'cover.png'


def test_prefixes_and_safetensors(tmp_path):
    model = randomize(Trunk())
    state = {f'module.backbone.{name}': value for name, value in model.state_dict().items()}
    torch.save({'state_dict': state}, tmp_path / 'a.pth')
    made = import_resnet(tmp_path / 'a.pth', 'mac')
    safetensors = pytest.importorskip('safetensors.torch')
    safetensors.save_file(model.state_dict(), tmp_path / 'a.safetensors')
    same = import_resnet(tmp_path / 'a.safetensors', 'mac')
    for name, arrays in made.weights.items():
        for one, other in zip(arrays, same.weights[name]):
            np.testing.assert_array_equal(one, other)


def test_layouts_by_name():
    assert Layout.named('resnext101_32x8d').inner == (256, 512, 1024, 2048)
    assert Layout.named('wide_resnet50_2').inner[0] == 128
    assert Layout.named('resnet34').outputs == (64, 128, 256, 512)
    with pytest.raises(ValueError, match='known are resnet18'):
        Layout.named('resnet19')


@pytest.mark.parametrize('arch', ARCHS)
def test_layouts_are_read_from_the_tensors(arch):
    layout = Layout.named(arch)
    state = {}
    for i, (count, inner, outputs) in enumerate(zip(layout.blocks, layout.inner, layout.outputs)):
        last = 'conv3' if layout.bottleneck else 'conv2'
        shapes = {'conv1': (inner, 1), 'conv2': (inner, inner // layout.groups), last: (outputs, 1)}
        state.update({f'layer{i + 1}.{j}.{conv}.weight': np.empty((*shape, 1, 1))
                      for j in range(count) for conv, shape in shapes.items()})
    state['conv1.weight'] = np.empty((64, 3, 7, 7))
    if not layout.bottleneck:
        state = {name: value for name, value in state.items() if 'conv3' not in name}
    assert Layout.of(state) == layout


@pytest.mark.parametrize('change, message', [
    (lambda state: {key: value for key, value in state.items() if 'layer2.1.bn2' not in key},
     'layer2.1.bn2.weight is missing; layer2.1.bn2.bias is missing; '
     'layer2.1.bn2.running_mean is missing and 1 more$'),
    (lambda state: {**state, 'layer1.0.se.fc1.weight': torch.zeros(2, 2)},
     'layout: layer1.0.se.fc1.weight is additional$'),
    (lambda state: {**state, 'layer1.0.conv3.weight': torch.zeros(32, 9, 1, 1)},
     'layout: layer1.0.conv3.weight is 32 x 9 x 1 x 1, not 32 x 8 x 1 x 1$'),
    (lambda state: {'features.0.weight': torch.zeros(64, 3, 3, 3)},
     r'conv1.weight is missing; bn1.weight is missing; bn1.bias is missing and \d+ more$'),
    (lambda state: {'step': 3}, 'holds no tensors'),
])
def test_tensors_of_another_net_are_refused_in_one_line(change, message, tmp_path):
    torch.save(change(Trunk().state_dict()), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=message) as error:
        import_resnet(tmp_path / 'a.pth')
    assert str(error.value).startswith(str(tmp_path / 'a.pth')) and '\n' not in str(error.value)


@pytest.mark.parametrize('name', ['a.pth', 'a.safetensors'])
@pytest.mark.parametrize('keep', [0, 0.5, 0.98])
def test_a_truncated_file_is_named(name, keep, tmp_path):
    if name == 'a.pth':
        saved(Trunk(), tmp_path / name)
    else:
        pytest.importorskip('safetensors.torch').save_file(Trunk().state_dict(), tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:int(keep * len(data))])
    with pytest.raises(ValueError, match=f'{name}: is damaged') as error:
        import_resnet(tmp_path / name)
    assert '\n' not in str(error.value)


def test_the_wrong_architecture_is_refused(tmp_path):
    path = saved(Trunk(), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='conv1.weight is 8 x 3 x 7 x 7, not 64 x 3 x 7 x 7; '):
        import_resnet(path, arch='resnet50')


class Code:
    def __reduce__(self):
        return print, ('this must not run',)


@pytest.mark.parametrize('content, kind', [({'a': Code()}, 'print'),
                                           ({'a': np.zeros(3)}, 'numpy')])
def test_code_is_refused_by_its_type(content, kind, tmp_path, capsys):
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=f'holds {kind}.*refused') as error:
        import_resnet(tmp_path / 'a.pth')
    assert '\n' not in str(error.value) and 'must not' not in capsys.readouterr().out


def test_an_image_below_the_stride_and_a_zero_deviation_are_refused(tmp_path):
    path = saved(Trunk(), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='16 pixels are smaller than the stride of the net, 32'):
        import_resnet(path).save(tmp_path / 'a.caffemodel', S=16)
    assert not (tmp_path / 'a.caffemodel').exists()
    with pytest.raises(ValueError, match='above 0'):
        import_resnet(path, std=(1, 0, 1))


def test_a_net_that_differs_from_its_source_is_refused(tmp_path):
    model = randomize(Trunk())
    made = import_resnet(saved(model, tmp_path / 'a.pth'), 'gem')
    with pytest.raises(ValueError, match='differs from the source by .* at 97 x 130 pixels'):
        difference(made, last_map(model, mean=(0, 0, 0)), made.map)
    with pytest.raises(ValueError, match='the source gives'):
        difference(made, last_map(model))


@pytest.mark.parametrize('package, build', [
    ('torchvision', lambda models: models.resnet18()),
    ('torchvision', lambda models: models.resnext50_32x4d()),
    ('timm', lambda models: models.resnet18d())])
def test_installed_frameworks_are_compared_with(package, build, tmp_path):
    if frameworks.installed(package) is None:
        pytest.skip(f'{package} is missing')
    model = randomize(build(frameworks.installed(f'{package}.models')))
    made = import_resnet(saved(model, tmp_path / 'a.pth'), 'gem')
    assert made.checked[0] == package and made.checked[1] < 1e-5
