"""Layers on spatial axes: Convolution, Deconvolution, Im2col, Crop."""

import math

import torch
import torch.nn.functional as F

from ..errors import CaffeError
from ..layer import TensorLayer, register

CONVOLUTIONS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
DECONVOLUTIONS = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}


def per_axis(param, name, num_axes, default):
    """Return kernel, stride, pad or dilation for each spatial axis.

    The prototxt has `NAME_size` or `NAME`, once or per axis, or `NAME_h` and `NAME_w` for two axes.
    """
    field = 'kernel_size' if name == 'kernel' else name
    values = getattr(param, field)
    if name != 'dilation' and (param.HasField(f'{name}_h') or param.HasField(f'{name}_w')):
        if num_axes != 2 or len(values):
            raise CaffeError(f'{name}_h and {name}_w need 2 spatial axes and exclude {field}')
        return getattr(param, f'{name}_h'), getattr(param, f'{name}_w')
    if len(values) not in (0, 1, num_axes):
        raise CaffeError(f'{field} is given {len(values)} times for {num_axes} spatial axes')
    if not len(values) and default is None and num_axes:
        raise CaffeError(f'{field} is missing')
    return tuple(values) * (num_axes if len(values) == 1 else 1) or (default,) * num_axes


class Windows(TensorLayer):
    """Base of layers on windows over the axes after `axis`, the channel axis."""

    def setup(self, bottom, top):
        param = self.layer_param.convolution_param
        shape = bottom[0].shape
        if len(bottom) != len(top):
            raise CaffeError(f'{len(bottom)} bottoms need as many tops, not {len(top)}')
        self.channel_axis = self.axis(param.axis, len(shape))
        self.channels = shape[self.channel_axis]
        num_axes = len(shape) - self.channel_axis - 1
        self.kernel = per_axis(param, 'kernel', num_axes, None)
        self.stride = per_axis(param, 'stride', num_axes, 1)
        self.pad = per_axis(param, 'pad', num_axes, 0)
        self.dilation = per_axis(param, 'dilation', num_axes, 1)
        if 0 in self.kernel + self.stride + self.dilation:
            raise CaffeError('kernel_size, stride and dilation must be positive')
        self.extent = [dilation * (kernel - 1) + 1
                       for dilation, kernel in zip(self.dilation, self.kernel, strict=True)]

    def shape(self, *bottom):
        first = bottom[0]
        if any(shape != first for shape in bottom):
            raise CaffeError(f'bottoms of shapes {bottom} differ')
        axis = self.channel_axis
        if len(first) != axis + 1 + len(self.kernel) or first[axis] != self.channels:
            raise CaffeError(f'the bottom {first} does not have {self.channels} channels '
                             f'and {len(self.kernel)} spatial axes, as in setup')
        out = self.out_sizes(first[axis + 1:])
        if any(size < 1 for size in out):
            raise CaffeError(f'the bottom {first} is too small for the kernel {self.kernel} '
                             f'and the pad {self.pad}')
        return [(*first[:axis], self.outputs, *out)] * len(bottom)

    def out_sizes(self, sizes):
        """Return the number of windows along each spatial axis; sets `missing`.

        An axis that is too short for one window still gets one if less than a stride is missing
        (Caffe rounds the quotient towards 0): the `missing` cells are zeros after its end.
        """
        rest = [size + 2 * pad - extent
                for size, pad, extent in zip(sizes, self.pad, self.extent, strict=True)]
        self.missing = [max(0, -steps) for steps in rest]
        return [int(steps / stride) + 1 for steps, stride in zip(rest, self.stride, strict=True)]


