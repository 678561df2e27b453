import math

import caffe
import numpy as np
import pytest
from custom_nets import inputs, layer
from deep_retrieval.training.pair_losses import pair_l2, pair_lifted


def gaps(student, teacher):
    """d(student) - d(teacher) of each pair, one after the other."""
    found = []
    for i in range(len(student)):
        for j in range(i + 1, len(student)):
            found.append(sum((a - b) ** 2 for a, b in zip(student[i], student[j]))
                         - sum((a - b) ** 2 for a, b in zip(teacher[i], teacher[j])))
    return found


def naive_l2(student, teacher):
    found = gaps(student, teacher)
    return sum(gap ** 2 for gap in found) / len(found)


def naive_lifted(student, teacher):
    found = gaps(student, teacher)
    return math.log(sum(math.exp(gap ** 2) for gap in found)) / len(found)


LOSSES = [(pair_l2, naive_l2), (pair_lifted, naive_lifted)]


def batch(size, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(size, 4)) / 2, rng.normal(size=(size, 6)) / 2


@pytest.mark.parametrize('loss, naive', LOSSES)
@pytest.mark.parametrize('size', [2, 3, 7])
def test_losses_equal_a_loop(loss, naive, size):
    student, teacher = batch(size)
    assert loss(student, teacher)[0] == pytest.approx(naive(student, teacher), rel=1e-12)


@pytest.mark.parametrize('loss, naive', LOSSES)
@pytest.mark.parametrize('size', [2, 5])
def test_gradients_equal_finite_differences(loss, naive, size):
    student, teacher = batch(size, 1)
    gradient = loss(student, teacher)[1]
    for index in np.ndindex(student.shape):
        step = np.zeros_like(student)
        step[index] = 1e-6
        change = (naive(student + step, teacher) - naive(student - step, teacher)) / 2e-6
        assert gradient[index] == pytest.approx(change, rel=1e-5, abs=1e-8)


def test_a_pair_worked_by_hand():
    """d is 4 and 1: the gap is 3, the loss 9, its gradient 2 * 3 * 2 * (a - b)."""
    loss, gradient = pair_l2(np.array([[0., 0.], [2., 0.]]), np.array([[0.], [1.]]))
    assert loss == 9 and gradient.tolist() == [[-24, 0], [24, 0]]
    loss, gradient = pair_lifted(np.array([[0., 0.], [2., 0.]]), np.array([[0.], [1.]]))
    assert loss == 9 and gradient.tolist() == [[-24, 0], [24, 0]]


@pytest.mark.parametrize('loss, naive', LOSSES)
def test_equal_embeddings(loss, naive):
    same = np.ones((3, 4), np.float32)
    value, gradient = loss(same, same)
    assert value == pytest.approx(0 if loss is pair_l2 else math.log(3) / 3)
    assert not gradient.any()
    student, teacher = batch(4)
    student[1] = student[2]
    value, gradient = loss(student, teacher)
    assert value == pytest.approx(naive(student, teacher)) and np.isfinite(gradient).all()


@pytest.mark.parametrize('loss, naive', LOSSES)
def test_one_image_is_no_pair(loss, naive):
    value, gradient = loss(*batch(1))
    assert value == 0 and gradient.shape == (1, 4) and not gradient.any()


def test_large_gaps_do_not_overflow():
    """exp(gap^2) itself is infinite: of (30, 30, 0) the first two halve the slope."""
    student = np.array([[0.], [30.], [0.]]) ** 0.5 * [[1., 0.]]
    value, gradient = pair_lifted(student, np.zeros((3, 2)))
    assert value == pytest.approx((900 + math.log(2)) / 3)
    root = 30 ** 0.5
    np.testing.assert_allclose(gradient[:, 0], [-20 * root, 40 * root, -20 * root])


def test_close_embeddings_far_from_the_origin():
    """The sums of squares would be 1e8 times as large as the distances."""
    student, teacher = batch(5)
    for loss, _ in LOSSES:
        near, far = loss(student, teacher), loss(student + 1e4, teacher)
        assert far[0] == pytest.approx(near[0], rel=1e-6)
        np.testing.assert_allclose(far[1], near[1], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize('name, naive', [('PairL2LossLayer', naive_l2),
                                         ('PairLiftedStructuredLossLayer', naive_lifted)])
@pytest.mark.parametrize('weight', [1, 2.5, 0])
def test_pair_losses_in_a_net(name, naive, weight, make_net):
    """The gradient reaches the student's parameters, times the weight, and no teacher."""
    text = ('force_backward: true ' + inputs(student=(4, 3, 1, 1), teacher=(4, 5))
            + 'layer { name: "ip" type: "InnerProduct" bottom: "student" top: "ip" '
              'inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }'
            + layer(name, 'ip teacher', 'loss', more=f'loss_weight: {weight}'))
    net = make_net(text, caffe.TRAIN)
    rng = np.random.default_rng(5)
    student, teacher = rng.normal(size=(4, 3, 1, 1)) / 2, rng.normal(size=(4, 5)) / 4
    net.blobs['teacher'].diff[...] = 7
    weights, bias = (blob.data.astype(float) for blob in net.params['ip'])

    def loss(weights):
        return naive(student.reshape(4, 3) @ weights.T + bias, teacher)

    assert net.forward(student=student, teacher=teacher)['loss'][0] == pytest.approx(loss(weights),
                                                                                    rel=1e-4)
    net.backward()
    for index in np.ndindex(weights.shape):
        step = np.zeros_like(weights)
        step[index] = 1e-6
        change = weight * (loss(weights + step) - loss(weights - step)) / 2e-6
        assert net.params['ip'][0].diff[index] == pytest.approx(change, rel=1e-3, abs=1e-5)
    if weight:
        assert not net.blobs['teacher'].diff.any()


def test_pair_losses_refuse_batches_of_two_sizes(make_net):
    with pytest.raises(ValueError, match='4 embeddings of the student and 3 of the teacher'):
        make_net(inputs(a=(4, 3), b=(3, 3)) + layer('PairL2LossLayer', 'a b', 'loss'))
