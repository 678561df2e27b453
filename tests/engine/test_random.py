"""One seed repeats everything byte for byte: fillers, data, Dropout, whole training runs."""

import hashlib
import math
from pathlib import Path

import caffe
import lmdb
import numpy as np
import pytest

INPUT = ('force_backward: true layer { name: "x" type: "Input" top: "x" '
         'input_param { shape { dim: 8 dim: 5 dim: 20 dim: 10 } } }')
FILLERS = ['type: "gaussian" std: 2', 'type: "uniform"', 'type: "xavier"', 'type: "msra"',
           'type: "positive_unitball"', 'type: "gaussian" sparse: 3']


def bytes_of(net):
    return [blob.data.tobytes() for blobs in net.params.values() for blob in blobs]


@pytest.mark.parametrize('filler', FILLERS)
@pytest.mark.parametrize('kind, param', [('Convolution', 'num_output: 6 kernel_size: 3'),
                                         ('InnerProduct', 'num_output: 6')])
def test_fillers(make_net, filler, kind, param):
    field = {'Convolution': 'convolution_param', 'InnerProduct': 'inner_product_param'}[kind]
    text = INPUT + (f'layer {{ name: "L" type: "{kind}" bottom: "x" top: "y" {field} {{ {param} '
                    f'weight_filler {{ {filler} }} bias_filler {{ type: "gaussian" }} }} }}')

    def weights(seed=None):
        if seed is not None:
            caffe.set_random_seed(seed)
        return bytes_of(make_net(text))
    first = weights(3)
    assert weights(3) == first
    for other in weights(), weights(4):     # the numbers that follow, and those of another seed
        assert all(mine != theirs for mine, theirs in zip(first, other, strict=True))


@pytest.mark.parametrize('filler', ['type: "gaussian"', 'type: "uniform" min: -1'])
def test_dummy_data(make_net, filler):
    net = make_net('layer { name: "d" type: "DummyData" top: "d" dummy_data_param { '
                   f'shape {{ dim: 4 dim: 9 }} data_filler {{ {filler} }} }} }}')

    def batches(seed):
        caffe.set_random_seed(seed)
        return [net.forward()['d'].tobytes() for _ in range(3)]
    first = batches(7)
    assert len(set(first)) == 3
    assert batches(7) == first
    assert not set(batches(8)) & set(first)


DROPOUT = INPUT + ('layer { name: "L" type: "Dropout" bottom: "x" top: "%s" '
                   'dropout_param { dropout_ratio: %g } }')


@pytest.mark.parametrize('top', ['y', 'x'])
@pytest.mark.parametrize('ratio', [0, 0.1, 0.5, 0.8])
def test_dropout_keeps_its_share_and_scales_it(make_net, ratio, top):
    net = make_net(DROPOUT % (top, ratio), caffe.TRAIN)
    kept = np.zeros((8, 5, 20, 10), int)
    for _ in range(20):
        net.blobs['x'].data[...] = -2
        y = net.forward()[top]
        mask = y != 0
        np.testing.assert_allclose(y, np.where(mask, -2 / (1 - ratio), 0), rtol=1e-6)
        net.blobs[top].diff[...] = 3
        net.backward()
        gradient = np.where(mask, 3 / (1 - ratio), 0)
        np.testing.assert_allclose(net.blobs['x'].diff, gradient, rtol=1e-6)
        kept += mask
    # as a whole, and of no image, channel, row or column more than of the others
    for axes in [(0, 1, 2, 3), (1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2)]:
        shares = kept.sum(axes) / (20 * kept.size / np.size(kept.sum(axes)))
        sigma = math.sqrt(ratio * (1 - ratio) * np.size(shares) / (20 * kept.size))
        assert np.abs(shares - (1 - ratio)).max() <= 4.5 * sigma + 1e-9


@pytest.mark.parametrize('top', ['y', 'x'])
def test_dropout_repeats_with_the_seed(make_net, top):
    net = make_net(DROPOUT % (top, 0.5), caffe.TRAIN)

    def masks(seed):
        caffe.set_random_seed(seed)
        found = []
        for _ in range(3):
            net.blobs['x'].data[...] = 1
            found.append(net.forward()[top].tobytes())
        return found
    first = masks(1)
    assert len(set(first)) == 3 and masks(1) == first and not set(masks(2)) & set(first)


@pytest.mark.parametrize('top', ['y', 'x'])
def test_dropout_keeps_its_mask_until_the_next_forward(make_net, top):
    net = make_net(DROPOUT % (top, 0.5), caffe.TRAIN)
    net.blobs['x'].data[...] = 1
    mask = net.forward()[top].copy()
    for diff in [1, 5]:
        net.blobs[top].diff[...] = diff
        net.backward(start='L')
        np.testing.assert_array_equal(net.blobs['x'].diff, diff * mask)


NET = '''
layer { name: "data" type: "Data" top: "x" top: "label"
        transform_param { crop_size: 6 mirror: true }
        data_param { source: "store" backend: LMDB batch_size: 5 rand_skip: 9 } }
layer { name: "noise" type: "DummyData" top: "noise"
        dummy_data_param { shape { dim: 5 dim: 1 dim: 6 dim: 6 }
                           data_filler { type: "gaussian" std: 0.1 } } }
layer { name: "sum" type: "Eltwise" bottom: "x" bottom: "noise" top: "sum"
        eltwise_param { coeff: 0.01 coeff: 1 } }
layer { name: "conv" type: "Convolution" bottom: "sum" top: "conv" convolution_param { num_output: 4
        kernel_size: 3 weight_filler { type: "msra" } bias_filler { type: "gaussian" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: %s kernel_size: 2 stride: 2 } }
layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 3
        weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
'''


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Function: more of the solver's prototxt -> digest of parameters and history, and losses."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    with lmdb.open('store', map_size=1 << 20) as store, store.begin(write=True) as batch:
        for i in range(20):
            datum = caffe.io.array_to_datum(rng.integers(0, 256, (1, 8, 8), np.uint8), i % 3)
            batch.put(b'%03d' % i, datum.SerializeToString())

    def run(more, pool='MAX', kind='SGD'):
        Path('net.prototxt').write_text(NET % pool)
        Path('solver.prototxt').write_text(
            f'net: "net.prototxt" type: "{kind}" base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" '
            f'weight_decay: 0.001 snapshot_prefix: "s" {more}')
        solver = caffe.get_solver('solver.prototxt')
        losses = []
        loss = solver.net.blobs['loss']
        solver.add_callback(lambda: None, lambda: losses.append(loss.data.item()))
        solver.step(12)
        state = Path(solver.snapshot()).read_bytes()
        digest = hashlib.sha256(b''.join(bytes_of(solver.net)) + state).hexdigest()
        return digest, losses
    return run


@pytest.mark.parametrize('kind, pool', [('SGD', 'MAX'), ('Adam', 'AVE')])
def test_random_seed_repeats_a_training_run(train, kind, pool):
    first = train('random_seed: 5', pool, kind)
    np.random.seed(1)       # a user's own numbers change nothing
    np.random.rand(3)
    assert train('random_seed: 5', pool, kind) == first
    other = train('random_seed: 6', pool, kind)
    assert other[0] != first[0] and other[1] != first[1]


def test_without_random_seed_the_numbers_go_on(train):
    caffe.set_random_seed(9)
    first = train('')
    second = train('')
    assert first != second
    caffe.set_random_seed(9)
    assert [train(''), train('')] == [first, second]
    caffe.set_random_seed(9)
    assert train('random_seed: 5') == train('random_seed: 5') != first