@register
class Convolution(Windows):
    """Convolve each bottom with num_output x channels/group x kernel weights, in N dimensions.

    Every spatial size becomes floor((size + 2 pad - dilation (kernel - 1) - 1) / stride) + 1.
    """
    repeatable = True
    bottom_count = (1, None)
    top_count = (1, None)

    @staticmethod
    def parameters(layer_param):
        return ['weight', 'bias'][:1 + layer_param.convolution_param.bias_term]

    def setup(self, bottom, top):
        super().setup(bottom, top)
        param = self.layer_param.convolution_param
        if len(self.kernel) > 3:
            raise CaffeError(f'the bottom {bottom[0].shape} has {len(self.kernel)} spatial axes, '
                             'but at most 3 are supported')
        if (param.num_output < 1 or param.group < 1 or self.channels % param.group
                or param.num_output % param.group):
            raise CaffeError(f'{self.channels} channels and {param.num_output} outputs must be '
                             f'multiples of {param.group} groups')
        self.outputs = param.num_output
        self.add_blobs(weight=(self.weight_shape(), param.weight_filler),
                       bias=((param.num_output,), param.bias_filler))

    def weight_shape(self):
        param = self.layer_param.convolution_param
        return param.num_output, self.channels // param.group, *self.kernel

    def compute(self, *bottom):
        bias = self.weight(1) if len(self.blobs) > 1 else None
        return tuple(self.convolve(x, self.weight(0), bias) for x in bottom)

    def convolve(self, x, weight, bias):
        """Convolve with any weights and bias of the parameters' shapes."""
        lead, space = x.shape[:self.channel_axis], x.shape[self.channel_axis + 1:]
        spaceless = (1,) * (not space)      # torch needs at least one spatial axis
        x = x.reshape(math.prod(lead), self.channels, *space, *spaceless)
        weight = weight.reshape(*weight.shape, *spaceless)
        if len(space) == 2 and x.device.type == 'cpu':
            # oneDNN is up to 9 times as fast over channels-last images
            x = x.contiguous(memory_format=torch.channels_last)
            weight = weight.contiguous(memory_format=torch.channels_last)
        y = self.operate(x, weight, bias)
        return y.reshape(*lead, *y.shape[1:len(space) + 2])

    def operate(self, x, weight, bias):
        """Convolve x with one batch axis and at least one spatial axis."""
        if any(self.missing):
            x = F.pad(x, [end for cells in reversed(self.missing) for end in (0, cells)])
        return CONVOLUTIONS[x.dim() - 2](
            x, weight, bias, self.stride or 1, self.pad or 0, self.dilation or 1,
            self.layer_param.convolution_param.group)


@register
class Deconvolution(Convolution):
    """The transpose of a convolution; the weights are channels x num_output/group x kernel.

    Every spatial size becomes stride (size - 1) + dilation (kernel - 1) + 1 - 2 pad.
    """
    repeatable = True

    def weight_shape(self):
        param = self.layer_param.convolution_param
        return self.channels, param.num_output // param.group, *self.kernel

    def out_sizes(self, sizes):
        return [stride * (size - 1) + extent - 2 * pad for size, stride, extent, pad
                in zip(sizes, self.stride, self.extent, self.pad, strict=True)]

    def operate(self, x, weight, bias):
        return DECONVOLUTIONS[x.dim() - 2](
            x, weight, bias, self.stride or 1, self.pad or 0, 0,
            self.layer_param.convolution_param.group, self.dilation or 1)


@register
class Im2col(Windows):
    """Each window as a column: channels x kernel values at each of the windows' positions."""
    repeatable = True

    def setup(self, bottom, top):
        super().setup(bottom, top)
        if not self.kernel:
            raise CaffeError(f'the bottom {bottom[0].shape} has no axis after the channels')
        self.outputs = self.channels * math.prod(self.kernel)

    def compute(self, x):
        borders = zip(self.pad, self.missing, strict=True)
        x = F.pad(x, [end for pad, missing in reversed(list(borders))
                      for end in (pad, pad + missing)])
        first = self.channel_axis + 1
        for i, (extent, stride, dilation) in enumerate(
                zip(self.extent, self.stride, self.dilation, strict=True)):
            x = x.unfold(first + i, extent, stride)[..., ::dilation]
        # lead, channels, positions, kernel -> lead, channels x kernel, positions
        behind = first + len(self.kernel)
        columns = x.permute(*range(first), *range(behind, x.dim()), *range(first, behind))
        return columns.flatten(self.channel_axis, -1 - len(self.kernel))


@register
class Crop(TensorLayer):
    """Cut the first bottom to the second's size from `axis` on, `offset` cells from the start."""
    repeatable = True
    bottom_count = (2, 2)
    no_gradient = (1,)

    def setup(self, bottom, top):
        param = self.layer_param.crop_param
        ndim = len(bottom[0].shape)
        cropped = ndim - self.axis(param.axis, ndim)
        if len(param.offset) not in (0, 1, cropped):
            raise CaffeError(f'offset is given {len(param.offset)} times for {cropped} axes')

    def shape(self, bottom, like):
        param = self.layer_param.crop_param
        start = self.axis(param.axis, len(bottom))
        cropped = len(bottom) - start
        if len(like) < len(bottom):
            raise CaffeError(f'the second bottom {like} has fewer axes than the first {bottom}')
        offset = list(param.offset) * (cropped if len(param.offset) == 1 else 1) or [0] * cropped
        sizes = like[start:len(bottom)]
        if any(first + size > length
               for first, size, length in zip(offset, sizes, bottom[start:], strict=True)):
            raise CaffeError(f'{sizes} at offset {tuple(offset)} does not fit {bottom[start:]}')
        self.window = (..., *(slice(first, first + size)
                              for first, size in zip(offset, sizes, strict=True)))
        return [(*bottom[:start], *sizes)]

    def compute(self, x, like):
        return x[self.window].clone()
