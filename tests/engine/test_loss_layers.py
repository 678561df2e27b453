"""Losses and Accuracy: numbers worked by hand, edges and bad input, besides test_genuine_layers."""

import math

import numpy as np
import pytest
from caffe.errors import CaffeError
from caffe.proto import caffe_pb2
from conftest import check_gradients
from loss_nets import loss_net, run

RNG = np.random.default_rng(0)


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize('kind, axis', [('SoftmaxWithLoss', 'softmax_param { axis: -2 }'),
                                        ('InfogainLoss', 'infogain_loss_param { axis: 1 }')])
def test_second_top_is_the_softmax_and_passes_no_gradient(make_net, kind, axis):
    x = RNG.normal(size=(2, 3, 4))
    arrays = dict(x=x, l=RNG.integers(0, 3, (2, 4)))
    if kind == 'InfogainLoss':
        arrays['H'] = np.eye(3)
    net = loss_net(make_net, kind, axis, ('y', 'p'), **arrays)
    run(net)
    alone = net.blobs['x'].diff.copy()
    np.testing.assert_allclose(net.blobs['p'].data, softmax(x, 1), rtol=1e-5)
    net.blobs['p'].diff[...] = 7
    net.backward()
    np.testing.assert_array_equal(net.blobs['x'].diff, alone)
    assert np.abs(alone).max() > 0


def test_softmax_takes_no_log_below_flt_min(make_net):
    net = loss_net(make_net, 'SoftmaxWithLoss', x=[[0, 200]], l=[0])
    assert run(net) == pytest.approx(-math.log(1.17549435e-38))
    np.testing.assert_allclose(net.blobs['x'].diff, [[-1, 1]])      # as if there were no limit


def test_infogain_takes_no_log_below_1e_20(make_net):
    net = loss_net(make_net, 'InfogainLoss', x=[[0, 200]], l=[0], H=[[2, 0], [0, 1]])
    assert run(net) == pytest.approx(-2 * math.log(1e-20))
    np.testing.assert_allclose(net.blobs['x'].diff, [[-2, 2]])


def test_multinomial_takes_no_log_below_1e_20(make_net):
    net = loss_net(make_net, 'MultinomialLogisticLoss', x=[[0, 1], [.5, .5]], l=[0, 1])
    assert run(net) == pytest.approx((-math.log(1e-20) + math.log(2)) / 2)
    np.testing.assert_allclose(net.blobs['x'].diff, [[-.5e20, 0], [0, -1]])


# scores of 0: each label that counts adds log(classes); 8 positions, 2 items, 3 ignored labels
NORMALIZATIONS = [('', 5), ('normalization: FULL', 8), ('normalization: VALID', 5),
                  ('normalization: BATCH_SIZE', 2), ('normalization: NONE', 1)]
LEGACY = [('normalize: true', 5), ('normalize: false', 2),
          ('normalize: false normalization: FULL', 8)]
LABELS = [[0, 1, 255, 2], [255, 255, 1, 0]]


@pytest.mark.parametrize('option, divisor', NORMALIZATIONS + LEGACY)
def test_softmax_normalization(make_net, option, divisor):
    net = loss_net(make_net, 'SoftmaxWithLoss', f'loss_param {{ ignore_label: 255 {option} }}',
                   x=np.zeros((2, 3, 4)), l=LABELS)
    assert run(net) == pytest.approx(5 * math.log(3) / divisor)
    np.testing.assert_allclose(net.blobs['x'].diff[0, :, 2], 0)
    np.testing.assert_allclose(net.blobs['x'].diff[0, :, 0], np.array([-2, 1, 1]) / 3 / divisor,
                               rtol=1e-5)


@pytest.mark.parametrize('option, divisor', NORMALIZATIONS)
def test_infogain_normalization(make_net, option, divisor):
    net = loss_net(make_net, 'InfogainLoss', f'loss_param {{ ignore_label: 255 {option} }}',
                   x=np.zeros((2, 3, 4)), l=LABELS, H=np.full((3, 3), 2))
    assert run(net) == pytest.approx(5 * 6 * math.log(3) / divisor)


@pytest.mark.parametrize('option, divisor', [('', 2)] + NORMALIZATIONS[1:] + LEGACY)
def test_sigmoid_normalization_is_batch_size_by_default(make_net, option, divisor):
    net = loss_net(make_net, 'SigmoidCrossEntropyLoss',
                   f'loss_param {{ ignore_label: 255 {option} }}', x=np.zeros((2, 4)), l=LABELS)
    assert run(net) == pytest.approx(5 * math.log(2) / divisor)
    np.testing.assert_allclose(net.blobs['x'].diff[0], np.array([.5, -.5, 0, -1.5]) / divisor)


