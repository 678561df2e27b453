"""Import ResNets and ResNeXts of torchvision and timm.

    made = import_resnet('resnet50.pth', head='gem')

The net (He et al., CVPR 2016; Xie et al., CVPR 2017; Zagoruyko and Komodakis, BMVC 2016) is read
from the names and shapes of the tensors: bottleneck or basic blocks, their number, widths and
groups. What tensors do not tell, such as timm's anti-aliased pooling, is not seen. timm's nets with
a stem of three 3x3 convolutions and average pooling in the shortcuts (He et al., CVPR 2019,
ResNet-D) are known too. As in torchvision, the second convolution of a bottleneck has the stride,
and max-pooling rounds down; for that, Caffe has `round_mode`.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np
from caffe import NetSpec
from caffe import layers as L

from deep_retrieval.surgery.importing import frameworks, heads
from deep_retrieval.surgery.importing.checking import check_tensors
from deep_retrieval.surgery.importing.imported import Imported, folded_input, input_mean
from deep_retrieval.surgery.importing.reading import read_tensors
from deep_retrieval.surgery.nets import Weights
from deep_retrieval.surgery.torch_import import TORCH_MEAN, TORCH_STD

IMAGE = [1, 3, 384, 512]        # initial shape of the input
NORM = ('weight', 'bias', 'running_mean', 'running_var')
IGNORED = r'(fc|head|last_linear)\.|.*num_batches_tracked$'     # the classifier, and counters
STRIDE = 32
LETTERS = 6                     # most blocks of a stage that are called a, b, c...


@dataclasses.dataclass(frozen=True)
class Layout:
    """The structure of a ResNet.

    bottleneck : whether blocks have three convolutions. blocks, inner, outputs : of each stage, the
    number of blocks and the channels inside and after them. groups : of the 3x3 convolutions.
    stem : channels of the first convolutions. pooled : whether shortcuts of stride 2 pool first.
    """

    bottleneck: bool
    blocks: tuple[int, ...]
    inner: tuple[int, ...]
    outputs: tuple[int, ...]
    groups: int = 1
    stem: tuple[int, ...] = (64,)
    pooled: bool = False

    @classmethod
    def of(cls, state: Mapping[str, np.ndarray]) -> 'Layout':
        """Return the layout that the names and shapes of tensors tell; what is unknown is 0."""
        def channels(name, axis=0):
            shape = state[name].shape if name in state else ()
            return shape[axis] if len(shape) > axis else 0

        bottleneck = 'layer1.0.conv3.weight' in state
        last = 'conv3' if bottleneck else 'conv2'
        inner = tuple(channels(f'layer{i}.0.conv1.weight') for i in range(1, 5))
        per_group = channels('layer1.0.conv2.weight', 1)
        stem = ('conv1.weight',) if 'conv1.0.weight' not in state else tuple(
            f'conv1.{i}.weight' for i in (0, 3, 6))
        return cls(bottleneck, tuple(_count(state, f'layer{i}.') for i in range(1, 5)), inner,
                   tuple(channels(f'layer{i}.0.{last}.weight') for i in range(1, 5)),
                   max(inner[0] // per_group, 1) if bottleneck and per_group else 1,
                   tuple(channels(name) for name in stem),
                   any('.downsample.2.' in name for name in state))

    @classmethod
    def named(cls, arch: str) -> 'Layout':
        """Return the layout of one of ARCHS; ValueError for another name."""
        if arch not in ARCHS:
            raise ValueError(f'{arch!r} is not a known ResNet; known are {", ".join(ARCHS)}')
        blocks, groups, width = ARCHS[arch]
        bottleneck = arch not in ('resnet18', 'resnet34')
        planes = [64 * 2 ** i for i in range(4)]
        inner = tuple(groups * (width * plane // 64) for plane in planes)
        return cls(bottleneck, blocks, inner,
                   tuple(plane * (4 if bottleneck else 1) for plane in planes), groups)


# name -> blocks of each stage, groups, and channels per group in the first stage
ARCHS = {
    'resnet18': ((2, 2, 2, 2), 1, 64),
    'resnet34': ((3, 4, 6, 3), 1, 64),
    'resnet50': ((3, 4, 6, 3), 1, 64),
    'resnet101': ((3, 4, 23, 3), 1, 64),
    'resnet152': ((3, 8, 36, 3), 1, 64),
    'resnext50_32x4d': ((3, 4, 6, 3), 32, 4),
    'resnext101_32x4d': ((3, 4, 23, 3), 32, 4),
    'resnext101_32x8d': ((3, 4, 23, 3), 32, 8),
    'resnext101_64x4d': ((3, 4, 23, 3), 64, 4),
    'wide_resnet50_2': ((3, 4, 6, 3), 1, 128),
    'wide_resnet101_2': ((3, 4, 23, 3), 1, 128),
}


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution and its BatchNorm: their names in PyTorch, and the convolution's geometry."""

    conv: str
    norm: str
    shape: tuple[int, ...]      # outputs x inputs per group x height x width
    stride: int = 1
    group: int = 1


