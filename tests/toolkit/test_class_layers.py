"""The data layers over class folders, through nets and solvers."""

import gc
import threading
import time

import caffe
import cv2
import numpy as np
import pytest
from conftest import run_script
from custom_nets import Indexed

TOPS = {'BinDataLayer': ['data', 'label'], 'BinDataWithoutLabelLayer': ['data'],
        'TripletDataLayer': ['data', 'p_data', 'n_data']}


@pytest.fixture
def folder(tmp_path):
    """5 classes of 3 images of 4 x 6; each pixel is (class, image, 9)."""
    for name in range(5):
        (tmp_path / 'cls' / str(name)).mkdir(parents=True)
        for number in range(3):
            cv2.imwrite(str(tmp_path / 'cls' / str(name) / f'{number}.png'),
                        np.full((4, 6, 3), (name, number, 9), np.uint8))
    return tmp_path / 'cls'


def data_layer(name, folder, batch_size, **param):
    param = {'batch_size': batch_size, 'cls_dir': f'{folder}/', 'mean': [0, 0, 0], **param}
    return ('layer { name: "data" type: "Python" '
            + ''.join(f'top: "{blob}" ' for blob in TOPS[name])
            + f'python_param {{ module: "custom_layers" layer: "{name}" '
              f'param_str: "{param}" }} }}\n')


def forwards(net, count):
    """The outputs of `count` forwards, a list of one dict each."""
    return [{name: blob.copy() for name, blob in net.forward().items()} for _ in range(count)]


def pictures(data):
    """(class, image) of each image of a batch."""
    assert data.shape[1:] == (3, 4, 6) and (data == data[:, :, :1, :1]).all()
    return [tuple(row) for row in data[:, :2, 0, 0].astype(int).tolist()]


@pytest.mark.parametrize('batch_size, own', [(1, 1), (2, 1), (5, 3), (6, 3)])
def test_bin_data(batch_size, own, folder, make_net):
    net = make_net(data_layer('BinDataLayer', folder, batch_size))
    assert net.blobs['data'].data.shape == (batch_size, 3, 4, 6)
    mains = []
    for out in forwards(net, 10):
        found = pictures(out['data'])
        assert out['label'].tolist() == [name for name, _ in found]
        assert len(set(found)) == batch_size
        names = [name for name, _ in found]
        assert len(set(names[:own])) == 1 and len(set(names)) == 1 + batch_size - own
        mains.append(names[0])
    assert sorted(mains[:5]) == sorted(mains[5:]) == list(range(5))


@pytest.mark.parametrize('batch_size, own', [(1, 1), (2, 2), (4, 3), (5, 3)])
def test_bin_data_without_label(batch_size, own, folder, make_net):
    (folder / '4').rename(folder / 'a_name')
    net = make_net(data_layer('BinDataWithoutLabelLayer', folder, batch_size))
    for out in forwards(net, 5):
        names = [name for name, _ in pictures(out['data'])]
        assert len(set(names[:own])) == 1 and len(set(names)) == 1 + batch_size - own
    with pytest.raises(ValueError, match='rename a_name'):
        make_net(data_layer('BinDataLayer', folder, batch_size))


def test_triplet_data(folder, make_net):
    net = make_net(data_layer('TripletDataLayer', folder, 2))
    anchors = []
    for out in forwards(net, 5):
        for a, p, n in zip(*(pictures(out[name]) for name in TOPS['TripletDataLayer'])):
            assert a[0] == p[0] != n[0] and a != p
            anchors.append(a[0])
    assert sorted(anchors[:5]) == sorted(anchors[5:]) == list(range(5))


def test_the_mean_is_subtracted(folder, make_net):
    out = make_net(data_layer('TripletDataLayer', folder, 1, mean=[1, 2, 3.5])).forward()
    assert (out['data'][0, 2] == 5.5).all() and (out['data'][0, 0] % 1 == 0).all()
    mean = np.float32([103.93900299, 116.77899933, 123.68000031])
    text = data_layer('TripletDataLayer', folder, 1).replace(", 'mean': [0, 0, 0]", '')
    np.testing.assert_array_equal(make_net(text).forward()['data'][0, 2], np.float32(9) - mean[2])


@pytest.mark.parametrize('name', TOPS)
def test_equal_runs_give_equal_bytes(name, folder, make_net):
    def run(**param):
        return b''.join(blob.tobytes() for out in forwards(
            make_net(data_layer(name, folder, 2, **param)), 8) for blob in out.values())

    assert run() == run() == run(seed=0)
    assert run(seed=1) != run()


@pytest.mark.parametrize('name', TOPS)
@pytest.mark.parametrize('before', [0, 3])
def test_skip_equals_forward(name, before, folder, make_net):
    one, other = (make_net(data_layer(name, folder, 2)) for _ in range(2))
    forwards(one, before + 6)
    forwards(other, before)
    other.layers[0].skip(6)
    for expected, found in zip(forwards(one, 4), forwards(other, 4)):
        assert expected.keys() == found.keys()
        for blob in expected:
            np.testing.assert_array_equal(expected[blob], found[blob])


