"""Losses on scores and labels, or on pairs of blobs."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import CaffeError
from ..files import naming, read_message
from ..gradient import with_gradient
from ..layer import TensorLayer, register
from ..proto import caffe_pb2, weights_pb2
from ..weights import blob_arrays

LOG_FLT_MIN = math.log(np.finfo(np.float32).tiny)   # SoftmaxWithLoss clamps the log to this
THRESHOLD = 1e-20       # InfogainLoss and MultinomialLogisticLoss clamp probabilities to this


def class_labels(labels, classes, ignore=None):
    """Return the labels as integers and the mask of those not ignored; ignored ones become 0.

    Labels are rounded towards 0, as in Caffe. Raises CaffeError if a label is not a class.
    """
    index = labels.long()
    counts = torch.ones_like(index, dtype=torch.bool) if ignore is None else index != ignore
    wrong = counts & ((index < 0) | (index >= classes))
    if wrong.any():
        position = tuple(wrong.nonzero()[0].tolist())
        allowed = f'0 to {classes - 1}' + ('' if ignore is None else f', or {ignore} to ignore')
        raise CaffeError(f'the label {labels[position].item():g} at {position} of the labels '
                         f'is not in the allowed range: {allowed}')
    return index * counts, counts


def ignored(param):
    """Return the ignore_label of `param`, or None."""
    return param.ignore_label if param.HasField('ignore_label') else None


def normalizer(param, items, counts, default=caffe_pb2.LossParameter.VALID):
    """Return the divisor of a loss over `items` items; `counts` is the mask of labels to count."""
    mode = default
    if param.HasField('normalization'):
        mode = param.normalization
    elif param.HasField('normalize'):
        mode = param.VALID if param.normalize else param.BATCH_SIZE
    if mode == param.VALID:
        return counts.sum().clamp(min=1)
    return max(1, {param.FULL: counts.numel(), param.BATCH_SIZE: items, param.NONE: 1}[mode])


def check_items(first, second):
    """Raise unless both bottoms have the same number of items."""
    if not first or first[:1] != second[:1]:
        raise CaffeError(f'bottoms of shapes {first} and {second} need the same number of items '
                         '(first axis), at least 1')


def check_item_labels(items, labels):
    """Raise unless there is one label per item."""
    check_items(items, labels)
    if math.prod(labels) != items[0]:
        raise CaffeError(f'{items[0]} items need one label each, not labels of shape {labels}')


def as_rows(x):
    """Return x as an N x K matrix, where K is the count of all other axes."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


class ClassLayer(TensorLayer):
    """Base of layers on class scores along one axis, and one label per position of the others."""
    bottom_count = (2, 2)
    top_count = (1, 2)

    def split(self, scores, labels, axis):
        """Set `outer`, `classes` and `inner`: the counts before, along and after the class axis."""
        axis = self.axis(axis, len(scores))
        self.outer, self.classes = math.prod(scores[:axis]), scores[axis]
        self.inner = math.prod(scores[axis + 1:])
        if math.prod(labels) != self.outer * self.inner:
            raise CaffeError(f'the {self.outer} x {self.inner} positions of {scores} around axis '
                             f'{axis} need one label each, not labels of shape {labels}')

    def flat(self, scores, labels, param):
        """Return scores (outer x classes x inner), labels and their mask (outer x inner)."""
        labels, counts = class_labels(labels, self.classes, ignored(param))
        return (scores.reshape(self.outer, self.classes, self.inner),
                labels.reshape(self.outer, self.inner), counts.reshape(self.outer, self.inner))


@register
class SoftmaxWithLoss(ClassLayer):
    """-log softmax(x)[label] along softmax_param's axis; the second top is the softmax."""
    repeatable = True
    no_gradient = (1,)
    is_loss = True

    def shape(self, scores, labels):
        check_items(scores, labels)
        self.split(scores, labels, self.layer_param.softmax_param.axis)
        return [(), scores][:self.num_top]

    def compute(self, scores, labels):
        param = self.layer_param.loss_param
        x, index, counts = self.flat(scores, labels, param)
        log = F.log_softmax(x, 1).gather(1, index[:, None])[:, 0]
        log = with_gradient(log.clamp(min=LOG_FLT_MIN), log)    # Caffe's gradient ignores the clamp
        loss = -(log * counts).sum() / normalizer(param, self.outer, counts)
        if self.num_top == 1:
            return loss
        return loss, torch.softmax(x.detach(), 1).reshape(scores.shape)


