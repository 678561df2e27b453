"""Chains of in-place layers computed as one operation.

Convolution, BatchNorm with fixed statistics, Scale and ReLU over one blob are a convolution with
other weights, and Eltwise with ReLU needs no second pass over memory. A chain leaves in its blob
what its last layer would; Net runs the layers one by one where a run begins or ends inside one.
"""

import torch

from .layer import release
from .layer_types.activation import ReLU
from .layer_types.normalization import BatchNorm, Scale
from .layer_types.utility import Eltwise
from .layer_types.vision import Convolution


class Chain:
    """Layers first .. last (indices, inclusive) of a net as one operation."""

    def __init__(self, first, layers):
        self.first, self.last = first, first + len(layers) - 1
        self.head = layers[0]
        self.affine = [layer for layer in layers[1:] if not isinstance(layer, ReLU)]
        self.relu = isinstance(layers[-1], ReLU)
        self._folded = None     # (key, weight, bias)

    def forward(self, bottom, top):
        tensors = [blob.tensor for blob in bottom]
        release(top, bottom)
        if isinstance(self.head, Convolution):
            result = self.head.convolve(tensors[0], *self._fold(tensors[0].device))
        else:
            result = self.head.compute(*tensors)
        top[0].tensor = result.relu_() if self.relu else result

    def _fold(self, device):
        # versions are read of every blob each time: reading one settles whether it is in use
        blobs = [blob for layer in (self.head, *self.affine) for blob in layer.blobs]
        key = (device, [(id(blob), blob.version) for blob in blobs])
        if self._folded is None or self._folded[0] != key:
            self._folded = (key, *fold(self.head, self.affine))
        return self._folded[1:]


def fold(convolution, affine):
    """Weight and bias of the one convolution that equals `convolution` and then `affine` layers.

    Computed in float64 and rounded once.
    """
    weight = convolution.weight(0).double()
    bias = (convolution.weight(1).double() if len(convolution.blobs) > 1
            else weight.new_zeros(len(weight)))
    for layer in affine:
        if isinstance(layer, BatchNorm):
            mean, variance = (value.double() for value in layer.statistics())
            scale = 1 / (variance + layer.layer_param.batch_norm_param.eps).sqrt()
            bias = (bias - mean) * scale
        else:
            scale = layer.weight(0).double()
            bias = bias * scale
            if len(layer.blobs) > 1:
                bias = bias + layer.weight(1).double()
        weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
    weight = weight.float()
    if weight.dim() == 4 and weight.device.type == 'cpu':
        weight = weight.contiguous(memory_format=torch.channels_last)
    return weight, bias.float()


def find_chains(layers, bottoms, tops):
    """The Chains of a net, by the index of their first layer.

    `bottoms[i]` and `tops[i]` are the blobs of `layers[i]`.
    """
    chains = {}
    i = 0
    while i < len(layers):
        stop = _chain_end(layers, bottoms, tops, i)
        if stop - i > 1:
            chains[i] = Chain(i, layers[i:stop])
        i = stop
    return chains


def _chain_end(layers, bottoms, tops, first):
    """Index behind the last layer that can join the chain whose head is `first`."""
    head = layers[first]
    stop = first + 1
    if len(tops[first]) != 1 or type(head) not in (Convolution, Eltwise):
        return stop
    blob = tops[first][0]
    if any(blob is bottom for bottom in bottoms[first]):
        return stop
    while stop < len(layers):
        layer = layers[stop]
        if not (len(bottoms[stop]) == len(tops[stop]) == 1
                and bottoms[stop][0] is blob and tops[stop][0] is blob):
            break
        if type(layer) is ReLU:     # ends a chain; one with a slope stays outside
            return stop + (layer.layer_param.relu_param.negative_slope == 0)
        if type(head) is not Convolution or not _is_affine(layer, head):
            break
        stop += 1
    return stop


def _is_affine(layer, convolution):
    """Whether `layer` is a fixed scale and shift of each of the convolution's channels."""
    if convolution.channel_axis != 1:
        return False
    if type(layer) is BatchNorm:
        return layer.global_stats
    return type(layer) is Scale and layer.broadcast == (
        convolution.layer_param.convolution_param.num_output, *[1] * len(convolution.kernel))
