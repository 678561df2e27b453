"""Weights of a PyTorch ResNet in torchvision's layout as a net and a caffemodel.

    state = read_state_dict('resnet101.pth')
    net, weights, unused = convert(read_net('proto/deploy_resnet101.prototxt'), state)

The deploy net gives names and head; its trunk becomes torchvision's: the stride of a stage's first
block stands in the 3x3 and not in the 1x1 before it, and pool1 is padded and rounds down. That
needs `round_mode`, which BVLC's Caffe has had since 2018.

torchvision's nets see R, G, B from 0 to 1, less a mean and divided by a deviation; ours see B, G, R
from 0 to 255, less images.MEAN. conv1 and its BatchNorm take up the difference, so the result
is fed like every other net here. What is left of it: conv1 pads with our mean and not with
torchvision's, which is half a grey level apart at most.
"""

import re

import numpy as np
import torch
from caffe.layer import param_count

from deep_retrieval.images import MEAN
from deep_retrieval.surgery.edit import build, copy_net

TORCH_MEAN = (0.485, 0.456, 0.406)      # R, G, B from 0 to 1
TORCH_STD = (0.229, 0.224, 0.225)
BRANCHES = {'branch2a': ('conv1', 'bn1'), 'branch2b': ('conv2', 'bn2'),
            'branch2c': ('conv3', 'bn3'), 'branch1': ('downsample.0', 'downsample.1')}
IGNORED = re.compile(r'fc\.|.*num_batches_tracked$')    # the classifier, and counters


def read_state_dict(path):
    """The tensors in a .pth or .safetensors file, name -> float32 array.

    Of a checkpoint its `state_dict`; what stands before `conv1.weight` (`module.`) is cut off.
    """
    if str(path).endswith('.safetensors'):
        state = _read_safetensors(path)
    else:
        try:
            state = torch.load(path, map_location='cpu', weights_only=True)
        except OSError:
            raise
        except Exception as error:      # a damaged pickle can raise anything
            reason = str(error).partition('\n')[0] or 'it is empty or truncated'
            raise ValueError(f'{path}: is no file of tensors alone: {reason}') from None
    if isinstance(state, dict):
        state = state.get('state_dict', state)
    state = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)} if (
        isinstance(state, dict)) else {}
    first = [name for name in state if name.endswith('conv1.weight') and 'layer' not in name]
    if not first:
        raise ValueError(f'{path}: has no tensor conv1.weight')
    prefix = min(first, key=len)[:-len('conv1.weight')]
    return {name[len(prefix):]: value.float().numpy() for name, value in state.items()
            if name.startswith(prefix)}


def _read_safetensors(path):
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise ValueError(f'{path}: needs the package safetensors') from None
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f'{path}: {error}') from None


def convert(net, state, mean=TORCH_MEAN, std=TORCH_STD):
    """The deploy net with torchvision's strides and pooling, and its weights.

    mean, std : R, G, B of the input that the PyTorch net was trained with
    Returns (net, weights, names of the tensors that were not used). A projection behind the trunk
    becomes the identity, or its first rows, and a centring subtracts 0.
    """
    if min(std) <= 0:
        raise ValueError(f'the deviations {std} must be above 0')
    net = copy_net(net)
    norms = {layer.bottom[0]: layer for layer in net.layer if layer.type == 'BatchNorm'}
    scales = {layer.bottom[0]: layer for layer in net.layer
              if layer.type == 'Scale' and layer.bottom[0] == layer.top[0]}
    weights, used = {}, set()

    def take(name):
        if name not in state:
            raise ValueError(f'the state dict has no tensor {name!r}')
        used.add(name)
        return state[name]

    for conv, (torch_conv, torch_bn) in _names(net, state).items():
        weights[conv] = [take(f'{torch_conv}.weight')]
        weights[norms[conv].name] = [take(f'{torch_bn}.running_mean'),
                                     take(f'{torch_bn}.running_var'), np.ones(1, np.float32)]
        weights[scales[conv].name] = [take(f'{torch_bn}.weight'), take(f'{torch_bn}.bias')]
    _fold_input(weights, norms['conv1'].name, mean, std)
    for layer in net.layer:
        _set_geometry(layer)
        if layer.name in weights and len(weights[layer.name]) < param_count(layer):
            weights[layer.name].append(np.zeros(len(weights[layer.name][0]), np.float32))
    built = build(net, weights)     # which checks every shape
    for name, blobs in built.params.items():
        if name not in weights:
            weights[name] = _identity(built.layer_dict[name].type, name, blobs)
    return net, weights, sorted(name for name in set(state) - used if not IGNORED.match(name))


def _names(net, state):
    """Name of each convolution of the trunk -> torchvision's of it and of its batch norm."""
    names = {'conv1': ('conv1', 'bn1')}
    blocks = {}     # stage -> block names in order
    for layer in net.layer:
        match = re.fullmatch(r'res([2-5])(\w+)_(branch\w+)', layer.name)
        if match and layer.type == 'Convolution' and match[3] in BRANCHES:
            stage, block, branch = match.groups()
            order = blocks.setdefault(stage, [])
            if block not in order:
                order.append(block)
            place = f'layer{int(stage) - 1}.{order.index(block)}'
            names[layer.name] = tuple(f'{place}.{part}' for part in BRANCHES[branch])
    theirs = [len({name.split('.')[1] for name in state if name.startswith(f'layer{stage}.')})
              for stage in range(1, 5)]
    ours = [len(blocks.get(str(stage), ())) for stage in range(2, 6)]
    if ours != theirs:
        raise ValueError(f'the state dict has {theirs} blocks in its stages, the net {ours}')
    return names


def _fold_input(weights, norm, mean, std):
    """Have conv1 and its BatchNorm take B, G, R from 0 to 255 less MEAN, in place."""
    mean, std = (255 * np.array(values, float)[::-1] for values in (mean, std))
    weight = weights['conv1'][0][:, ::-1] / std[:, None, None]
    shift = weight.sum((2, 3)) @ (MEAN - mean)
    weights['conv1'][0] = weight.astype(np.float32)
    weights[norm][0] = (weights[norm][0] - shift).astype(np.float32)


def _set_geometry(layer):
    """Strides and pooling as torchvision has them."""
    param = layer.convolution_param
    if re.fullmatch(r'res[3-5]a_branch2a', layer.name):
        param.stride[:] = [1]
    elif re.fullmatch(r'res[3-5]a_branch2b', layer.name):
        param.stride[:] = [2]
    elif layer.name == 'pool1':
        layer.pooling_param.pad = 1
        layer.pooling_param.round_mode = layer.pooling_param.FLOOR


def _identity(kind, name, blobs):
    """Parameters with which a layer of the head leaves its bottom as it is, or its first rows."""
    shapes = [tuple(blob.shape) for blob in blobs]
    if kind == 'Scale':
        first = np.ones(shapes[0], np.float32)
    elif kind == 'InnerProduct':
        first = np.eye(*shapes[0], dtype=np.float32)
    else:
        raise ValueError(f'the state dict has nothing for layer {name!r}')
    return [first, *(np.zeros(shape, np.float32) for shape in shapes[1:])]
