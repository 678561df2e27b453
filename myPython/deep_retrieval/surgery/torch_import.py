"""Convert a PyTorch ResNet in torchvision's layout to a net and a caffemodel.

    state = read_state_dict('resnet101.pth')
    net, weights, unused = convert(read_net('proto/deploy_resnet101.prototxt'), state)

The deploy net provides names and head. Its trunk becomes torchvision's: the stride of a stage's
first block moves from the 1x1 convolution to the following 3x3, and pool1 is padded and rounds
down. The latter needs `round_mode`, which BVLC Caffe has had since 2018.

torchvision's nets take R, G, B from 0 to 1, minus a mean and divided by a standard deviation; ours
take B, G, R from 0 to 255, minus images.MEAN. The difference is folded into conv1 and its
BatchNorm, so that the imported net takes the same input as every other net here. One difference
remains: conv1 pads with our mean instead of torchvision's, which differ by at most half a grey
level.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from caffe.layer import param_count
from caffe.proto import caffe_pb2

from deep_retrieval import store
from deep_retrieval.images import MEAN
from deep_retrieval.optional import need
from deep_retrieval.surgery.nets import Weights, build, copy_net

TORCH_MEAN = (0.485, 0.456, 0.406)      # R, G, B from 0 to 1
TORCH_STD = (0.229, 0.224, 0.225)
BRANCHES = {'branch2a': ('conv1', 'bn1'), 'branch2b': ('conv2', 'bn2'),
            'branch2c': ('conv3', 'bn3'), 'branch1': ('downsample.0', 'downsample.1')}
IGNORED = re.compile(r'fc\.|.*num_batches_tracked$')    # the classifier, and counters


def read_state_dict(path: str) -> dict[str, np.ndarray]:
    """Read the tensors of a .pth or .safetensors file, without running code in it.

    From a checkpoint, its `state_dict` is used. A prefix of the names before `conv1.weight`, such
    as `module.`, is removed.

    Returns
    -------
    dict of str to float32 ndarray

    Raises
    ------
    FileNotFoundError, ValueError
        The file cannot be read, or does not contain the tensors of such a net.
    RuntimeError
        The package safetensors is required but not installed.
    """
    state = read_tensors(path)
    first = [name for name in state if name.endswith('conv1.weight') and 'layer' not in name]
    if not first:
        raise ValueError(f'{path}: has no tensor conv1.weight')
    prefix = min(first, key=len)[:-len('conv1.weight')]
    return {name[len(prefix):]: value for name, value in state.items() if name.startswith(prefix)}


def read_tensors(path: str) -> dict[str, np.ndarray]:
    """Read all tensors of a .pth or .safetensors file by name; no code in it is run.

    Of a checkpoint, its `state_dict` is taken.

    Returns
    -------
    dict of str to float32 ndarray

    Raises
    ------
    FileNotFoundError, ValueError
        The file cannot be read, or holds something else than tensors.
    RuntimeError
        The package safetensors is needed and missing.
    """
    path = str(path)
    if path.endswith('.safetensors'):
        load = need('safetensors.torch', 'safetensors').load_file
        with open(path, 'rb'), store.reading(path, 'a file of tensors'):
            state = load(path)
    else:
        with open(path, 'rb') as file, store.reading(path, 'a file of tensors alone'):
            try:
                state = torch.load(file, map_location='cpu', weights_only=True)
            except AssertionError as error:     # torch's own checks of old files
                raise ValueError(f'{error}') from error
    if isinstance(state, dict):
        state = state.get('state_dict', state)
    if not isinstance(state, dict):
        return {}
    with store.reading(path, 'a file of tensors'):
        return {name: value.float().numpy() for name, value in state.items()
                if isinstance(name, str) and isinstance(value, torch.Tensor)}


def convert(net: caffe_pb2.NetParameter, state: Mapping[str, np.ndarray],
            mean: Sequence[float] = TORCH_MEAN, std: Sequence[float] = TORCH_STD
            ) -> tuple[caffe_pb2.NetParameter, Weights, list[str]]:
    """Return the deploy net with torchvision's strides and pooling, and its weights.

    A projection after the trunk becomes the identity, or its first rows; a centring subtracts 0.

    Parameters
    ----------
    net : NetParameter
        A deploy net with a ResNet of the same blocks.
    state : dict of str to ndarray
    mean, std : R, G, B mean and standard deviation of the PyTorch net's input, from 0 to 1

    Returns
    -------
    net : NetParameter
    weights : dict of str to list of ndarray
    unused : names of the tensors that were not used

    Raises
    ------
    ValueError
        A tensor is missing or does not fit, or a standard deviation is not positive.
    """
    if min(std) <= 0:
        raise ValueError(f'the standard deviations {std} must be positive')
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
    built = build(net, weights)     # checks all shapes
    for name, blobs in built.params.items():
        if name not in weights:
            weights[name] = _identity(built.layer_dict[name].type, name, blobs)
    return net, weights, sorted(name for name in set(state) - used if not IGNORED.match(name))


def _names(net, state):
    """Return {convolution of the trunk: torchvision's names of it and its batch norm}."""
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
        raise ValueError(f'the state dict has {theirs} blocks in its stages, but the net {ours}')
    return names


def _fold_input(weights, norm, mean, std):
    """Make conv1 and its BatchNorm take B, G, R from 0 to 255 minus MEAN; in place."""
    mean, std = (255 * np.array(values, float)[::-1] for values in (mean, std))
    weight = weights['conv1'][0][:, ::-1] / std[:, None, None]
    shift = weight.sum((2, 3)) @ (MEAN - mean)
    weights['conv1'][0] = weight.astype(np.float32)
    weights[norm][0] = (weights[norm][0] - shift).astype(np.float32)


def _set_geometry(layer):
    """Set strides and pooling as in torchvision."""
    param = layer.convolution_param
    if re.fullmatch(r'res[3-5]a_branch2a', layer.name):
        param.stride[:] = [1]
    elif re.fullmatch(r'res[3-5]a_branch2b', layer.name):
        param.stride[:] = [2]
    elif layer.name == 'pool1':
        layer.pooling_param.pad = 1
        layer.pooling_param.round_mode = layer.pooling_param.FLOOR


def _identity(kind, name, blobs):
    """Return parameters with which a layer of the head returns its bottom, or its first rows."""
    shapes = [tuple(blob.shape) for blob in blobs]
    if kind == 'Scale':
        first = np.ones(shapes[0], np.float32)
    elif kind == 'InnerProduct':
        first = np.eye(*shapes[0], dtype=np.float32)
    else:
        raise ValueError(f'the state dict has nothing for layer {name!r}')
    return [first, *(np.zeros(shape, np.float32) for shape in shapes[1:])]
