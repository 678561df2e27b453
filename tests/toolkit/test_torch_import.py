"""A PyTorch ResNet in torchvision's layout and the net made of it give the same."""

import numpy as np
import pytest
import torch
from conftest import ROOT
from deep_retrieval.images import MEAN
from deep_retrieval.surgery import nets, torch_import
from deep_retrieval.surgery.torch_import import convert, read_state_dict
from foreign_nets import randomize
from torch_resnet import ResNet

OUR_MEAN = MEAN[::-1] / 255     # R, G, B from 0 to 1: with it nothing differs, not even at borders


@pytest.fixture(scope='module')
def model():
    return randomize(ResNet())


@pytest.fixture(scope='module')
def state(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


@pytest.fixture
def net():
    return nets.read_net(str(ROOT / 'proto/deploy_resnet_tiny.prototxt'))


def compare_on(model, built, blob, function, size, mean, std=torch_import.TORCH_STD):
    """What torch and Caffe give for one random image, each fed in its own way."""
    bgr = np.random.default_rng(sum(size)).uniform(0, 255, (1, 3, *size)).astype(np.float32)
    built.blobs['data'].reshape(1, 3, *size)
    built.blobs['data'].data[...] = bgr - MEAN[:, None, None]
    built.forward(end='res5c_relu')
    rgb = torch.from_numpy(bgr[:, ::-1].copy()) / 255
    column = lambda values: torch.tensor(np.array(values), dtype=torch.float32)[:, None, None]
    return function((rgb - column(mean)) / column(std)).numpy(), built.blobs[blob].data


@pytest.mark.parametrize('size', [(64, 64), (65, 66), (67, 97), (100, 71), (96, 128), (32, 33)])
def test_outputs_are_torchs_at_any_size(model, state, net, size):
    converted, weights, unused = convert(net, state, mean=OUR_MEAN)
    built = nets.build(converted, weights)
    theirs, ours = compare_on(model, built, 'res5c', model, size, OUR_MEAN)
    assert unused == [] and ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def test_the_difference_of_the_means_shows_at_the_border_only(model, state, net):
    converted, weights, _ = convert(net, state)
    built = nets.build(converted, weights)
    theirs, ours = compare_on(model, built, 'conv1', model.stem, (64, 80), torch_import.TORCH_MEAN)
    np.testing.assert_allclose(ours[..., 2:-2, 2:-2], theirs[..., 2:-2, 2:-2], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours, theirs, atol=0.02 * np.abs(theirs).max())


def test_a_bias_of_conv1_is_zero_and_the_head_leaves_the_regions_alone(state, net):
    next(layer for layer in net.layer if layer.name == 'conv1').convolution_param.bias_term = True
    _, weights, _ = convert(net, state)
    assert weights['conv1'][1].tolist() == [0] * 8
    np.testing.assert_array_equal(weights['pooled_rois/pca'][0], np.eye(128, 256))
    np.testing.assert_array_equal(weights['pooled_rois/centered'][0], np.ones(256))
    assert not weights['pooled_rois/pca'][1].any() and not weights['pooled_rois/centered'][1].any()


def test_only_strides_and_pooling_change_in_the_net(state, net):
    converted, _, _ = convert(net, state)
    changed = {new.name: new for old, new in zip(net.layer, converted.layer, strict=True)
               if old != new}
    assert list(changed) == ['pool1', *(f'res{stage}a_branch2{branch}'
                                        for stage in (3, 4, 5) for branch in 'ab')]
    assert changed['pool1'].pooling_param.pad == 1
    assert {name[-2:]: list(layer.convolution_param.stride) for name, layer in changed.items()
            if name != 'pool1'} == {'2a': [1], '2b': [2]}


@pytest.mark.parametrize('wrap', [
    lambda state: state, lambda state: {'state_dict': state, 'epoch': 3},
    lambda state: {f'module.{name}': value for name, value in state.items()},
    lambda state: {name: value.double() for name, value in state.items()}])
def test_files_of_several_kinds_are_read(model, state, tmp_path, wrap):
    torch.save(wrap(model.state_dict()), tmp_path / 'a.pth')
    read = read_state_dict(tmp_path / 'a.pth')
    assert set(read) == set(state)
    np.testing.assert_array_equal(read['layer4.2.conv3.weight'], state['layer4.2.conv3.weight'])
    assert read['conv1.weight'].dtype == np.float32


def test_safetensors_are_read(model, state, tmp_path):
    safetensors = pytest.importorskip('safetensors.torch')
    safetensors.save_file(model.state_dict(), tmp_path / 'a.safetensors')
    read = read_state_dict(tmp_path / 'a.safetensors')
    np.testing.assert_array_equal(read['bn1.weight'], state['bn1.weight'])
    (tmp_path / 'b.safetensors').write_bytes(b'no tensors')
    with pytest.raises(ValueError, match='b.safetensors'):
        read_state_dict(tmp_path / 'b.safetensors')


class Code:
    def __reduce__(self):
        return print, ('this must not run',)


@pytest.mark.parametrize('content', [Code(), {'a': 1}, [1, 2], {'fc.weight': torch.zeros(2)}])
def test_a_file_of_anything_else_is_refused(tmp_path, content, capsys):
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='a.pth') as error:
        read_state_dict(tmp_path / 'a.pth')
    assert '\n' not in str(error.value) and 'must not' not in capsys.readouterr().out


@pytest.mark.parametrize('keep', [0, 0.5])
def test_a_truncated_file_is_named(model, tmp_path, keep):
    path = tmp_path / 'a.pth'
    torch.save(model.state_dict(), path)
    path.write_bytes(path.read_bytes()[:int(keep * path.stat().st_size)])
    with pytest.raises(ValueError, match='a.pth'):
        read_state_dict(path)


def test_what_does_not_fit_is_named(state, net):
    with pytest.raises(ValueError, match='bn1.bias'):
        convert(net, {name: value for name, value in state.items() if name != 'bn1.bias'})
    with pytest.raises(ValueError, match=r'\[1, 1, 1, 2\].*\[1, 1, 1, 3\]'):
        convert(net, {name: value for name, value in state.items() if 'layer4.2' not in name})
    with pytest.raises(ValueError, match='res2a_branch2a'):
        convert(net, {**state, 'layer1.0.conv1.weight': np.zeros((4, 8, 1, 1), np.float32)})
    with pytest.raises(ValueError, match='must be positive'):
        convert(net, state, std=(1, 0, 1))
    assert convert(net, {**state, 'more': state['fc.bias']})[2] == ['more']
