"""What Caffe's own examples do: LeNet on digits, net surgery, a loss written in Python."""

from pathlib import Path

import caffe
import cv2
import h5py
import lmdb
import numpy as np
import pytest
from caffe import layers as L
from caffe import params as P

XAVIER = dict(type='xavier')
FACES = [cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX,
         cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_COMPLEX_SMALL]


def draw_digit(digit, rng):
    """A 28 x 28 grey image of the digit: any face, size, thickness, tilt and place, with noise."""
    face, text = FACES[rng.integers(len(FACES))], str(digit)
    scale = 32 / cv2.getTextSize(text, face, 1, 1)[0][1]    # 32 pixels high
    thickness = int(rng.integers(2, 6))
    (width, height), _ = cv2.getTextSize(text, face, scale, thickness)
    image = np.zeros((84, 84), np.uint8)
    start = 42 - width // 2, 42 + height // 2
    cv2.putText(image, text, start, face, scale, 255, thickness, cv2.LINE_AA)
    size = rng.uniform(15, 20) / 32
    matrix = cv2.getRotationMatrix2D((42, 42), rng.uniform(-15, 15), size)
    matrix[:, 2] += 14 - 42 + rng.uniform(-2.5, 2.5, 2)
    image = cv2.warpAffine(image, matrix, (28, 28), flags=cv2.INTER_AREA).astype(float)
    image = image * rng.uniform(0.6, 1) + rng.normal(0, 15, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def digits(count, seed):
    """count x 1 x 28 x 28 images, each digit equally often, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 10)
    return np.stack([draw_digit(label, rng)[None] for label in labels]), labels


def lenet(*data):
    """LeNet over the tops `data`, and `label`."""
    n = caffe.NetSpec()
    n.data, n.label = data
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=XAVIER)
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50, weight_filler=XAVIER)
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.fc1 = L.InnerProduct(n.pool2, num_output=500, weight_filler=XAVIER)
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=10, weight_filler=XAVIER)
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    n.accuracy = L.Accuracy(n.score, n.label, include=dict(phase=caffe.TEST))
    return n.to_proto()


SOLVER = '''
train_net: "train.prototxt" test_net: "test.prototxt" test_iter: 5 test_interval: 50
base_lr: 0.02 momentum: 0.9 weight_decay: 0.0005 lr_policy: "inv" gamma: 0.0001 power: 0.75
max_iter: 200 snapshot_prefix: "lenet" random_seed: 3
'''


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A solver that has trained LeNet on 2000 digits of an LMDB, in its folder."""
    folder = tmp_path_factory.mktemp('lenet')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        images, labels = digits(2000, seed=1)
        with lmdb.open('train_lmdb', map_size=1 << 26) as store, store.begin(write=True) as batch:
            for i, (image, label) in enumerate(zip(images, labels)):
                datum = caffe.io.array_to_datum(image, int(label))
                batch.put(b'%08d' % i, datum.SerializeToString())
        images, labels = digits(500, seed=2)
        with h5py.File('test.h5', 'w') as file:
            file['data'], file['label'] = images.astype(np.float32) / 256, labels.astype(np.float32)
        Path('test.txt').write_text('test.h5\n')
        Path('train.prototxt').write_text(str(lenet(*L.Data(
            source='train_lmdb', backend=P.Data.LMDB, batch_size=64, ntop=2,
            transform_param=dict(scale=1 / 256)))))
        Path('test.prototxt').write_text(str(lenet(*L.HDF5Data(
            source='test.txt', batch_size=100, ntop=2))))
        Path('solver.prototxt').write_text(SOLVER)
        solver = caffe.get_solver('solver.prototxt')
        solver.solve()
        yield solver


def test_lenet_learns_digits(trained):
    result = trained.test()
    assert trained.iter == 200
    assert result['accuracy'] > 0.97 and result['loss'] < 0.1


def fully_convolutional():
    """LeNet without its loss, its inner products as convolutions of other names."""
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 1, 28, 28]))
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20)
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50)
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.fc1_conv = L.Convolution(n.pool2, kernel_size=4, num_output=500)
    n.relu1 = L.ReLU(n.fc1_conv, in_place=True)
    n.score_conv = L.Convolution(n.fc1_conv, kernel_size=1, num_output=10)
    return n.to_proto()


@pytest.fixture
def surgeon(trained, tmp_path):
    """The fully convolutional net with the weights of the trained classifier."""
    path, weights = tmp_path / 'fully.prototxt', str(tmp_path / 'lenet.caffemodel')
    path.write_text(str(fully_convolutional()))
    trained.net.save(weights)
    net = caffe.Net(str(path), weights, caffe.TEST)
    for source, target in [('fc1', 'fc1_conv'), ('score', 'score_conv')]:
        weight, bias = (blob.data for blob in trained.net.params[source])
        net.params[target][0].data.flat = weight.flat
        net.params[target][1].data[...] = bias
    return net


def test_net_surgery_keeps_the_scores(trained, surgeon):
    classifier = trained.test_nets[0]
    classifier.forward()
    images = classifier.blobs['data'].data
    surgeon.blobs['data'].reshape(*images.shape)
    scores = surgeon.forward(data=images)['score_conv']
    assert scores.shape == (100, 10, 1, 1)
    np.testing.assert_allclose(scores[..., 0, 0], classifier.blobs['score'].data, rtol=1e-4,
                               atol=1e-4)