@pytest.mark.parametrize('kind', ['SoftmaxWithLoss', 'SigmoidCrossEntropyLoss'])
def test_nothing_but_ignored_labels(make_net, kind):
    shape = (2, 3) if kind == 'SoftmaxWithLoss' else (2,)
    net = loss_net(make_net, kind, 'loss_param { ignore_label: -1 normalization: VALID }',
                   x=RNG.normal(size=shape), l=[-1, -1])
    assert run(net) == 0
    assert not net.blobs['x'].diff.any()


def test_sigmoid_of_large_scores(make_net):
    net = loss_net(make_net, 'SigmoidCrossEntropyLoss', x=[[1000, -1000, 1000]], t=[[1, 0, 0]])
    assert run(net) == 1000
    np.testing.assert_allclose(net.blobs['x'].diff, [[0, 0, 1]])


def test_euclidean(make_net):
    net = loss_net(make_net, 'EuclideanLoss', 'loss_weight: 3',
                   a=[[1, 2], [3, 4]], b=np.zeros((2, 2, 1)))
    assert run(net) == 30 / 4
    np.testing.assert_allclose(net.blobs['a'].diff, [[1.5, 3], [4.5, 6]])
    np.testing.assert_allclose(net.blobs['b'].diff, -net.blobs['a'].diff[..., None])


@pytest.mark.parametrize('norm', ['L1', 'L2'])
def test_hinge(make_net, norm):
    x, labels = RNG.normal(size=(5, 2, 2)), [3, 0, 1, 2, 2]
    net = loss_net(make_net, 'HingeLoss', f'hinge_loss_param {{ norm: {norm} }}', x=x, l=labels)
    expected = 0
    for row, label in zip(x.reshape(5, 4), labels):
        for k, value in enumerate(row):
            expected += max(0, 1 - value if k == label else 1 + value) ** int(norm[1]) / 5
    assert run(net) == pytest.approx(expected)


def test_infogain_matrix_from_a_file(make_net, tmp_path):
    matrix = RNG.normal(size=(1, 1, 3, 3)).astype(np.float32)
    arrays = dict(x=RNG.normal(size=(4, 3)), l=[0, 1, 2, 1])
    expected = run(loss_net(make_net, 'InfogainLoss', **arrays, H=matrix))
    path = tmp_path / 'H.binaryproto'
    option = f'infogain_loss_param {{ source: "{path}" }}'
    for shape in ({'num': 1, 'channels': 1, 'height': 3, 'width': 3}, {'shape': {'dim': [3, 3]}}):
        path.write_bytes(caffe_pb2.BlobProto(data=matrix.ravel(), **shape).SerializeToString())
        assert run(loss_net(make_net, 'InfogainLoss', option, **arrays)) == pytest.approx(expected)


def test_bad_infogain_matrix(make_net, tmp_path):
    path = tmp_path / 'H.binaryproto'
    arrays = dict(x=np.zeros((4, 3)), l=np.zeros(4))
    option = f'infogain_loss_param {{ source: "{path}" }}'
    with pytest.raises(CaffeError, match='source'):
        loss_net(make_net, 'InfogainLoss', **arrays)
    with pytest.raises(CaffeError, match='H.binaryproto: No such file'):
        loss_net(make_net, 'InfogainLoss', option, **arrays)
    path.write_bytes(b'no proto')
    with pytest.raises(CaffeError, match='H.binaryproto: is not a matrix'):
        loss_net(make_net, 'InfogainLoss', option, **arrays)
    path.write_bytes(caffe_pb2.BlobProto(data=[0] * 4, shape={'dim': [2, 2]}).SerializeToString())
    with pytest.raises(CaffeError, match='not 3 x 3'):
        loss_net(make_net, 'InfogainLoss', option, **arrays)
    with pytest.raises(CaffeError, match='use normalization'):
        loss_net(make_net, 'InfogainLoss', 'loss_param { normalize: true }', **arrays, H=np.eye(3))


@pytest.mark.parametrize('kind, bottoms', [
    ('SoftmaxWithLoss', {}), ('InfogainLoss', {'H': np.eye(3)}), ('Accuracy', {}),
    ('HingeLoss', {}), ('MultinomialLogisticLoss', {})])
@pytest.mark.parametrize('label', [3, -1, 1e9, np.nan])
def test_a_label_out_of_range_is_named(make_net, kind, bottoms, label):
    net = loss_net(make_net, kind, x=np.zeros((2, 3)), l=[[2], [label]], **bottoms)
    with pytest.raises(CaffeError) as error:
        net.forward()
    for word in (f'label {np.float32(label):g}', '(1, 0)', '0 to 2'):
        assert word in str(error.value)


def test_an_ignored_label_may_be_out_of_range_others_not(make_net):
    net = loss_net(make_net, 'SoftmaxWithLoss', 'loss_param { ignore_label: 9 }',
                   x=np.zeros((2, 3)), l=[9, 0])
    assert run(net) == pytest.approx(math.log(3))
    net.blobs['l'].data[...] = [9, 8]
    with pytest.raises(CaffeError, match='label 8 .* 0 to 2, or 9 to ignore'):
        net.forward()


