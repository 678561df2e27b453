"""Scale and Bias: multiply a bottom by a smaller blob, or add one."""

import torch

from ..errors import CaffeError
from ..gradient import usual_strides
from ..layer import TensorLayer, register
from ..proto import caffe_pb2

UNIT_FILLER = caffe_pb2.FillerParameter(type='constant', value=1)


class Spanning(TensorLayer):
    """Base of layers that combine x with an operand spanning some axes of x from `axis` on.

    The operand is the second bottom or, without one, a parameter over `num_axes` axes (-1: all
    remaining ones).
    """
    bottom_count = (1, 2)

    def operand_shape(self, bottom, param):
        if len(bottom) == 2:
            return bottom[1].shape
        shape = bottom[0].shape
        start = self.axis(param.axis, len(shape))
        stop = len(shape) if param.num_axes == -1 else start + param.num_axes
        if not start <= stop <= len(shape):
            raise CaffeError(f'axis {param.axis} and num_axes {param.num_axes} exceed the axes '
                             f'of {shape}')
        return shape[start:stop]

    def fit(self, bottom, operand, param):
        """Set `broadcast`: the operand's shape, with an axis of 1 for each later axis of x."""
        start = self.axis(param.axis, len(bottom)) if operand else 0
        if bottom[start:start + len(operand)] != tuple(operand):
            raise CaffeError(f'an operand of shape {tuple(operand)} does not fit {bottom} '
                             f'at axis {start}')
        self.broadcast = tuple(operand) + (1,) * (len(bottom) - start - len(operand))


@register
class Scale(Spanning):
    """y = x * s + b, where s spans some axes of x from `axis` on.

    s is the second bottom or a parameter; b, with `bias_term`, is a parameter of the shape of s.
    """
    repeatable = True

    @staticmethod
    def parameters(layer_param):
        return (['scale'] * (len(layer_param.bottom) == 1)
                + ['bias'] * layer_param.scale_param.bias_term)

    def setup(self, bottom, top):
        param = self.layer_param.scale_param
        shape = self.operand_shape(bottom, param)
        self.add_blobs(scale=(shape, param.filler if param.HasField('filler') else UNIT_FILLER),
                       bias=(shape, param.bias_filler))

    def shape(self, bottom, scale=None):
        if scale is None:
            scale = self.blobs[0].shape
        self.fit(bottom, scale, self.layer_param.scale_param)
        return [bottom]

    def compute(self, x, scale=None):
        scale = self.weight(0) if scale is None else scale
        bias = self.weight(-1) if self.layer_param.scale_param.bias_term else None
        if scale.dim() == 1 and len(self.broadcast) == x.dim() - 1:
            # One value per channel: torch's batch norm with mean 0 and variance 1 computes the same
            # in one pass, and is twice as fast including gradients.
            mean, variance = x.new_zeros(len(scale)), x.new_ones(len(scale))
            x = usual_strides(x)
            return torch.batch_norm(x, scale, bias, mean, variance, False, 0, 0, False)
        y = x * scale.reshape(self.broadcast)
        return y if bias is None else y + bias.reshape(self.broadcast)


@register
class Bias(Spanning):
    """y = x + b, where b (second bottom or parameter) spans some axes of x from `axis` on."""
    repeatable = True

    @staticmethod
    def parameters(layer_param):
        return ['bias'] * (len(layer_param.bottom) == 1)

    def setup(self, bottom, top):
        param = self.layer_param.bias_param
        self.add_blobs(bias=(self.operand_shape(bottom, param), param.filler))

    def shape(self, bottom, bias=None):
        self.fit(bottom, self.blobs[0].shape if bias is None else bias, self.layer_param.bias_param)
        return [bottom]

    def compute(self, x, bias=None):
        return x + (self.weight(0) if bias is None else bias).reshape(self.broadcast)