def test_solvers_side_by_side_share_an_epoch(folder, make_net):
    def run(rank, count, phase):
        caffe.set_solver_rank(rank)
        caffe.set_solver_count(count)
        try:
            net = make_net(data_layer('BinDataLayer', folder, 2), phase)
            return [out['data'] for out in forwards(net, 5)]
        finally:
            caffe.set_solver_rank(0)
            caffe.set_solver_count(1)

    alone = run(0, 1, caffe.TRAIN) + forwards_from(folder, make_net, 5)
    both = [run(rank, 2, caffe.TRAIN) for rank in (0, 1)]
    for number, expected in enumerate(alone):
        np.testing.assert_array_equal(both[number % 2][number // 2], expected)
    np.testing.assert_array_equal(run(1, 2, caffe.TEST), run(0, 1, caffe.TEST))


def forwards_from(folder, make_net, first):
    net = make_net(data_layer('BinDataLayer', folder, 2))
    net.layers[0].skip(first)
    return [out['data'] for out in forwards(net, 5)]


SOLVER = '''net: "{net}" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 random_seed: 1 iter_size: 2
snapshot_prefix: "{prefix}" solver_mode: CPU'''
HEAD = '''layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param {
  num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "Normalize" bottom: "ip" top: "norm" }
layer { name: "loss" type: "LiftedStructSimilaritySoftmaxLoss" bottom: "norm" bottom: "label"
  top: "loss" lifted_struct_sim_softmax_loss_param { margin: 1 } }
'''


def test_a_resumed_run_equals_an_unbroken_one(folder, tmp_path):
    net, solver = tmp_path / 'net.prototxt', tmp_path / 'solver.prototxt'
    net.write_text(data_layer('BinDataLayer', folder, 4) + HEAD)
    solver.write_text(SOLVER.format(net=net, prefix=tmp_path / 'x'))
    unbroken = caffe.get_solver(str(solver))
    unbroken.step(3)
    unbroken.snapshot()
    unbroken.step(4)
    resumed = caffe.get_solver(str(solver))
    resumed.restore(str(tmp_path / 'x_iter_3.solverstate'))
    for layer in resumed.net.layers:
        if hasattr(layer, 'skip'):
            layer.skip(3 * 2)
    resumed.step(4)
    np.testing.assert_array_equal(resumed.net.params['ip'][0].data,
                                  unbroken.net.params['ip'][0].data)
    assert np.abs(unbroken.net.params['ip'][0].diff).any()


@pytest.mark.parametrize('name', TOPS)
def test_tops_that_cannot_be_looped_over(name, folder, make_net):
    """As genuine pycaffe's."""
    net = make_net(data_layer(name, folder, 2))
    expected = forwards(make_net(data_layer(name, folder, 2)), 1)[0]
    layer, tops = net.layers[0], Indexed(net.blobs[blob] for blob in TOPS[name])
    layer.reshape(Indexed(), tops)
    layer.forward(Indexed(), tops)
    layer.backward(tops, [], Indexed())
    for blob in TOPS[name]:
        np.testing.assert_array_equal(net.blobs[blob].data, expected[blob])


def test_a_damaged_image_is_told_once(folder, make_net, caplog):
    (folder / '2' / '0.png').write_bytes(b'x')
    forwards(make_net(data_layer('BinDataLayer', folder, 4)), 10)
    assert caplog.text.count('2/0.png: is not an image') == 1


def test_damage_met_while_running_is_an_error_of_forward(folder, make_net):
    net = make_net(data_layer('BinDataLayer', folder, 4))
    for path in folder.glob('[234]/*.png'):
        path.write_bytes(b'x')
    with pytest.raises(ValueError, match='replace damaged ones'):
        forwards(net, 5)


@pytest.mark.parametrize('param, words', [
    ({'batch_size': 0}, 'batch_size must be a positive integer'),
    ({'batch_size': 12}, 'has 5 class folders, but a batch needs 7'),
    ({'seed': -1}, 'seed must be an integer of at least 0'),
    ({'mean': 3}, 'mean must be 3 numbers'),
    ({'dataset': 'landmark'}, "images of dataset 'landmark' have 288 x 384"),
    ({'cls_dir': 'no/such/folder'}, 'no/such/folder: No such file'),
    ({'size': 3}, 'may have dataset, mean, seed')])
def test_parameters_that_are_refused(param, words, folder, make_net):
    with pytest.raises(ValueError) as error:
        make_net(data_layer('BinDataLayer', folder, **{'batch_size': 4, **param}))
    assert words in str(error.value)


def test_threads_end_with_the_net(folder, make_net):
    before = set(threading.enumerate())
    net = make_net(data_layer('BinDataLayer', folder, 4))
    net.forward()
    threads = set(threading.enumerate()) - before
    assert threads
    del net
    gc.collect()
    end = time.monotonic() + 5
    while any(thread.is_alive() for thread in threads) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(thread.is_alive() for thread in threads)


def test_a_process_ends_with_its_nets_open(folder, tmp_path):
    (tmp_path / 'net.prototxt').write_text(data_layer('BinDataLayer', folder, 4))
    done = run_script('-c', 'import caffe\n'
                            f'net = caffe.Net({str(tmp_path / "net.prototxt")!r}, caffe.TRAIN)\n'
                            'net.forward()\nprint(net.blobs["label"].data.shape)', timeout=60)
    assert (done.returncode, done.stdout) == (0, '(4,)\n'), done.stderr
    assert 'Traceback' not in done.stderr
