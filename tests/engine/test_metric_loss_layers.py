"""Losses over pairs and triplets: naive loops, numbers worked by hand, degenerate batches."""

import math

import numpy as np
import pytest
from caffe.errors import CaffeError
from conftest import check_gradients
from loss_nets import loss_net, run

RNG = np.random.default_rng(0)
LIFTED = 'LiftedStructSimilaritySoftmaxLoss'


def lifted_net(make_net, x, labels, margin=1):
    return loss_net(make_net, LIFTED,
                    f'lifted_struct_sim_softmax_loss_param {{ margin: {margin} }}', x=x, l=labels)


def lifted_by_loops(x, labels, margin):
    """The paper's sum, pair by pair."""
    items = range(len(x))
    distance = [[math.dist(a, b) for b in x] for a in x]
    total, pairs = 0, 0
    for i in items:
        for j in items[i + 1:]:
            if labels[i] != labels[j]:
                continue
            negatives = sum(math.exp(margin - distance[anchor][k]) for anchor in (i, j)
                            for k in items if labels[k] != labels[anchor])
            total += max(0, math.log(negatives) + distance[i][j]) ** 2
            pairs += 1
    return total / (2 * pairs)


@pytest.mark.parametrize('margin', [0, 1, 3])
def test_lifted_equals_loops(make_net, margin):
    x, labels = RNG.normal(size=(12, 5)), np.arange(12) % 5
    net = lifted_net(make_net, x, labels, margin)
    assert run(net) == pytest.approx(lifted_by_loops(x, labels, margin), rel=1e-5)
    check_gradients(net, 'L')


def test_lifted_of_pairs_that_are_close_enough(make_net):
    net = lifted_net(make_net, [[0, 0], [.1, 0], [50, 0]], [0, 0, 1])
    assert run(net) == 0    # J = log(2 e^-49) + .1 is below 0
    assert not net.blobs['x'].diff.any()


def test_lifted_of_a_large_batch(make_net):
    x, labels = RNG.normal(size=(200, 2048)), np.arange(200) // 4
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    net = lifted_net(make_net, x, labels)
    loss = run(net)
    distance = np.linalg.norm(x[:, None, :64] - x[None, :, :64], axis=2) ** 2
    for start in range(64, 2048, 64):       # 64 dimensions at a time, for the memory's sake
        part = slice(start, start + 64)
        distance += np.linalg.norm(x[:, None, part] - x[None, :, part], axis=2) ** 2
    distance = np.sqrt(distance)
    negatives = (np.exp(1 - distance) * (labels[:, None] != labels)).sum(1)
    i, j = np.triu_indices(200, 1)
    pair = labels[i] == labels[j]
    i, j = i[pair], j[pair]
    terms = np.log(negatives[i] + negatives[j]) + distance[i, j]
    assert loss == pytest.approx((terms ** 2).sum() / (2 * len(i)), rel=1e-5)
    assert np.isfinite(net.blobs['x'].diff).all()


def test_lifted_of_equal_images(make_net):
    net = lifted_net(make_net, [[0, 0], [0, 0], [1, 0]], [5, 5, 7])
    # D of the pair is 0, those to the negative are 1: J = log(e^0 + e^0)
    assert run(net) == pytest.approx(math.log(2) ** 2 / 2)
    # the pair itself pulls nowhere; the negative pushes each of it by half of J
    push = math.log(2) / 2
    np.testing.assert_allclose(net.blobs['x'].diff, [[push, 0], [push, 0], [-2 * push, 0]],
                               rtol=1e-5)


def test_lifted_of_a_negative_equal_to_its_anchor(make_net):
    net = lifted_net(make_net, [[0, 0], [1, 0], [0, 0]], [5, 5, 7])
    # J = log(e + 1) + 1
    assert run(net) == pytest.approx((math.log(math.e + 1) + 1) ** 2 / 2)
    assert np.isfinite(net.blobs['x'].diff).all()
    assert net.blobs['x'].diff[1, 0] > 0 > net.blobs['x'].diff[0, 0]


