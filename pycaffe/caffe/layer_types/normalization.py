"""Normalization: values centred, scaled, or brought to unit length."""

import torch

from ..errors import CaffeError
from ..filler import fill
from ..layer import TensorLayer, register
from ..proto import caffe_pb2

SCALE_FILLER = caffe_pb2.FillerParameter(type='constant', value=1)


@register
class BatchNorm(TensorLayer):
    """(x - mean) / sqrt(variance + eps) a channel (axis 1).

    The parameters are the sums of mean and variance and the weight by which to divide them. In
    training the batch's own statistics are used, and added to the decayed sums.
    """

    def setup(self, bottom, top):
        param = self.layer_param.batch_norm_param
        self.global_stats = (param.use_global_stats if param.HasField('use_global_stats')
                             else self.phase == caffe_pb2.TEST)
        self.channels = bottom[0].shape[1] if len(bottom[0].shape) > 1 else 1
        zero = caffe_pb2.FillerParameter()
        for shape in ((self.channels,), (self.channels,), (1,)):
            self.add_blob(shape, zero)

    def shape(self, bottom):
        if (bottom[1] if len(bottom) > 1 else 1) != self.channels:
            raise CaffeError(f'the bottom {bottom} does not have the {self.channels} channels '
                             'of the statistics')
        return [bottom]

    def statistics(self):
        """Mean and variance of the channels, from the parameters."""
        weight = self.weight(2)
        weight = torch.where(weight == 0, weight, 1 / weight)
        return self.weight(0) * weight, self.weight(1) * weight

    def compute(self, x):
        param = self.layer_param.batch_norm_param
        rows = x.reshape(x.shape[0], self.channels, -1) if x.dim() > 1 else x.reshape(-1, 1, 1)
        if self.global_stats:
            mean, variance = self.statistics()
        else:
            mean = rows.mean((0, 2))
            variance = (rows - mean[:, None]).square().mean((0, 2))
            self._accumulate(mean, variance, rows.numel() // self.channels)
        y = (rows - mean[:, None]) / (variance[:, None] + param.eps).sqrt()
        return y.reshape(x.shape)

    def _accumulate(self, mean, variance, count):
        decay = self.layer_param.batch_norm_param.moving_average_fraction
        unbiased = count / (count - 1) if count > 1 else 1
        for blob, value in zip(self.blobs, (mean, variance * unbiased, 1)):
            blob.tensor = blob.tensor * decay + value


@register
class Scale(TensorLayer):
    """y = x * s + b, where s spans some axes of x from `axis` on.

    s is the second bottom or a parameter; b, with `bias_term`, is a parameter of the shape of s.
    """
    bottom_count = (1, 2)

    def setup(self, bottom, top):
        param = self.layer_param.scale_param
        if len(bottom) == 2:
            shape = bottom[1].shape
        else:
            start = self.axis(param.axis, len(bottom[0].shape))
            stop = None if param.num_axes == -1 else start + param.num_axes
            shape = bottom[0].shape[start:stop]
            self.add_blob(shape, param.filler if param.HasField('filler') else SCALE_FILLER)
        if param.bias_term:
            self.blobs.add_blob(*shape)
            fill(self.blobs[-1], param.bias_filler)

    def shape(self, bottom, scale=None):
        param = self.layer_param.scale_param
        scale = self.blobs[0].shape if scale is None else scale
        start = self.axis(param.axis, len(bottom)) if scale else 0
        if bottom[start:start + len(scale)] != tuple(scale):
            raise CaffeError(f'a scale of shape {tuple(scale)} does not fit {bottom} at axis {start}')
        # s and b are broadcast over the axes behind theirs
        self.broadcast = tuple(scale) + (1,) * (len(bottom) - start - len(scale))
        return [bottom]

    def compute(self, x, scale=None):
        scale = self.weight(0) if scale is None else scale
        y = x * scale.reshape(self.broadcast)
        if self.layer_param.scale_param.bias_term:
            y = y + self.weight(-1).reshape(self.broadcast)
        return y


@register
class Normalize(TensorLayer):
    """x / sqrt(1e-6 + sum of squares over axis 1); of the fork caffe-windows."""

    def setup(self, bottom, top):
        kind = self.layer_param.normalize_param.normalize_type
        if kind != 'L2':
            raise CaffeError(f"normalize_type is {kind!r}, but only 'L2' is implemented")

    def compute(self, x):
        return x / (x.square().sum(1, keepdim=True) + 1e-6).sqrt()