@dataclasses.dataclass(frozen=True)
class Block:
    """A residual block: its name here, the convolutions of its branch and of its shortcut."""

    name: str
    branch: tuple[Conv, ...]
    shortcut: Conv | None
    pool: int       # stride of the average pooling in the shortcut, 1 for none


def import_resnet(file: str | os.PathLike, head: str = 'rmac', arch: str | None = None,
                  mean: Sequence[float] = TORCH_MEAN, std: Sequence[float] = TORCH_STD) -> Imported:
    """Import a ResNet or ResNeXt in torchvision's or timm's layout.

    Parameters
    ----------
    file : path of a state dict, .pth or .safetensors
    head : one of heads.HEADS
    arch : one of ARCHS, optional
        The net that the file must hold; by default it is read from the tensors.
    mean, std : R, G, B of the input, from 0 to 1, that the net was trained with

    Raises
    ------
    ValueError, RuntimeError, FileNotFoundError
        The file cannot be read, or its tensors are not those of such a net; one line.
    """
    state = trunk_tensors(read_tensors(file))
    name = arch or 'ResNet'
    n, weights = start(), {}
    features = build_trunk(n, weights, state, std, file, Layout.named(arch) if arch else None)
    end = heads.HEADS[head](n, weights, features)
    made = finish(n, weights, features, end, mean, f'{name}, {os.path.basename(file)}',
                  L=2 if head == 'rmac' else 0)
    return frameworks.compare_trunk(made, state, Layout.of(state), mean, std)


