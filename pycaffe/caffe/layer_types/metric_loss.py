"""Losses on pairs and triplets of embeddings."""

import math

import torch

from ..errors import CaffeError
from ..gradient import with_gradient
from ..layer import TensorLayer, register
from .loss import as_rows, check_item_labels


def check_embeddings(*shapes):
    """Raise CaffeError unless all bottoms have the same shape N x ..., with at least one item."""
    if not shapes[0] or any(shape != shapes[0] for shape in shapes):
        raise CaffeError(f'embeddings of shapes {", ".join(map(str, shapes))} differ or are empty')


@register
class ContrastiveLoss(TensorLayer):
    """sum of d^2 over like pairs and max(0, margin - d)^2 over unlike ones, / 2N; d = |a - b|.

    The third bottom is 0 for an unlike pair. `legacy_version` has max(0, margin - d^2) for those.
    """
    repeatable = True
    bottom_count = (3, 3)
    no_gradient = (2,)
    is_loss = True

    def shape(self, a, b, similar):
        check_embeddings(a, b)
        check_item_labels(a, similar)
        return [()]

    def compute(self, a, b, similar):
        param = self.layer_param.contrastive_loss_param
        difference = as_rows(a - b)
        squared = difference.square().sum(1)
        if param.legacy_version:
            unlike = torch.relu(param.margin - squared)
        else:
            distance = squared.detach().sqrt()
            gap = torch.relu(param.margin - distance)
            # Caffe's gradient divides by the distance plus 1e-4, to avoid a division by 0
            unlike = with_gradient(gap.square(), -gap / (distance + 1e-4) * squared)
        like = similar.reshape(-1).long() != 0
        return torch.where(like, squared, unlike).sum() / (2 * len(squared))


@register
class TripletLoss(TensorLayer):
    """sum of max(0, margin + |a - p|^2 - |a - n|^2) / 2N; of the fork caffe-windows."""
    repeatable = True
    bottom_count = (3, 3)
    is_loss = True

    def shape(self, anchor, positive, negative):
        check_embeddings(anchor, positive, negative)
        return [()]

    def compute(self, anchor, positive, negative):
        near, far = (as_rows(anchor - other).square().sum(1)
                     for other in (positive, negative))
        margin = self.layer_param.triplet_loss_param.margin
        return torch.relu(margin + near - far).sum() / (2 * len(near))


@register
class LiftedStructSimilaritySoftmaxLoss(TensorLayer):
    """sum of max(0, J)^2 over the P pairs of one label, / 2P (Oh Song et al., 2016).

    J = log(sum of exp(margin - D) over the negatives of both) + D of the pair; D is the distance.
    Without a pair, or without a negative, the loss is 0.
    """
    repeatable = True
    bottom_count = (2, 2)
    no_gradient = (1,)
    is_loss = True

    def shape(self, embeddings, labels):
        check_item_labels(embeddings, labels)
        return [()]

    def compute(self, embeddings, labels):
        rows = as_rows(embeddings)
        labels = labels.reshape(-1)
        same = labels[:, None] == labels
        pairs = same.triu(1)
        if same.all() or not pairs.any():
            return (rows * 0).sum()
        # for equal embeddings this is exact, with gradient 0
        distance = torch.cdist(rows, rows, compute_mode='donot_use_mm_for_euclid_dist')
        margin = self.layer_param.lifted_struct_sim_softmax_loss_param.margin
        negatives = (margin - distance).masked_fill(same, -math.inf).logsumexp(1)
        first, second = pairs.nonzero(as_tuple=True)
        loss = torch.logaddexp(negatives[first], negatives[second]) + distance[first, second]
        return torch.relu(loss).square().sum() / (2 * len(first))
