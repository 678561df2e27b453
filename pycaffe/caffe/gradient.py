"""Gradients that differ from autograd's."""

import torch


def with_gradient(value, surrogate):
    """Return `value`, but with the gradient of `surrogate`, a tensor of the same shape."""
    return _WithGradient.apply(value.detach(), surrogate)


def start_gradient(tensor):
    """Return a tensor in the same memory whose gradient is available through its gradient edge.

    Unlike a leaf, it is not kept alive by the results computed from it.
    """
    return _StartGradient.apply(torch.empty(0, requires_grad=True), tensor)


def usual_strides(x):
    """Return `x` with the strides that the backward of torch.batch_norm needs.

    The first stride of a single image is arbitrary, and reshape and view_as may change it. With an
    unusual one, backward may mistake an NHWC image for NCHW.
    """
    return x.as_strided(x.shape, (x.numel(), *x.stride()[1:])) if len(x) == 1 else x


class _StartGradient(torch.autograd.Function):

    @staticmethod
    def forward(ctx, anchor, tensor):
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx, gradient):
        return None, None


class _WithGradient(torch.autograd.Function):

    @staticmethod
    def forward(ctx, value, surrogate):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return None, gradient