def trunk_tensors(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors by their names without a prefix such as `module.` or `backbone.`."""
    first = [name for name in state
             if name.endswith(('conv1.weight', 'conv1.0.weight')) and 'layer' not in name]
    if not first:
        return dict(state)
    prefix = min(first, key=len).rpartition('conv1.')[0]
    return {name.removeprefix(prefix): value for name, value in state.items()}


def start() -> NetSpec:
    """Return a net with the inputs data and rois."""
    n = NetSpec()
    n['data'] = L.Input(shape=dict(dim=IMAGE))
    n['rois'] = L.Input(shape=dict(dim=[1, 5]))
    return n


def finish(n: NetSpec, weights: Weights, features: heads.Features, end: heads.End,
           mean: Sequence[float], source: str, L: int = 0) -> Imported:
    """Return the Imported of a net from `start`; `mean` is R, G, B from 0 to 1."""
    net = n.to_proto()
    net.name = source
    return Imported(net, weights, features.blob, end.blob, input_mean(mean), end.dimension,
                    features.stride, source, L)


def build_trunk(n: NetSpec, weights: Weights, state: Mapping[str, np.ndarray],
                std: Sequence[float], file: str | os.PathLike, layout: Layout | None = None,
                ignored: str = IGNORED) -> heads.Features:
    """Add a ResNet in torchvision's layout to a net, and its parameters to `weights`.

    Parameters
    ----------
    n : NetSpec from `start`
    weights : dict of str to list of ndarray
    state : dict of str to ndarray
    std : R, G, B that the source divides its input by
    file : where the tensors come from, for messages
    layout : what the net must be; by default what the tensors tell
    ignored : regular expression of the names of tensors that may be left over

    Returns
    -------
    Features
        Of the last map.

    Raises
    ------
    ValueError
        The tensors are of another net; the message names the first three that differ.
    """
    layout = layout or Layout.of(state)
    stem, blocks = _plan(layout)
    convolutions = [*stem, *(conv for block in blocks for conv in (*block.branch, block.shortcut)
                             if conv)]
    shapes = {}
    for conv in convolutions:
        shapes[f'{conv.conv}.weight'] = conv.shape
        shapes.update({f'{conv.norm}.{part}': conv.shape[:1] for part in NORM})
    check_tensors(state, shapes, f"{file}: is not a ResNet in torchvision's layout", ignored)
    if min(layout.blocks) == 0:
        raise ValueError(f'{file}: a stage of the ResNet has no blocks: {layout.blocks}')

    def conv_bn(name, bottom, conv, relu=False):
        return _conv_bn(n, weights, state, name, bottom, conv, relu)

    top = n['data']
    for i, conv in enumerate(stem):
        top = conv_bn('conv1' if i == len(stem) - 1 else f'conv1_{i + 1}', top, conv, relu=True)
    first = 'conv1' if len(stem) == 1 else 'conv1_1'
    weights[first][0] = folded_input(weights[first][0], std)
    top = n['pool1'] = L.Pooling(top, pool='MAX', kernel_size=3, stride=2, pad=1,
                                 round_mode='FLOOR')
    for block in blocks:
        shortcut = top
        if block.pool > 1:
            # the last window of an odd size is cut off and averages what is left of it
            shortcut = n[f'{block.name}_pool'] = L.Pooling(shortcut, pool='AVE', kernel_size=2,
                                                           stride=2)
        if block.shortcut:
            shortcut = conv_bn(f'{block.name}_branch1', shortcut, block.shortcut)
        for letter, conv in zip('abc', block.branch, strict=False):
            top = conv_bn(f'{block.name}_branch2{letter}', top, conv,
                          relu=conv is not block.branch[-1])
        n[block.name] = L.Eltwise(shortcut, top)
        top = n[f'{block.name}_relu'] = L.ReLU(n[block.name], in_place=True)
    return heads.Features(top, blocks[-1].name, layout.outputs[-1], STRIDE)


def _count(state, prefix):
    """How many blocks a stage has."""
    return len({name.split('.')[1] for name in state if name.startswith(prefix)})


def _plan(layout):
    """The convolutions of the stem, and the blocks, of a layout."""
    stem, inputs = [], 3
    if len(layout.stem) == 1:
        stem.append(Conv('conv1', 'bn1', (layout.stem[0], 3, 7, 7), stride=2))
    else:
        names = (('conv1.0', 'conv1.1'), ('conv1.3', 'conv1.4'), ('conv1.6', 'bn1'))
        for i, (names_of, outputs) in enumerate(zip(names, layout.stem, strict=True)):
            stem.append(Conv(*names_of, (outputs, inputs, 3, 3), stride=1 if i else 2))
            inputs = outputs
    inputs, blocks = layout.stem[-1], []
    for i, count in enumerate(layout.blocks):
        for j in range(count):
            blocks.append(_block(layout, i, j, inputs))
            inputs = layout.outputs[i]
    return stem, blocks


def _block(layout, i, j, inputs):
    """Block `j` of stage `i`, both from 0."""
    place, inner, outputs = f'layer{i + 1}.{j}', layout.inner[i], layout.outputs[i]
    stride = 2 if i and not j else 1
    if layout.bottleneck:
        shapes = ((inner, inputs, 1, 1), (inner, inner // layout.groups, 3, 3),
                  (outputs, inner, 1, 1))
        strides, groups = (1, stride, 1), (1, layout.groups, 1)
    else:
        shapes = ((inner, inputs, 3, 3), (outputs, inner, 3, 3))
        strides, groups = (stride, 1), (1, 1)
    branch = tuple(Conv(f'{place}.conv{k}', f'{place}.bn{k}', *geometry) for k, geometry
                   in enumerate(zip(shapes, strides, groups, strict=True), 1))
    shortcut, pooled = None, layout.pooled and stride > 1
    if stride > 1 or inputs != outputs:
        conv, norm = (1, 2) if layout.pooled else (0, 1)
        shortcut = Conv(f'{place}.downsample.{conv}', f'{place}.downsample.{norm}',
                        (outputs, inputs, 1, 1), 1 if pooled else stride)
    numbered = layout.blocks[2] > LETTERS and i in (1, 2)   # as in the release of He et al.
    name = 'a' if j == 0 else f'b{j}' if numbered or j >= LETTERS else 'abcdef'[j]
    return Block(f'res{i + 2}{name}', branch, shortcut, stride if pooled else 1)


def _conv_bn(n, weights, state, name, bottom, conv, relu):
    """Add Convolution, BatchNorm, Scale and, with `relu`, ReLU; return the last top."""
    suffix = name[len('res'):] if name.startswith('res') else f'_{name}'
    bn, scale = f'bn{suffix}', f'scale{suffix}'
    n[name] = L.Convolution(bottom, num_output=conv.shape[0], kernel_size=conv.shape[2],
                            pad=conv.shape[2] // 2, stride=conv.stride, group=conv.group,
                            bias_term=False)
    n[bn] = L.BatchNorm(n[name], in_place=True, use_global_stats=True)
    n[scale] = L.Scale(n[bn], in_place=True, bias_term=True)
    weight, bias, mean, variance = (state[f'{conv.norm}.{part}'] for part in NORM)
    weights[name] = [state[f'{conv.conv}.weight']]
    weights[bn] = [mean, variance, np.ones(1, np.float32)]
    weights[scale] = [weight, bias]
    if not relu:
        return n[scale]
    n[f'{name}_relu'] = L.ReLU(n[scale], in_place=True)
    return n[f'{name}_relu']
