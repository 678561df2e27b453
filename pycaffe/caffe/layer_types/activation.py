"""Activations: one number in, one number out."""

import torch
import torch.nn.functional as F

from ..layer import TensorLayer, register


@register
class ReLU(TensorLayer):
    """max(0, x) + negative_slope * min(0, x)"""

    def compute(self, x):
        slope = self.layer_param.relu_param.negative_slope
        return F.leaky_relu(x, slope) if slope else torch.relu(x)
