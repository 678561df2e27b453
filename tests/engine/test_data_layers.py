"""Layers that read data deliver what genuine Caffe delivered, and name what they cannot read."""

import gc
import subprocess
import sys
import threading

import caffe
import numpy as np
import pytest
from data_nets import DATA, labels, layer, recorded


@pytest.fixture(autouse=True)
def in_data(monkeypatch):
    monkeypatch.chdir(DATA)


def data(source='plain_lmdb', batch_size=3, transform='', **options):
    rest = ' '.join(f'{name}: {value}' for name, value in options.items())
    return layer('Data', f'transform_param {{ {transform} }} data_param {{ source: "{source}" '
                 f'batch_size: {batch_size} backend: LMDB {rest} }}')


def image_data(source, transform='', **options):
    rest = ' '.join(f'{name}: {value}' for name, value in options.items())
    return layer('ImageData', f'transform_param {{ {transform} }} image_data_param {{ '
                 f'source: "{source}" root_folder: "img/" {rest} }}')


@pytest.mark.parametrize('text, phase, want',
                         [*recorded('batches.npz'), *recorded('more_batches.npz')])
def test_as_genuine(make_net, text, phase, want):
    net = make_net(text, phase)
    for batch in range(len(want) // len(net.blobs)):
        net.forward()
        for top, blob in net.blobs.items():
            got, array = blob.data, want[f'{top}/{batch}']
            assert got.shape == array.shape and got.dtype == np.float32
            np.testing.assert_array_equal(got, array, err_msg=f'{top} of batch {batch}')


def test_random_crops_of_training(make_net):
    """Each sample is a crop of the image, at any place, mirrored or not."""
    with np.load(DATA / 'batches.npz') as arrays:
        image = arrays['plain/data/0'][0]
    crops = {}
    for top in range(2):
        for left in range(6):
            crop = (image[:, top:top + 19, left:left + 19] - np.float32(7)) * np.float32(0.5)
            crops[crop.tobytes()] = top, left, False
            crops[np.ascontiguousarray(crop[:, :, ::-1]).tobytes()] = top, left, True
    transform = 'crop_size: 19 mirror: true mean_value: 7 scale: 0.5'
    net = make_net(data(batch_size=7, transform=transform), caffe.TRAIN)
    seen = {crops[net.forward()['data'][0].tobytes()] for _ in range(150)}
    assert len(seen) > 20       # of 24


def test_a_seed_repeats_everything(make_net):
    texts = [data(transform='crop_size: 9 mirror: true', rand_skip=5),
             image_data('list.txt', 'crop_size: 9', shuffle='true', rand_skip=3, batch_size=4)]

    def run(text, seed):
        caffe.set_random_seed(seed)
        net = make_net(text, caffe.TRAIN)
        return np.stack([net.forward()['data'].copy() for _ in range(6)])

    for text in texts:
        first = run(text, 1)
        np.testing.assert_array_equal(first, run(text, 1))
        assert (first != run(text, 2)).any()


def test_shuffled_list_has_each_image_once_a_round(make_net):
    net = make_net(image_data('list.txt', shuffle='true', batch_size=7))
    rounds = [labels(net, 1) for _ in range(4)]
    assert all(sorted(labels) == [0, 0, 1, 2, 3, 3, 4] for labels in rounds)
    assert len({tuple(labels) for labels in rounds}) > 1


def test_rand_skip_begins_at_any_record(make_net):
    order = [0, 3, 1, 4, 2, 0, 3] * 2
    for text in (data(rand_skip=4), image_data('list.txt', rand_skip=4, batch_size=3)):
        starts = set()
        for seed in range(12):
            caffe.set_random_seed(seed)
            got = labels(make_net(text), 3)
            starts |= {skip for skip in range(7) if order[skip:skip + 3] == got[:3]}
            assert got[0] in (0, 3, 1, 4)
        assert starts == {0, 1, 2, 3}


def test_solvers_side_by_side_share_the_records(make_net):
    order = [0, 3, 1, 4, 2, 0, 3] * 3
    try:
        for rank in range(3):
            caffe.common.set_solver_count(3)
            caffe.common.set_solver_rank(rank)
            assert labels(make_net(data(), caffe.TRAIN), 2) == order[rank:18:3]
            assert labels(make_net(data(), caffe.TEST), 2) == order[:6]
    finally:
        caffe.common.set_solver_count(1)
        caffe.common.set_solver_rank(0)


def test_two_nets_read_one_database(make_net):
    one, two = make_net(data()), make_net(data(batch_size=1))
    assert labels(one, 1) == [0, 3, 1] and labels(two, 2) == [0, 3] and labels(one, 1) == [4, 2, 0]


def test_thread_ends_with_its_net(make_net):
    threads = threading.active_count()
    net = make_net(data(prefetch=2))
    assert threading.active_count() == threads
    net.forward()
    assert threading.active_count() == threads + 1
    del net
    gc.collect()
    assert threading.active_count() == threads


def test_process_ends_while_data_is_read_ahead(tmp_path):
    (tmp_path / 'net.prototxt').write_text(data())
    done = subprocess.run([sys.executable, '-c', 'import caffe, sys\n'
                           'net = caffe.Net(sys.argv[1], caffe.TRAIN)\n'
                           'print(net.forward()["label"])', str(tmp_path / 'net.prototxt')],
                          timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, '[0. 3. 1.]\n', '')


def test_feeds_the_layers_behind_it(make_net):
    """A batch of another size reshapes what follows."""
    net = make_net(data('sizes_lmdb', 1) + 'layer { name: "p" type: "Pooling" bottom: "data" '
                   'top: "p" pooling_param { kernel_size: 2 stride: 2 } }')
    shapes = [net.forward()['p'].shape for _ in range(3)]
    assert shapes == [(1, 3, 4, 7), (1, 1, 5, 6), (1, 3, 5, 6)]


@pytest.mark.parametrize('text, words', [
    (data('nowhere'), ['nowhere']),
    (data(batch_size=0), ['batch_size']),
    (data(prefetch=0), ['prefetch']),
    (data().replace('LMDB', 'LEVELDB'), ['LEVELDB', 'convert_imageset']),
    (data(transform='crop_size: 21'), ['plain_lmdb: 00000000_0.png', '20 x 24', '21']),
    (data(transform='mean_value: 1 mean_value: 2'), ['2 mean_values', '3 channels']),
    (data(transform='mean_value: 1 mean_file: "mean.binaryproto"'), ['both']),
    (data(transform='force_gray: true force_color: true'), ['both']),
    (data('resized_lmdb', transform='mean_file: "mean.binaryproto"'),
     ['(3, 20, 24)', '(3, 16, 12)']),
    (data(transform='mean_file: "nofile"'), ['nofile: No such file']),
    (data(transform='mean_file: "list.txt"'), ['list.txt', 'mean image']),
    (image_data('nofile'), ['nofile: No such file']),
    (image_data('list.txt', new_width=5), ['new_height and new_width']),
    (image_data('h5.txt'), ['h5.txt:1', 'label', "'a.h5'"]),
    (image_data('list.txt', rand_skip=1000000), ['rand_skip', '7 images']),
])
def test_refuses_at_setup(make_net, text, words):
    with pytest.raises(caffe.CaffeError) as error:
        make_net(text)
    message = str(error.value)
    assert '\n' not in message and "layer 'd'" in message
    for word in words:
        assert word in message


@pytest.mark.parametrize('line, words', [
    ('gone.png 1', ['img/gone.png: No such file']),
    ('../h5.txt 1', ['img/../h5.txt', 'OpenCV']),
])
def test_error_of_the_thread_reaches_forward(make_net, tmp_path, line, words):
    """The batches before it come; from then on each forward says what is wrong."""
    (tmp_path / 'list').write_text(f'0.png 1\n1.png 2\n2.png 3\n{line}\n')
    net = make_net(image_data(tmp_path / 'list', batch_size=3))
    assert labels(net, 1) == [1, 2, 3]
    for _ in range(2):
        with pytest.raises(caffe.CaffeError) as error:
            net.forward()
        for word in [*words, "layer 'd' (ImageData)", 'net.prototxt']:
            assert word in str(error.value)


def test_a_batch_needs_one_size(make_net):
    net = make_net(data('sizes_lmdb', 2, 'force_color: true'))
    words = r'sizes_lmdb: 00000001_1: .*\(3, 9, 12\).*\(3, 8, 13\)'
    with pytest.raises(caffe.CaffeError, match=words):
        net.forward()


MEMORY = layer('MemoryData', 'memory_data_param { batch_size: 2 channels: 1 height: 2 width: 3 }')


def test_memory_data(make_net):
    net = make_net(MEMORY)
    memory, = net.layers
    assert net.blobs['data'].shape == (2, 1, 2, 3) and net.blobs['label'].shape == (2,)
    with pytest.raises(caffe.CaffeError, match='set_input_arrays'):
        net.forward()
    arrays = np.arange(24, dtype=np.float32).reshape(4, 1, 2, 3)
    memory.reset(arrays, np.arange(4, dtype=np.float32))
    for batch in (0, 1, 0):
        out = net.forward()
        np.testing.assert_array_equal(out['data'], arrays[2 * batch:2 * batch + 2])
        assert out['label'].shape == (2, 1, 1, 1)       # as genuine Caffe has them then
        assert out['label'].ravel().tolist() == [2 * batch, 2 * batch + 1]
    arrays[2] = 77                      # read at each forward
    assert (net.forward()['data'][0] == 77).all()
    memory.reset(arrays, np.zeros((4, 1, 1, 1), np.float32))
    assert net.forward()['data'][0, 0, 0, 1] == 1       # from the first on


@pytest.mark.parametrize('data, labels, words', [
    (np.zeros((4, 1, 2, 3)), np.zeros(4, 'f4'), 'data must be .* float32'),
    (np.zeros((4, 1, 3, 2), 'f4').transpose(0, 1, 3, 2), np.zeros(4, 'f4'), 'C-contiguous'),
    (np.zeros((4, 2, 3), 'f4'), np.zeros(4, 'f4'), r'data must be of shape \(M, 1, 2, 3\)'),
    (np.zeros((4, 1, 2, 4), 'f4'), np.zeros(4, 'f4'), r'not \(4, 1, 2, 4\)'),
    (np.zeros((4, 1, 2, 3), 'f4'), np.zeros((4, 2), 'f4'), 'labels must be of shape'),
    (np.zeros((4, 1, 2, 3), 'f4'), np.zeros(2, 'f4'), 'same length'),
    (np.zeros((3, 1, 2, 3), 'f4'), np.zeros(3, 'f4'), 'multiple of batch_size 2'),
    (np.zeros((0, 1, 2, 3), 'f4'), np.zeros(0, 'f4'), 'multiple of batch_size 2'),
])
def test_memory_data_refuses(make_net, data, labels, words):
    with pytest.raises(caffe.CaffeError, match=words):
        make_net(MEMORY).layers[0].reset(data, labels)


def test_dummy_data_refills_random_tops_only(make_net):
    net = make_net(layer('DummyData', 'dummy_data_param { shape { dim: 50 dim: 40 } '
                         'shape { dim: 3 } data_filler { type: "gaussian" mean: 4 std: 2 } '
                         'data_filler { type: "constant" value: 9 } }'))
    first = net.forward()['data'].copy()
    assert abs(first.mean() - 4) < 0.2 and abs(first.std() - 2) < 0.2
    net.blobs['label'].data[1] = 5
    assert (net.forward()['data'] != first).all()
    assert net.blobs['label'].data.tolist() == [9, 5, 9]    # filled once


@pytest.mark.parametrize('param, words', [
    ('', 'values of `shape`'),
    ('shape { dim: 2 } num: 1', 'cannot both'),
    ('num: 1 channels: 1 height: 1', 'values of `width`'),
    ('shape { dim: 1 } shape { dim: 1 } shape { dim: 1 }', 'not 3'),
    ('shape { dim: 1 } data_filler { } data_filler { } data_filler { }', 'values of `data_filler`'),
    ('shape { dim: 1 } data_filler { type: "nothing" }', 'nothing'),
])
def test_dummy_data_refuses(make_net, param, words):
    with pytest.raises(caffe.CaffeError, match=words):
        make_net(layer('DummyData', f'dummy_data_param {{ {param} }}')).forward()


def test_memory_data_skips_batches_of_its_arrays(make_net):
    net = make_net(MEMORY)
    net.layers[0].skip(3)       # without arrays there is nothing to skip
    data = np.arange(36, dtype=np.float32).reshape(6, 1, 2, 3)
    net.set_input_arrays(data, np.arange(6, dtype=np.float32))
    net.layers[0].skip(4)
    net.forward()
    np.testing.assert_array_equal(net.blobs[net.top_names[net._layer_names[0]][0]].data, data[2:4])