@register
class InfogainLoss(ClassLayer):
    """-sum_l H[label, l] log softmax(x)[l]; the second top is the softmax.

    H, classes x classes, is the third bottom or the BINARYPROTO file `source`.
    """
    repeatable = True
    bottom_count = (2, 3)
    no_gradient = (1, 2)
    is_loss = True

    def setup(self, bottom, top):
        if self.layer_param.loss_param.HasField('normalize'):
            raise CaffeError('normalize is not supported: use normalization')
        if len(bottom) == 2:
            source = self.layer_param.infogain_loss_param.source
            if not source:
                raise CaffeError('needs the matrix as a third bottom or a file `source`')
            blob = read_message(source, weights_pb2.RawBlob(), 'matrix (a binary BlobProto)')
            with naming(source):
                self.matrix = torch.from_numpy(blob_arrays(blob)[0].copy())

    def shape(self, scores, labels, matrix=None):
        check_items(scores, labels)
        self.split(scores, labels, self.layer_param.infogain_loss_param.axis)
        matrix = tuple(self.matrix.shape) if matrix is None else matrix
        if math.prod(matrix) != self.classes ** 2:
            raise CaffeError(f'a matrix of shape {matrix} is not {self.classes} x {self.classes}')
        return [(), scores][:self.num_top]

    def compute(self, scores, labels, matrix=None):
        param = self.layer_param.loss_param
        x, index, counts = self.flat(scores, labels, param)
        matrix = (self.matrix if matrix is None else matrix).to(x).reshape(self.classes, -1)
        log = F.log_softmax(x, 1)
        log = with_gradient(log.clamp(min=math.log(THRESHOLD)), log)
        gain = matrix[index].movedim(2, 1) * counts[:, None]    # outer x classes x inner
        loss = -(gain * log).sum() / normalizer(param, self.outer, counts)
        if self.num_top == 1:
            return loss
        return loss, torch.softmax(x.detach(), 1).reshape(scores.shape)


@register
class SigmoidCrossEntropyLoss(TensorLayer):
    """-(t log s + (1 - t) log(1 - s)) with s = sigmoid(x), summed and normalized.

    The default normalization is BATCH_SIZE.
    """
    repeatable = True
    bottom_count = (2, 2)
    no_gradient = (1,)
    is_loss = True

    def shape(self, scores, targets):
        check_items(scores, targets)
        if math.prod(scores) != math.prod(targets):
            raise CaffeError(f'scores and targets of shapes {scores} and {targets} differ in count')
        return [()]

    def compute(self, scores, targets):
        param = self.layer_param.loss_param
        targets = targets.reshape(scores.shape)
        ignore = ignored(param)
        counts = (torch.ones_like(targets, dtype=torch.bool) if ignore is None
                  else targets.long() != ignore)
        loss = F.binary_cross_entropy_with_logits(scores, targets, reduction='none')
        return (loss * counts).sum() / normalizer(param, len(scores), counts,
                                                  default=param.BATCH_SIZE)


@register
class EuclideanLoss(TensorLayer):
    """sum((a - b)^2) / 2N"""
    repeatable = True
    bottom_count = (2, 2)
    is_loss = True

    def shape(self, a, b):
        check_items(a, b)
        if math.prod(a) != math.prod(b):
            raise CaffeError(f'bottoms of shapes {a} and {b} differ in count')
        return [()]

    def compute(self, a, b):
        return (a - b.reshape(a.shape)).square().sum() / (2 * a.shape[0])


class RowLoss(TensorLayer):
    """Base of losses on rows (all axes except the first) with one label per row."""
    bottom_count = (2, 2)
    no_gradient = (1,)
    is_loss = True

    def shape(self, scores, labels):
        check_item_labels(scores, labels)
        return [()]

    def flat(self, scores, labels):
        """Return scores as N x K and labels as N x 1."""
        rows = as_rows(scores)
        return rows, class_labels(labels, rows.shape[1])[0].reshape(-1, 1)


@register
class HingeLoss(RowLoss):
    """sum(max(0, 1 - x_l) + sum over the others of max(0, 1 + x_k)) / N; squared with norm L2."""
    repeatable = True

    def compute(self, scores, labels):
        x, index = self.flat(scores, labels)
        sign = torch.ones_like(x).scatter(1, index, -1)
        loss = torch.relu(1 + sign * x)
        if self.layer_param.hinge_loss_param.norm == caffe_pb2.HingeLossParameter.L2:
            loss = loss.square()
        return loss.sum() / x.shape[0]


@register
class MultinomialLogisticLoss(RowLoss):
    """-sum(log p[label]) / N, over probabilities p."""
    repeatable = True

    def compute(self, scores, labels):
        x, index = self.flat(scores, labels)
        p = x.gather(1, index)
        floored = p.detach().clamp(min=THRESHOLD)
        # below the threshold Caffe's gradient is the one at the threshold
        return with_gradient(-floored.log().sum(), -(p / floored).sum()) / x.shape[0]
