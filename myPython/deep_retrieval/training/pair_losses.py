"""Losses that compare the distances between images of a batch for a student and its teacher.

    loss, gradient = pair_l2(student, teacher)

Both take embeddings, B x D of the student and B x E of the teacher (D and E may differ), and return
the loss and its gradient w.r.t. the student; the teacher is constant. For each of the
P = B (B - 1) / 2 pairs of images, gap = d(student) - d(teacher), where d is the squared Euclidean
distance. For a batch of one image the loss is 0.
"""

import numpy as np
from scipy.spatial.distance import pdist, squareform
from scipy.special import logsumexp, softmax


def pair_l2(student: np.ndarray, teacher: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean of gap^2 over the P pairs, and its gradient (B x D)."""
    gap = _gap(student, teacher)
    if not len(gap):
        return _nothing(student)
    return np.mean(gap ** 2), _gradient(student, 2 * gap / len(gap))


def pair_lifted(student: np.ndarray, teacher: np.ndarray) -> tuple[float, np.ndarray]:
    """Return log(sum over pairs of exp(gap^2)) / P, and its gradient (B x D).

    The pairs with the largest gaps dominate.
    """
    gap = _gap(student, teacher)
    if not len(gap):
        return _nothing(student)
    slopes = softmax(gap ** 2) * 2 * gap / len(gap)
    return logsumexp(gap ** 2) / len(gap), _gradient(student, slopes)


def _gap(student, teacher):
    # pdist subtracts the vectors in float64, so close embeddings do not lose precision
    return pdist(student, 'sqeuclidean') - pdist(teacher, 'sqeuclidean')


def _nothing(student):
    return 0.0, np.zeros(student.shape)


def _gradient(x, slopes):
    """Return the gradient w.r.t. x (B x D); `slopes` (P) is that w.r.t. the pairs' distances."""
    # the gradient of |a - b|^2 w.r.t. a is 2 (a - b), summed over all b
    weights = squareform(2 * slopes)
    x = x.astype(np.float64)
    return weights.sum(1, keepdims=True) * x - weights @ x
