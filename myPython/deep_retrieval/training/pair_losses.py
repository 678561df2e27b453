"""Losses that compare how far the images of a batch lie apart for a student and for its teacher.

    loss, gradient = pair_l2(student, teacher)

Both take B x D and B x E embeddings (D and E may differ) and return the loss and its gradient to
the student; the teacher is a constant. With d the squared distance of each of the P = B(B - 1)/2
pairs, gap = d(student) - d(teacher). A batch without a pair has loss 0.
"""

import numpy as np
from scipy.spatial.distance import pdist, squareform
from scipy.special import logsumexp, softmax


def pair_l2(student, teacher):
    """sum of gap^2, / P."""
    gap = _gap(student, teacher)
    if not len(gap):
        return _nothing(student)
    return np.mean(gap ** 2), _gradient(student, 2 * gap / len(gap))


def pair_lifted(student, teacher):
    """log(sum of exp(gap^2)), / P: the pairs that differ most count most."""
    gap = _gap(student, teacher)
    if not len(gap):
        return _nothing(student)
    slopes = softmax(gap ** 2) * 2 * gap / len(gap)
    return logsumexp(gap ** 2) / len(gap), _gradient(student, slopes)


def _gap(student, teacher):
    # differences of differences: pdist subtracts the vectors, in float64
    return pdist(student, 'sqeuclidean') - pdist(teacher, 'sqeuclidean')


def _nothing(student):
    return 0.0, np.zeros(student.shape)


def _gradient(x, slopes):
    """The gradient to x (B x D) where `slopes` (P) is that to its pairs' squared distances."""
    # |a - b|^2 gives 2 (a - b) to a, summed over every b: a pair pulls at both its ends
    weights = squareform(2 * slopes)
    x = x.astype(np.float64)
    return weights.sum(1, keepdims=True) * x - weights @ x
