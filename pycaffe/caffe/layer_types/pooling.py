"""Pooling over windows, and over spatial pyramids."""

import math

import torch
import torch.nn.functional as F

from ..blob import Blob
from ..errors import CaffeError
from ..layer import TensorLayer, register
from ..proto import caffe_pb2


@register
class Pooling(TensorLayer):
    """Maximum or average of each kernel x kernel window; the output size is rounded up.

    An average divides by the window's size inside the padded image. The optional second top of MAX
    has the position of each maximum, y * width + x.
    """
    repeatable = True
    top_count = (1, 2)

    def setup(self, bottom, top):
        param = self.layer_param.pooling_param
        if param.pool == param.STOCHASTIC:
            raise CaffeError('STOCHASTIC pooling is not implemented, as in Caffe on the CPU')
        if len(top) == 2 and param.pool != param.MAX:
            raise CaffeError('only MAX pooling has a second top')
        for name, field in (('kernel', 'kernel_size'), ('stride', 'stride'), ('pad', 'pad')):
            sides = [param.HasField(f'{name}_h'), param.HasField(f'{name}_w')]
            if any(sides) and (param.HasField(field) or not all(sides)):
                raise CaffeError(f'give either {field}, or {name}_h and {name}_w')
        has_kernel = param.HasField('kernel_size') or param.HasField('kernel_h')
        if param.global_pooling and has_kernel:
            raise CaffeError('global_pooling takes no kernel size')
        if not param.global_pooling and not has_kernel:
            raise CaffeError('kernel_size, or kernel_h and kernel_w, is missing')

    def shape(self, bottom):
        param = self.layer_param.pooling_param
        if len(bottom) != 4:
            raise CaffeError(f'the bottom must have 4 axes, not the shape {bottom}')
        pair = lambda name, one: ((getattr(param, f'{name}_h'), getattr(param, f'{name}_w'))
                                  if param.HasField(f'{name}_h') else (one, one))
        self.kernel = bottom[2:] if param.global_pooling else pair('kernel', param.kernel_size)
        self.stride = pair('stride', param.stride)
        self.pad = pair('pad', param.pad)
        if param.global_pooling and (self.stride != (1, 1) or self.pad != (0, 0)):
            raise CaffeError('global_pooling takes no stride and no pad')
        if 0 in self.kernel or 0 in self.stride or any(
                pad >= kernel for pad, kernel in zip(self.pad, self.kernel, strict=True)):
            raise CaffeError(f'kernel {self.kernel} must exceed pad {self.pad}, '
                             f'stride {self.stride} must be positive')
        self.out = tuple(self._pooled(*sizes) for sizes in zip(
            bottom[2:], self.kernel, self.stride, self.pad, strict=True))
        if min(self.out) < 1:
            raise CaffeError(f'the bottom {bottom} is smaller than the kernel {self.kernel}')
        return [(*bottom[:2], *self.out)] * self.num_top

    def _pooled(self, size, kernel, stride, pad):
        param = self.layer_param.pooling_param
        steps = size + 2 * pad - kernel
        pooled = (steps // stride if param.round_mode == param.FLOOR else -(-steps // stride)) + 1
        # a last window that starts beyond the image is dropped; Caffe checks this only with padding
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
                   in zip(size, self.kernel, self.stride, self.pad, self.out, strict=True))

    @staticmethod
    def _ceil_out(length, kernel, stride, pad):
        out = -(-(length + 2 * pad - kernel) // stride) + 1
        return out - 1 if (out - 1) * stride >= length + pad else out

    def _padded(self, x, value):
        # (left, right, top, bottom): up to the end of the last window
        border = []
        for length, kernel, stride, pad, out in reversed(list(
                zip(x.shape[2:], self.kernel, self.stride, self.pad, self.out, strict=True))):
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
            in zip(x.shape[2:], self.kernel, self.stride, self.pad, self.out, strict=True))
        return total[..., :self.out[0], :self.out[1]] / (rows[:, None] * columns)


@register
class SPP(TensorLayer):
    """Spatial pyramid pooling (He et al., 2014): level i pools into 2^i x 2^i bins.

    The levels are joined along axis 1; a single level stays N x C x 1 x 1.
    """
    repeatable = True

    def setup(self, bottom, top):
        if self.layer_param.spp_param.pyramid_height < 1:
            raise CaffeError('pyramid_height must be positive')

    def shape(self, bottom):
        if len(bottom) != 4:
            raise CaffeError(f'the bottom must have 4 axes, not the shape {bottom}')
        height = self.layer_param.spp_param.pyramid_height
        self.levels = [self._level(bottom, 2 ** i) for i in range(height)]
        shapes = [level.shape(bottom)[0] for level in self.levels]
        if height == 1:
            return shapes
        return [(bottom[0], sum(math.prod(shape[1:]) for shape in shapes))]

    def _level(self, bottom, bins):
        kernel = [-(-size // bins) for size in bottom[2:]]
        pad = [(bins * cells - size + 1) // 2
               for cells, size in zip(kernel, bottom[2:], strict=True)]
        if any(border >= cells for border, cells in zip(pad, kernel, strict=True)):
            raise CaffeError(f'the bottom {bottom} is too small for {bins} x {bins} bins')
        level = Pooling(caffe_pb2.LayerParameter(type='Pooling', pooling_param={
            'pool': self.layer_param.spp_param.pool, 'kernel_h': kernel[0], 'kernel_w': kernel[1],
            'stride_h': kernel[0], 'stride_w': kernel[1], 'pad_h': pad[0], 'pad_w': pad[1]}),
            self.phase)
        level.setup([Blob(bottom)], [Blob()])
        level.num_top = 1
        return level

    def compute(self, x):
        pooled = [level.compute(x) for level in self.levels]
        return torch.cat([y.flatten(1) for y in pooled], 1) if len(pooled) > 1 else pooled[0]
