"""Compute chains of in-place layers as one operation.

Without gradients, Convolution, BatchNorm with fixed statistics, Scale and ReLU on one blob become a
convolution with other weights, and Eltwise with ReLU needs no second pass over memory. While
gradients are recorded, BatchNorm, Scale and ReLU become one batch norm, which keeps one blob
instead of three. The blob gets the result of the chain's last layer. If a run begins or ends inside
a chain, Net runs its layers one by one.
"""

from itertools import pairwise

import torch

from ..blob import Blob
from ..layer import TensorLayer, release
from ..layer_types.activation import ReLU
from ..layer_types.normalization import BatchNorm
from ..layer_types.scale import Scale
from ..layer_types.utility import Eltwise
from ..layer_types.vision import Convolution


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
        # read the versions of all blobs each time: reading one updates whether it is in use
        blobs = [blob for layer in (self.head, *self.affine) for blob in layer.blobs]
        key = (device, [(id(blob), blob.version) for blob in blobs])
        if self._folded is None or self._folded[0] != key:
            self._folded = (key, *fold(self.head, self.affine))
        return self._folded[1:]


def fold(convolution, affine):
    """Return weight and bias of a convolution equal to `convolution` followed by `affine` layers.

    They are computed in float64 and rounded once.
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


class NormChain(TensorLayer):
    """BatchNorm, Scale and optionally ReLU, layers first .. last of a net, recorded as one layer.
    """

    def __init__(self, first, layers):
        self.first, self.last = first, first + len(layers) - 1
        self.layers = layers
        self.norm, self.scale = layers[:2]
        self.blobs = self.scale.blobs
        self.needs_backward = True
        self.propagate_down = self.norm.propagate_down
        self.param_propagate_down = self.scale.param_propagate_down

    @property
    def recorded(self):
        """Whether the last forward ran the chain as a whole, not its layers one by one."""
        return self._record is not None

    def compute(self, x):
        self._input = x.detach()
        bias = self.weight(1) if len(self.blobs) > 1 else None
        y = self.norm.compute(x, self.weight(0), bias)
        return y.relu_() if len(self.layers) == 3 else y

    def forward(self, bottom, top):
        for layer in self.layers:
            layer._record = None
        super().forward(bottom, top)
        self.norm.accumulate()

    def forget(self):
        """Discard the chain's record, so that the layers' own records are used."""
        self._record = self._input = None

    def unroll(self):
        """Record the layers one by one, as if the last forward had run them that way."""
        blob = Blob(self._input.shape)
        blob.tensor = self._input
        with torch.enable_grad():
            for layer in self.layers:
                result, = layer._compute_recorded([blob], [blob])
                blob.tensor = result.detach()
        self.forget()


def find_norm_chains(layers, bottoms, tops):
    """Return the NormChains of a net by the index of their first layer."""
    chains = {}
    for i, (norm, scale) in enumerate(pairwise(layers)):
        if (type(norm) is BatchNorm and type(scale) is Scale and scale.blobs
                and _in_place(i + 1, tops[i][0], bottoms, tops)
                and scale.broadcast == (norm.channels, *[1] * (len(tops[i][0].shape) - 2))):
            stop = i + 2
            if (stop < len(layers) and _is_relu(layers[stop])
                    and _in_place(stop, tops[i][0], bottoms, tops)):
                stop += 1
            if all(layer.needs_backward and not any(layer.loss_weights)
                   for layer in layers[i:stop]):
                chains[i] = NormChain(i, layers[i:stop])
    return chains


def find_chains(layers, bottoms, tops, frozen=False):
    """Return the Chains of a net by the index of their first layer.

    `bottoms[i]` and `tops[i]` are the blobs of `layers[i]`; with `frozen`, only layers that need
    no backward are considered.
    """
    chains = {}
    i = 0
    while i < len(layers):
        stop = _chain_end(layers, bottoms, tops, i)
        if frozen:
            stop = next((j for j in range(i, stop) if layers[j].needs_backward), stop)
        if stop - i > 1:
            chains[i] = Chain(i, layers[i:stop])
        i = max(stop, i + 1)
    return chains


def _chain_end(layers, bottoms, tops, first):
    """Return the index after the last layer that can join the chain beginning with `first`."""
    head = layers[first]
    stop = first + 1
    if len(tops[first]) != 1 or type(head) not in (Convolution, Eltwise):
        return stop
    blob = tops[first][0]
    if any(blob is bottom for bottom in bottoms[first]):
        return stop
    while stop < len(layers):
        layer = layers[stop]
        if not _in_place(stop, blob, bottoms, tops) or any(layers[stop - 1].loss_weights):
            break
        if type(layer) is ReLU:     # ends a chain; a ReLU with a slope is not part of it
            return stop + _is_relu(layer)
        if type(head) is not Convolution or not _is_affine(layer, head):
            break
        stop += 1
    return stop


def _in_place(index, blob, bottoms, tops):
    """Whether layer `index` works in place on `blob` only."""
    return (len(bottoms[index]) == len(tops[index]) == 1
            and bottoms[index][0] is blob and tops[index][0] is blob)


def _is_relu(layer):
    return type(layer) is ReLU and layer.layer_param.relu_param.negative_slope == 0


def _is_affine(layer, convolution):
    """Whether `layer` is a fixed scale and shift of each of the convolution's channels."""
    if convolution.channel_axis != 1:
        return False
    if type(layer) is BatchNorm:
        return layer.global_stats
    return type(layer) is Scale and layer.broadcast == (
        convolution.layer_param.convolution_param.num_output, *[1] * len(convolution.kernel))