@pytest.mark.parametrize('labels', [[0, 1, 2], [4, 4, 4]], ids=['no pair', 'no negative'])
def test_lifted_without_pairs_or_negatives_is_zero(make_net, labels):
    net = lifted_net(make_net, RNG.normal(size=(3, 4)), labels)
    assert run(net) == 0
    np.testing.assert_array_equal(net.blobs['x'].diff, 0)


def test_lifted_of_one_image(make_net):
    assert run(lifted_net(make_net, [[1, 2]], [0])) == 0


def test_triplet_equals_a_loop(make_net):
    a, p, n = RNG.normal(size=(3, 6, 4, 1, 1))
    net = loss_net(make_net, 'TripletLoss', 'triplet_loss_param { margin: 0.5 }', a=a, p=p, n=n)
    terms = [.5 + ((x - y) ** 2).sum() - ((x - z) ** 2).sum() for x, y, z in zip(a, p, n)]
    assert min(terms) < 0 < max(terms)
    assert run(net) == pytest.approx(sum(max(0, term) for term in terms) / 12, rel=1e-5)
    check_gradients(net, 'L')


def test_triplet_gradient(make_net):
    net = loss_net(make_net, 'TripletLoss', 'loss_weight: 2', a=[[0, 0]], p=[[2, 0]], n=[[0, 1]])
    assert run(net) == (1 + 4 - 1) / 2
    for name, diff in (('a', [-4, 2]), ('p', [4, 0]), ('n', [0, -2])):
        np.testing.assert_allclose(net.blobs[name].diff, [diff])


@pytest.mark.parametrize('legacy, loss', [(False, (7 - 5) ** 2), (True, 26 - 25)])
def test_contrastive_of_an_unlike_pair(make_net, legacy, loss):
    margin = 26 if legacy else 7
    option = f'contrastive_loss_param {{ margin: {margin} legacy_version: {str(legacy).lower()} }}'
    net = loss_net(make_net, 'ContrastiveLoss', option, a=[[3, 4]], b=[[0, 0]], s=[0])
    assert run(net) == loss / 2
    factor = 1 if legacy else 2 / (5 + 1e-4)
    np.testing.assert_allclose(net.blobs['a'].diff, [[-3 * factor, -4 * factor]], rtol=1e-6)
    np.testing.assert_allclose(net.blobs['b'].diff, -net.blobs['a'].diff)


def test_contrastive_of_equal_embeddings(make_net):
    net = loss_net(make_net, 'ContrastiveLoss', a=[[1, 2]] * 2, b=[[1, 2]] * 2, s=[0, 1])
    assert run(net) == 1 / 4
    np.testing.assert_array_equal(net.blobs['a'].diff, 0)


def test_contrastive_gradients_where_they_are_the_derivative(make_net):
    a, b = RNG.normal(size=(2, 6, 3))
    legacy = 'contrastive_loss_param { margin: 4 legacy_version: true }'
    check_gradients(loss_net(make_net, 'ContrastiveLoss', legacy, a=a, b=b, s=[0, 1] * 3), 'L')
    check_gradients(loss_net(make_net, 'ContrastiveLoss', a=a, b=b, s=[1] * 6), 'L')


@pytest.mark.parametrize('kind, shapes', [
    ('TripletLoss', ((2, 3), (2, 3), (2, 4))), ('TripletLoss', ((2, 3), (3, 3), (2, 3))),
    ('TripletLoss', ((), (), ())), ('ContrastiveLoss', ((2, 3), (2, 4), (2,))),
    ('ContrastiveLoss', ((2, 3), (2, 3), (3,))), ('ContrastiveLoss', ((2, 3), (2, 3), (2, 2))),
    (LIFTED, ((2, 3), (3,))), (LIFTED, ((2, 3), (2, 2))), (LIFTED, ((), ()))])
def test_shapes_that_do_not_fit(make_net, kind, shapes):
    with pytest.raises(CaffeError, match='shapes? '):
        loss_net(make_net, kind, **{f'b{i}': np.zeros(shape) for i, shape in enumerate(shapes)})