@pytest.mark.parametrize('kind, x, l', [
    ('SoftmaxWithLoss', (2, 3), (3,)), ('SoftmaxWithLoss', (2, 3), (2, 2)),
    ('SoftmaxWithLoss', (2, 3), (1, 2)), ('Accuracy', (2, 3), (2, 2)),
    ('SigmoidCrossEntropyLoss', (2, 3), (2,)), ('SigmoidCrossEntropyLoss', (2, 3), (3, 2)),
    ('EuclideanLoss', (2, 3), (2, 2)), ('EuclideanLoss', (2, 3), (3, 2)), ('EuclideanLoss', (), ()),
    ('HingeLoss', (2, 3), (2, 3)), ('HingeLoss', (), ()),
    ('MultinomialLogisticLoss', (2, 3), (3,))])
def test_shapes_that_do_not_fit(make_net, kind, x, l):
    with pytest.raises(CaffeError, match='shapes? '):
        loss_net(make_net, kind, x=np.zeros(x), l=np.zeros(l))


def test_axis_that_does_not_exist(make_net):
    for kind, option in (('SoftmaxWithLoss', 'softmax_param { axis: 2 }'),
                         ('Accuracy', 'accuracy_param { axis: -3 }')):
        with pytest.raises(CaffeError, match='axis'):
            loss_net(make_net, kind, option, x=np.zeros((2, 3)), l=np.zeros(2))


SCORES = [[.1, .5, .4], [.3, .1, .4], [.2, .2, .2], [.5, .4, .1]]


@pytest.mark.parametrize('top_k, accuracy, classes', [
    (1, 1 / 4, [0, 1, 0]), (2, 2 / 4, [.5, 1, 0]), (3, 1, [1, 1, 1])])
def test_accuracy(make_net, top_k, accuracy, classes):
    net = loss_net(make_net, 'Accuracy', f'accuracy_param {{ top_k: {top_k} }}', ('y', 'a'),
                   x=SCORES, l=[1, 0, 0, 2])
    # ranks of the labels: 1, 2, 3 (of three equal scores the label's is the last) and 3
    out = net.forward()
    assert out['y'] == pytest.approx(accuracy)
    np.testing.assert_allclose(out['a'], classes)


def test_accuracy_of_ignored_labels(make_net):
    net = loss_net(make_net, 'Accuracy', 'accuracy_param { ignore_label: 1 }', ('y', 'a'),
                   x=[[0, 1], [1, 0]], l=[1, 0])
    assert net.forward()['y'] == 1
    np.testing.assert_array_equal(net.blobs['a'].data, [1, 0])
    net.blobs['l'].data[...] = 1
    assert net.forward()['y'] == 0
    assert not net.blobs['a'].data.any()


def test_accuracy_wants_no_more_than_all_classes(make_net):
    with pytest.raises(CaffeError, match='top_k 4 exceeds the 3 classes'):
        loss_net(make_net, 'Accuracy', 'accuracy_param { top_k: 4 }', x=SCORES, l=np.zeros(4))


@pytest.mark.parametrize('kind, options, bottoms', [
    ('SoftmaxWithLoss', 'loss_param { ignore_label: 1 }', {}),
    ('InfogainLoss', 'loss_param { normalization: FULL }', {'H': RNG.normal(size=(3, 3))}),
    ('HingeLoss', '', {}), ('HingeLoss', 'hinge_loss_param { norm: L2 }', {})])
def test_gradients_of_scores(make_net, kind, options, bottoms):
    net = loss_net(make_net, kind, options, x=RNG.normal(size=(4, 3)), l=[0, 1, 2, 1], **bottoms)
    check_gradients(net, 'L')


def test_gradients_of_the_others(make_net):
    a, b = RNG.normal(size=(2, 3, 4))
    check_gradients(loss_net(make_net, 'EuclideanLoss', a=a, b=b), 'L')
    check_gradients(loss_net(make_net, 'SigmoidCrossEntropyLoss', 'loss_param { ignore_label: 1 }',
                             x=a, t=[[.2, .9, 0, 1]] * 3), 'L')
    check_gradients(loss_net(make_net, 'MultinomialLogisticLoss',
                             x=softmax(a, 1), l=[0, 3, 2]), 'L')


@pytest.mark.parametrize('kind', ['SoftmaxWithLoss', 'SigmoidCrossEntropyLoss'])
def test_an_empty_batch_has_no_loss(make_net, kind):
    labels = (0, 3) if kind == 'SigmoidCrossEntropyLoss' else (0,)
    assert run(loss_net(make_net, kind, x=np.zeros((0, 3)), l=np.zeros(labels))) == 0
