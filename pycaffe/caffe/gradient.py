"""Gradients that autograd alone does not give."""

import torch


def with_gradient(value, surrogate):
    """`value`, whose gradient is that of `surrogate`, a tensor of the same shape."""
    return _WithGradient.apply(value.detach(), surrogate)


def start_gradient(tensor):
    """The same memory as a tensor whose gradient can be asked for by its gradient edge.

    Unlike a leaf it is not kept alive by what was computed from it.
    """
    return _StartGradient.apply(torch.empty(0, requires_grad=True), tensor)


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
