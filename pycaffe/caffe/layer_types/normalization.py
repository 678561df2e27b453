"""Normalization: centring, scaling, and scaling to unit length."""

import torch
import torch.nn.functional as F

from ..errors import CaffeError
from ..gradient import usual_strides, with_gradient
from ..layer import TensorLayer, register
from ..proto import caffe_pb2


@register
class BatchNorm(TensorLayer):
    """(x - mean) / sqrt(variance + eps) per channel (axis 1).

    The parameters are a sum of means, a sum of variances, and the weight by which to divide both.
    In training the batch's own statistics are used, and added to the decayed sums.
    """
    learns = False

    @staticmethod
    def parameters(layer_param):
        return ['mean', 'variance', 'count']

    def setup(self, bottom, top):
        param = self.layer_param.batch_norm_param
        specs = self.layer_param.param
        if len(specs) != 3 and any(spec.lr_mult for spec in specs):     # 3: an older net, ignored
            raise CaffeError('its parameters are statistics: every lr_mult must be 0')
        self.global_stats = (param.use_global_stats if param.HasField('use_global_stats')
                             else self.phase == caffe_pb2.TEST)
        self.repeatable = self.global_stats
        self.axis(1, len(bottom[0].shape))
        self.channels = bottom[0].shape[1]
        zeros = caffe_pb2.FillerParameter()
        self.add_blobs(mean=((self.channels,), zeros), variance=((self.channels,), zeros),
                       count=((1,), zeros))

    def shape(self, bottom):
        if len(bottom) < 2 or bottom[1] != self.channels:
            raise CaffeError(f'the bottom {bottom} does not have the {self.channels} channels '
                             'of the statistics')
        return [bottom]

    def statistics(self):
        """Return mean and variance of the channels, from the parameters."""
        weight = self.weight(2)
        weight = torch.where(weight == 0, weight, 1 / weight)
        return self.weight(0) * weight, self.weight(1) * weight

    def forward(self, bottom, top):
        super().forward(bottom, top)
        self.accumulate()

    def accumulate(self):
        """Add the last batch's statistics to the parameters, in training."""
        if not self.global_stats:
            decay = self.layer_param.batch_norm_param.moving_average_fraction
            for blob, value in zip(self.blobs, (*self._batch, 1), strict=True):
                blob.tensor = blob.tensor * decay + value

    def compute(self, x, scale=None, bias=None):
        """Normalize; with `scale` and `bias` (one value per channel), also apply the next Scale."""
        x = usual_strides(x)
        if self.global_stats:
            mean, variance = (value.to(x.dtype) for value in self.statistics())
        else:
            mean, variance = self._batch = x.new_zeros(2, self.channels)
        batch_stats = not self.global_stats
        if batch_stats and x.numel() == self.channels:      # each value is its channel's mean
            mean.copy_(x.detach().flatten())
            x, mean, variance, batch_stats = x * 0, torch.zeros_like(mean), variance + 1, False
        # in training momentum 1 writes the batch's mean and unbiased variance over these two
        return torch.batch_norm(x, scale, bias, mean, variance, batch_stats, 1,
                                self.layer_param.batch_norm_param.eps, False)


@register
class LRN(TensorLayer):
    """x / (k + alpha * s) ^ beta, where s is the mean of x^2 over `local_size` neighbours.

    The neighbours are channels, or cells in a square of the same channel, with zeros beyond the
    border. Within a channel, k is always 1, whatever the prototxt says.
    """
    repeatable = True

    def setup(self, bottom, top):
        if self.layer_param.lrn_param.local_size % 2 == 0:
            raise CaffeError('local_size must be odd')

    def shape(self, bottom):
        if len(bottom) != 4:
            raise CaffeError(f'the bottom must have 4 axes, not the shape {bottom}')
        return [bottom]

    def compute(self, x):
        param = self.layer_param.lrn_param
        size = param.local_size
        if param.norm_region == param.ACROSS_CHANNELS:
            return F.local_response_norm(x, size, param.alpha, param.beta, param.k)
        mean = F.avg_pool2d(x.square(), size, 1, size // 2)
        return x * (1 + param.alpha * mean) ** -param.beta


@register
class MVN(TensorLayer):
    """(x - mean) / (deviation + eps) over each channel of each image, or over the whole image."""
    repeatable = True

    def shape(self, bottom):
        if len(bottom) > 4:
            raise CaffeError(f'the bottom may have 4 axes at most, not the shape {bottom}')
        self.target = bottom + (1,) * (4 - len(bottom))
        return [self.target]

    def compute(self, x):
        param = self.layer_param.mvn_param
        axes = (1, 2, 3) if param.across_channels else (2, 3)
        x = x.reshape(self.target)
        centred = x - x.mean(axes, keepdim=True)
        if not param.normalize_variance:
            return centred
        fixed = centred.detach()
        deviation = fixed.square().mean(axes, keepdim=True).sqrt() + param.eps
        y = fixed / deviation
        # Caffe's gradient treats eps as part of the deviation
        return with_gradient(y, (centred - y * (y * centred).mean(axes, keepdim=True)) / deviation)


@register
class Softmax(TensorLayer):
    """exp(x) divided by its sum along `axis`."""
    repeatable = True

    def shape(self, bottom):
        self.dim = self.axis(self.layer_param.softmax_param.axis, len(bottom))
        return [bottom]

    def compute(self, x):
        return torch.softmax(x, self.dim)


@register
class Normalize(TensorLayer):
    """x / sqrt(1e-6 + sum of squares over axis 1); of the fork caffe-windows."""
    repeatable = True

    def setup(self, bottom, top):
        kind = self.layer_param.normalize_param.normalize_type
        if kind != 'L2':
            raise CaffeError(f"normalize_type is {kind!r}, but only 'L2' is implemented")

    def compute(self, x):
        return x / (x.square().sum(1, keepdim=True) + 1e-6).sqrt()
