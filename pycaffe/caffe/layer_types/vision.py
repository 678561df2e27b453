"""Layers over space: convolution and pooling."""

import math

import torch
import torch.nn.functional as F

from ..errors import CaffeError
from ..layer import TensorLayer, register
from ..proto import caffe_pb2

CONVOLUTIONS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}


def per_axis(param, name, num_axes, default):
    """kernel, stride or pad for each spatial axis.

    They stand as `NAME_size` or `NAME`, once or an axis, or as `NAME_h` and `NAME_w` in 2-d.
    """
    field = 'kernel_size' if name == 'kernel' else name
    values = getattr(param, field)
    if param.HasField(f'{name}_h') or param.HasField(f'{name}_w'):
        if num_axes != 2 or len(values):
            raise CaffeError(f'{name}_h and {name}_w are for 2 spatial axes and instead of {field}')
        return getattr(param, f'{name}_h'), getattr(param, f'{name}_w')
    if len(values) not in (0, 1, num_axes):
        raise CaffeError(f'{field} is given {len(values)} times for {num_axes} spatial axes')
    if not len(values) and default is None:
        raise CaffeError(f'{field} is missing')
    return tuple(values) * (num_axes if len(values) == 1 else 1) or (default,) * num_axes


@register
class Convolution(TensorLayer):
    """Filter each bottom by num_output x channels/group x kernel weights; N-d, strided, dilated.

    Every spatial size becomes floor((size + 2 pad - dilation (kernel - 1) - 1) / stride) + 1.
    """
    bottom_count = (1, None)
    top_count = (1, None)

    def setup(self, bottom, top):
        param = self.layer_param.convolution_param
        shape = bottom[0].shape
        if len(bottom) != len(top):
            raise CaffeError(f'{len(bottom)} bottoms need as many tops, not {len(top)}')
        self.channel_axis = self.axis(param.axis, len(shape))
        num_axes = len(shape) - self.channel_axis - 1
        if num_axes not in CONVOLUTIONS:
            raise CaffeError(f'the bottom {shape} has {num_axes} spatial axes, not 1, 2 or 3')
        self.kernel = per_axis(param, 'kernel', num_axes, None)
        self.stride = per_axis(param, 'stride', num_axes, 1)
        self.pad = per_axis(param, 'pad', num_axes, 0)
        dilation = tuple(param.dilation)
        self.dilation = dilation * (num_axes if len(dilation) == 1 else 1) or (1,) * num_axes
        if 0 in self.kernel or 0 in self.stride or len(self.dilation) != num_axes:
            raise CaffeError('kernel_size and stride must be positive, dilation once or an axis')
        self.channels = shape[self.channel_axis]
        if param.num_output < 1 or self.channels % param.group or param.num_output % param.group:
            raise CaffeError(f'{self.channels} channels and {param.num_output} outputs must be '
                             f'multiples of {param.group} groups')
        self.add_blob((param.num_output, self.channels // param.group, *self.kernel),
                      param.weight_filler)
        if param.bias_term:
            self.add_blob((param.num_output,), param.bias_filler)

    def shape(self, *bottom):
        for shape in bottom:
            if shape != bottom[0]:
                raise CaffeError(f'bottoms of shapes {bottom} differ')
        lead, channels, *space = bottom[0][:self.channel_axis], *bottom[0][self.channel_axis:]
        if channels != self.channels:
            raise CaffeError(f'the bottom {bottom[0]} has {channels} channels, '
                             f'the weights take {self.channels}')
        out = [(size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
               for size, pad, dilation, kernel, stride
               in zip(space, self.pad, self.dilation, self.kernel, self.stride)]
        if min(out) < 1:
            raise CaffeError(f'the bottom {bottom[0]} is smaller than the kernel {self.kernel}')
        return [(*lead, self.layer_param.convolution_param.num_output, *out)] * len(bottom)

    def compute(self, *bottom):
        bias = self.weight(1) if len(self.blobs) > 1 else None
        return tuple(self.convolve(x, self.weight(0), bias) for x in bottom)

    def convolve(self, x, weight, bias):
        """The convolution with any weights and bias of the parameters' shapes."""
        if len(self.kernel) == 2 and x.device.type == 'cpu':
            # oneDNN is up to 9 times as fast over channels-last images
            x = x.contiguous(memory_format=torch.channels_last) if self.channel_axis == 1 else x
            weight = weight.contiguous(memory_format=torch.channels_last)
        lead = x.shape[:self.channel_axis]
        if self.channel_axis != 1:
            x = x.reshape(math.prod(lead), *x.shape[self.channel_axis:])
        y = CONVOLUTIONS[len(self.kernel)](
            x, weight, bias, self.stride, self.pad, self.dilation,
            self.layer_param.convolution_param.group)
        return y if self.channel_axis == 1 else y.reshape(*lead, *y.shape[1:])


@register
class Pooling(TensorLayer):
    """Maximum or average of each kernel x kernel window; the output size is rounded up.

    An average divides by the window's size inside the padded image. MAX gives the position of
    each maximum, y * width + x, as a second top.
    """
    top_count = (1, 2)

    def setup(self, bottom, top):
        param = self.layer_param.pooling_param
        if len(bottom[0].shape) != 4:
            raise CaffeError(f'the bottom must have 4 axes, not the shape {bottom[0].shape}')
        if param.pool == param.STOCHASTIC:
            raise CaffeError('STOCHASTIC pooling is not implemented, as in Caffe on the CPU')
        if len(top) == 2 and param.pool != param.MAX:
            raise CaffeError('only MAX pooling has a second top')
        if param.global_pooling:
            if param.HasField('kernel_size') or param.HasField('kernel_h'):
                raise CaffeError('global_pooling takes no kernel size')
        elif not param.HasField('kernel_size') and not (
                param.HasField('kernel_h') and param.HasField('kernel_w')):
            raise CaffeError('kernel_size, or kernel_h and kernel_w, is missing')

    def shape(self, bottom):
        param = self.layer_param.pooling_param
        pair = lambda name, one: ((getattr(param, f'{name}_h'), getattr(param, f'{name}_w'))
                                  if param.HasField(f'{name}_h') else (one, one))
        self.kernel = bottom[2:] if param.global_pooling else pair('kernel', param.kernel_size)
        self.stride = pair('stride', param.stride)
        self.pad = pair('pad', param.pad)
        if 0 in self.kernel or 0 in self.stride or any(
                pad >= kernel for pad, kernel in zip(self.pad, self.kernel)):
            raise CaffeError(f'kernel {self.kernel} must exceed pad {self.pad}, '
                             f'stride {self.stride} must be positive')
        self.out = tuple(self._pooled(*sizes)
                         for sizes in zip(bottom[2:], self.kernel, self.stride, self.pad))
        if min(self.out) < 1:
            raise CaffeError(f'the bottom {bottom} is smaller than the kernel {self.kernel}')
        return [(*bottom[:2], *self.out)] * self.num_top

    def _pooled(self, size, kernel, stride, pad):
        param = self.layer_param.pooling_param
        steps = size + 2 * pad - kernel
        pooled = (steps // stride if param.round_mode == param.FLOOR else -(-steps // stride)) + 1
        # a last window that starts beyond the image is left out; Caffe looks only where it pads
        if any(self.pad) and (pooled - 1) * stride >= size + pad:
            pooled -= 1
        return pooled

    def compute(self, x):
        average = self.layer_param.pooling_param.pool == caffe_pb2.PoolingParameter.AVE
        if not self._torch_agrees(x.shape[2:]):
            return self._average_padded(x) if average else self._max_padded(x)
        if average:
            return F.avg_pool2d(x, self.kernel, self.stride, self.pad, ceil_mode=True)
        if self.num_top == 2:
            y, mask = F.max_pool2d(x, self.kernel, self.stride, self.pad, ceil_mode=True,
                                   return_indices=True)
            return y, mask.to(y.dtype)
        return F.max_pool2d(x, self.kernel, self.stride, self.pad, ceil_mode=True)

    def _torch_agrees(self, size):
        # torch never starts a window beyond the image, and pads by half a kernel at most
        return all(2 * pad <= kernel and self._ceil_out(length, kernel, stride, pad) == out
                   for length, kernel, stride, pad, out
                   in zip(size, self.kernel, self.stride, self.pad, self.out))

    @staticmethod
    def _ceil_out(length, kernel, stride, pad):
        out = -(-(length + 2 * pad - kernel) // stride) + 1
        return out - 1 if (out - 1) * stride >= length + pad else out

    def _padded(self, x, value):
        # (left, right, top, bottom): as far as the last window reaches
        border = []
        for length, kernel, stride, pad, out in reversed(list(
                zip(x.shape[2:], self.kernel, self.stride, self.pad, self.out))):
            border += [pad, max(0, (out - 1) * stride + kernel - length - pad)]
        return F.pad(x, border, value=value)

    def _max_padded(self, x):
        lowest = -torch.finfo(torch.float32).max    # Caffe's value of an empty window
        padded = self._padded(x, lowest)
        y, mask = F.max_pool2d(padded, self.kernel, self.stride, return_indices=True)
        y, mask = y[..., :self.out[0], :self.out[1]], mask[..., :self.out[0], :self.out[1]]
        if self.num_top == 1:
            return y
        row = mask // padded.shape[3] - self.pad[0]
        column = mask % padded.shape[3] - self.pad[1]
        position = row * x.shape[3] + column
        return y, torch.where(y == lowest, -torch.ones_like(position), position).to(y.dtype)

    def _average_padded(self, x):
        padded = self._padded(x, 0)
        total = F.avg_pool2d(padded, self.kernel, self.stride, divisor_override=1)
        rows, columns = (
            torch.tensor([min(i * stride - pad + kernel, length + pad) - (i * stride - pad)
                          for i in range(out)], dtype=x.dtype, device=x.device)
            for length, kernel, stride, pad, out
            in zip(x.shape[2:], self.kernel, self.stride, self.pad, self.out))
        return total[..., :self.out[0], :self.out[1]] / (rows[:, None] * columns)
