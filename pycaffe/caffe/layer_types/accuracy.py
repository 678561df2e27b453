"""Accuracy: the share of labels that are predicted correctly."""

import torch

from ..errors import CaffeError
from ..layer import ALL, register
from .loss import ClassLayer


@register
class Accuracy(ClassLayer):
    """Share of the labels among the top_k scores; the second top has the share per class.

    A score that equals the label's score ranks before it, so a tie counts as wrong.
    """
    repeatable = True
    no_gradient = ALL

    def shape(self, scores, labels):
        param = self.layer_param.accuracy_param
        self.split(scores, labels, param.axis)
        if param.top_k > self.classes:
            raise CaffeError(f'top_k {param.top_k} exceeds the {self.classes} classes')
        return [(), (self.classes,)][:self.num_top]

    def compute(self, scores, labels):
        param = self.layer_param.accuracy_param
        x, index, counts = self.flat(scores, labels, param)
        before = (x >= x.gather(1, index[:, None])).sum(1) - 1      # without the label itself
        right = (before < param.top_k) & counts
        accuracy = right.sum().to(x) / counts.sum().clamp(min=1)
        if self.num_top == 1:
            return accuracy
        total, hits = (torch.bincount(index[chosen], minlength=self.classes).to(x)
                       for chosen in (counts, right))
        return accuracy, hits / total.clamp(min=1)