def test_net_surgery_maps_a_larger_image(surgeon):
    images, labels = digits(6, seed=5)
    images = images.astype(np.float32) / 256
    canvas = np.block([[images[0], images[1], images[2]], [images[3], images[4], images[5]]])
    surgeon.blobs['data'].reshape(1, 1, 56, 84)
    scores = surgeon.forward(data=canvas[None])['score_conv'][0].copy()
    assert scores.shape == (10, 8, 15)      # a window of 28 x 28 every 4 pixels
    assert scores[:, ::7, ::7].argmax(0).ravel().tolist() == labels.tolist()
    surgeon.blobs['data'].reshape(1, 1, 28, 28)
    for row, column in [(0, 0), (3, 11), (7, 14), (2, 5)]:
        window = canvas[None, :, 4 * row:4 * row + 28, 4 * column:4 * column + 28]
        alone = surgeon.forward(data=window)['score_conv'][0, :, 0, 0]
        np.testing.assert_allclose(scores[:, row, column], alone, rtol=1e-4, atol=1e-4)


def test_fine_tuning_of_a_new_last_layer(trained, tmp_path):
    """Odd or even: all layers but the new last one are taken by name, and stay as they are."""
    trained.net.save(str(tmp_path / 'lenet.caffemodel'))
    images, labels = digits(400, seed=8)
    n = caffe.NetSpec()
    n.data, n.label = L.MemoryData(batch_size=50, channels=1, height=28, width=28, ntop=2)
    frozen = dict(param=[dict(lr_mult=0), dict(lr_mult=0)])
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, **frozen)
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50, **frozen)
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.fc1 = L.InnerProduct(n.pool2, num_output=500, **frozen)
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.odd = L.InnerProduct(n.relu1, num_output=2, weight_filler=XAVIER)
    n.loss = L.SoftmaxWithLoss(n.odd, n.label)
    (tmp_path / 'odd.prototxt').write_text(str(n.to_proto()))
    (tmp_path / 'solver.prototxt').write_text(
        f'net: "{tmp_path}/odd.prototxt" base_lr: 0.03 momentum: 0.9 weight_decay: 0.001 '
        'lr_policy: "fixed" snapshot_prefix: "x" random_seed: 1')
    solver = caffe.SGDSolver(str(tmp_path / 'solver.prototxt'))
    solver.net.copy_from(str(tmp_path / 'lenet.caffemodel'))
    solver.net.set_input_arrays(images.astype(np.float32) / 256, (labels % 2).astype(np.float32))
    solver.step(64)
    net, right = solver.net, 0
    for _ in range(8):
        net.forward()
        right += (net.blobs['odd'].data.argmax(1) == net.blobs['label'].data.ravel()).sum()
    assert right > 380
    for name in ['conv1', 'conv2', 'fc1']:
        for mine, theirs in zip(net.params[name], trained.net.params[name]):
            np.testing.assert_array_equal(mine.data, theirs.data)


class Euclidean(caffe.Layer):
    """EuclideanLoss, as a user writes it."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise ValueError('two bottoms, please')

    def reshape(self, bottom, top):
        self.diff = np.zeros(bottom[0].data.shape, np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.diff ** 2) / bottom[0].num / 2

    def backward(self, top, propagate_down, bottom):
        for i, sign in enumerate([1, -1]):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * top[0].diff * self.diff / bottom[i].num


LOSSES = ['type: "EuclideanLoss"',
          f'type: "Python" python_param {{ module: "{__name__}" layer: "Euclidean" }}']


@pytest.mark.parametrize('weight', [1, 0.25])
@pytest.mark.parametrize('kind', ['SGD', 'Adam'])
def test_a_python_loss_trains_like_the_built_in_one(tmp_path, kind, weight):
    solvers = []
    for i, loss in enumerate(LOSSES):
        n = caffe.NetSpec()
        n.x = L.DummyData(shape=dict(dim=[10, 3, 2]), data_filler=dict(type='gaussian'))
        n.y = L.DummyData(shape=dict(dim=[10, 4]), data_filler=dict(type='gaussian'))
        n.h = L.InnerProduct(n.x, num_output=8, weight_filler=XAVIER)
        n.t = L.TanH(n.h, in_place=True)
        n.a = L.InnerProduct(n.h, num_output=4, weight_filler=XAVIER)
        n.b = L.InnerProduct(n.y, num_output=4, weight_filler=XAVIER)
        (tmp_path / f'{i}.prototxt').write_text(
            f'{n.to_proto()} layer {{ name: "loss" bottom: "a" bottom: "b" top: "loss" '
            f'loss_weight: {weight} {loss} }}')
        (tmp_path / 'solver.prototxt').write_text(
            f'net: "{tmp_path}/{i}.prototxt" type: "{kind}" base_lr: 0.05 momentum: 0.9 '
            'lr_policy: "fixed" weight_decay: 0.01 random_seed: 11 snapshot_prefix: "x"')
        solvers.append(caffe.get_solver(str(tmp_path / 'solver.prototxt')))
        start = solvers[-1].net.params['h'][0].data.copy()
        solvers[-1].step(20)
    built_in, python = (solver.net for solver in solvers)
    assert np.abs(built_in.params['h'][0].data - start).max() > 0.02
    np.testing.assert_allclose(built_in.blobs['loss'].data, python.blobs['loss'].data[0], rtol=1e-5)
    for name, blobs in built_in.params.items():
        for mine, theirs in zip(blobs, python.params[name], strict=True):
            np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-4, atol=1e-6)
