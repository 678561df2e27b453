"""The convolutions of torchvision's VGGs without batch norm (Simonyan and Zisserman, ICLR 2015)."""

import os
import re
from collections.abc import Mapping, Sequence

import numpy as np
from caffe import NetSpec
from caffe import layers as L

from deep_retrieval.surgery.importing import heads
from deep_retrieval.surgery.importing.checking import check_tensors
from deep_retrieval.surgery.importing.imported import folded_input
from deep_retrieval.surgery.nets import Weights


def build_vgg(n: NetSpec, weights: Weights, state: Mapping[str, np.ndarray], std: Sequence[float],
              file: str | os.PathLike, ignored: str) -> heads.Features:
    """Add 3x3 convolutions to a net, and their parameters to `weights`.

    PyTorch numbers all layers: convolution, ReLU and, where the next number is left out,
    max-pooling. Parameters and errors are those of `resnet.build_trunk`; tensors are called
    `features.0.weight` and so on.
    """
    found = sorted(int(match[1]) for name in state
                   if (match := re.fullmatch(r'features\.(\d+)\.weight', name)))
    shapes, inputs = {}, 3
    for index in found:
        outputs = state[f'features.{index}.weight'].shape[0]
        shapes[f'features.{index}.weight'] = (outputs, inputs, 3, 3)
        shapes[f'features.{index}.bias'] = (outputs,)
        inputs = outputs
    shapes = shapes or {'features.0.weight': (64, 3, 3, 3), 'features.0.bias': (64,)}
    check_tensors(state, shapes, f'{file}: is not a VGG', ignored)
    top, stage, number = n['data'], 1, 0
    for index, following in zip(found, [*found[1:], None], strict=True):
        number += 1
        name = f'conv{stage}_{number}'
        weight, bias = (state[f'features.{index}.{part}'] for part in ('weight', 'bias'))
        weights[name] = [weight if index else folded_input(weight, std), bias]
        n[name] = L.Convolution(top, num_output=len(bias), kernel_size=3, pad=1)
        top = n[f'{name}_relu'] = L.ReLU(n[name], in_place=True)
        if following not in (None, index + 2):
            top = n[f'pool{stage}'] = L.Pooling(top, pool='MAX', kernel_size=2, stride=2,
                                                round_mode='FLOOR')
            stage, number = stage + 1, 0
    return heads.Features(top, name, inputs, 2 ** (stage - 1))
