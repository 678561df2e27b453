"""What a frozen trunk gives is kept on disk: the same numbers, without the trunk."""

import caffe
import numpy as np
import pytest
from deep_retrieval.training.trunk_cache import TrunkCache

NET = '''
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 3 dim: 3 dim: 16 dim: 16 } } }
layer { name: "rois" type: "Input" top: "rois" input_param { shape { dim: 6 dim: 5 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        param { lr_mult: 0 } param { lr_mult: 0 }
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "ROIPooling" bottom: "conv" bottom: "rois" top: "pool"
        roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 1 } }
%s
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 3
        weight_filler { type: "msra" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
'''
IMAGES = np.random.default_rng(0).normal(size=(5, 3, 16, 16)).astype(np.float32)


@pytest.fixture
def nets(make_net, tmp_path):
    """A net with a cache, and one without."""
    return make_pair(make_net, tmp_path, '')


def make_pair(make_net, tmp_path, more):
    pair = [make_net(NET % more, caffe.TRAIN) for _ in range(2)]
    pair[1].share_with(pair[0])
    pair[0].cache_trunk(TrunkCache(tmp_path / 'cache'))
    return pair


def feed(net, order, width=15):
    net.blobs['data'].data[...] = IMAGES[list(order)]
    net.blobs['label'].data[...] = np.repeat(order, 2) % 3
    net.blobs['rois'].data[...] = [[i, 2 * j, 0, width, 9 + j] for i in range(3) for j in range(2)]


def count_runs(net):
    runs = []
    layer = net.layer_dict['conv']
    convolve = layer.convolve
    layer.convolve = lambda *args: runs.append(1) or convolve(*args)
    return runs


def both(nets, *args):
    for net in nets:
        feed(net, *args)
        net.forward()
        net.clear_param_diffs()
        net.backward()
    for name in ('pool', 'ip', 'loss', *(['second'] if 'second' in nets[0].blobs else []), 'conv'):
        np.testing.assert_allclose(nets[0].blobs[name].data, nets[1].blobs[name].data, rtol=1e-5,
                                   atol=1e-6, err_msg=name)
    np.testing.assert_allclose(nets[0].params['ip'][0].diff, nets[1].params['ip'][0].diff,
                               atol=1e-5)


def run(net, *args):
    feed(net, *args)
    return float(net.forward()['loss'])


def test_an_image_is_computed_once_wherever_it_stands(nets):
    runs = count_runs(nets[0])
    # one by one; the first batch is computed as a whole too, and compared
    for order, computed in [((0, 1, 2), 4), ((2, 0, 1), 4), ((1, 1, 0), 4), ((3, 0, 1), 5),
                            ((3, 2, 0), 5), ((4, 4, 0), 6)]:
        loss = run(nets[0], order)
        assert len(runs) == computed, order
        assert loss == pytest.approx(run(nets[1], order), rel=1e-5)


def test_all_numbers_are_the_same(nets):
    for order in [(0, 1, 2), (2, 1, 0), (4, 4, 1), (4, 0, 2), (0, 1, 2)]:
        both(nets, order)


def test_what_counts_the_images_of_a_batch_is_told_apart(make_net, tmp_path):
    nets = make_pair(make_net, tmp_path, 'layer { name: "second" type: "Power" bottom: "rois" top: '
                     '"second" power_param { scale: 2 } }')
    for order in [(0, 1, 2), (2, 1, 0), (0, 1, 2)]:
        both(nets, order)


def test_other_regions_and_other_weights_are_other_images(nets):
    runs = count_runs(nets[0])
    run(nets[0], (0, 1, 2))
    run(nets[0], (0, 1, 2), 12)
    assert len(runs) == 4 + 3
    nets[0].params['conv'][0].data[0, 0, 0, 0] += 1
    both(nets, (0, 1, 2))
    assert len(runs) == 4 + 3 + 3 + 1      # the last is the look at conv


def test_the_cache_outlives_the_net(nets, make_net, tmp_path):
    expected = run(nets[0], (0, 1, 2))
    other = make_net(NET % '', caffe.TRAIN)
    other.share_with(nets[0])
    other.params['ip'][0].data[...] = nets[0].params['ip'][0].data
    del nets[0]
    other.cache_trunk(TrunkCache(tmp_path / 'cache'))
    runs = count_runs(other)
    assert run(other, (2, 1, 0)) == pytest.approx(expected, rel=1e-5) and not runs


def test_a_net_that_learns_from_the_first_layer_on_has_no_trunk(make_net, tmp_path):
    whole = make_net('layer { name: "x" type: "Input" top: "x" '
                     'input_param { shape { dim: 1 dim: 2 } } }'
                     'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" '
                     'inner_product_param { num_output: 1 } }', caffe.TRAIN)
    with pytest.raises(caffe.CaffeError, match='no frozen layers'):
        whole.cache_trunk(TrunkCache(tmp_path / 'y'))


def test_a_run_does_not_depend_on_what_the_cache_held(make_net, tmp_path):
    net = NET.replace('pooled_h: 2 pooled_w: 2', 'pooled_h: 1 pooled_w: 1').replace(
        'num_output: 4', 'num_output: 256').replace(
        'bottom: "pool" top: "ip"', 'bottom: "scale" top: "ip"')
    scale = '''layer { name: "scale" type: "Scale" bottom: "pool" top: "scale" param { lr_mult: 0 }
                    scale_param { bias_term: true } }'''
    pair = [make_net(net % scale, caffe.TRAIN) for _ in range(2)]
    pair[1].share_with(pair[0])
    results = []
    for net in pair:    # the second finds all that the first has kept
        net.cache_trunk(TrunkCache(tmp_path / 'cache'))
        for order in ((0, 1, 2), (2, 3, 4), (4, 0, 3)):
            feed(net, order)
            net.forward()
            net.clear_param_diffs()
            net.backward()
            results.append((net.blobs['ip'].data.tobytes(), net.params['ip'][0].diff.tobytes(),
                            net.params['scale'][1].diff.tobytes(), net.blobs['pool'].data.tobytes(),
                            # other strides mean other kernels in what follows, and other bits
                            net.blobs['pool'].tensor.stride()))
    assert results[:3] == results[3:]


def test_the_numbers_do_not_depend_on_the_batch_that_computed_an_image(make_net, tmp_path):
    """Two caches filled by other batches give equal bytes, and so does one that is half full."""
    pair = [make_net(NET % '', caffe.TRAIN) for _ in range(2)]
    pair[1].share_with(pair[0])
    for net, folder, orders in zip(pair, 'ab', ([(0, 1, 2)], [(2, 4, 4), (0, 3, 3), (0, 1, 2)])):
        net.cache_trunk(TrunkCache(tmp_path / folder))
        for order in orders:
            run(net, order)
    for name in ('pool', 'ip', 'loss'):
        assert pair[0].blobs[name].data.tobytes() == pair[1].blobs[name].data.tobytes(), name


def test_images_of_different_numbers_of_regions_in_any_order(nets):
    runs = count_runs(nets[0])
    rois = np.array([[2, 0, 0, 15, 9], [0, 1, 2, 9, 9], [2, 3, 3, 9, 12], [1, 0, 0, 4, 4],
                     [2, 5, 5, 8, 15], [0, 0, 0, 15, 15]])
    for _ in range(2):
        for net in nets:
            feed(net, (0, 1, 2))
            net.blobs['rois'].data[...] = rois
            net.forward()
        np.testing.assert_allclose(nets[0].blobs['pool'].data, nets[1].blobs['pool'].data,
                                   rtol=1e-5, atol=1e-6)
        assert len(runs) == 4
    # another image of the same regions' numbers, and without any region
    rois[:, 0] = [1, 1, 1, 1, 2, 2]
    for net in nets:
        feed(net, (3, 1, 2))
        net.blobs['rois'].data[...] = rois
        net.forward()
    np.testing.assert_allclose(nets[0].blobs['pool'].data, nets[1].blobs['pool'].data,
                               rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('mixing', [
    'type: "Softmax" softmax_param { axis: 0 }',
    'type: "Power" power_param { shift: 1 } } layer { name: "r" type: "Reduction" bottom: "mixed" '
    'top: "r"'])
def test_a_trunk_that_mixes_images_is_not_cached(mixing, make_net, tmp_path, caplog):
    more = f'layer {{ name: "mixed" bottom: "pool" top: "mixed" {mixing} }}'
    nets = make_pair(make_net, tmp_path, more)
    for _ in range(2):
        for net in nets:
            feed(net, (0, 1, 2))
            net.forward()
        np.testing.assert_allclose(nets[0].blobs['mixed'].data, nets[1].blobs['mixed'].data,
                                   rtol=1e-5)
    warning, = caplog.messages
    assert 'is not cached' in warning


def test_labels_that_a_net_copies_are_no_part_of_the_trunk(make_net, tmp_path):
    more = 'layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "a" }'
    net = make_net(NET.replace('layer { name: "loss"', more + ' layer { name: "loss"') % '',
                   caffe.TRAIN)
    net.cache_trunk(TrunkCache(tmp_path / 'cache'))
    runs = count_runs(net)
    run(net, (0, 1, 2))
    net.blobs['label'].data[...] = 0
    net.forward()
    assert len(runs) == 4 and not net.blobs['label'].data.any()


def test_a_folder_that_is_no_cache_is_refused_and_left_alone(tmp_path):
    from caffe.database import write_database
    (tmp_path / 'old' / '7').mkdir(parents=True)
    (tmp_path / 'old' / '7' / 'data.mdb').write_bytes(b'x')
    write_database(tmp_path / 'images', [(b'a', b'b')])
    (tmp_path / 'file').write_text('x')
    before = (tmp_path / 'images' / 'data.mdb').read_bytes()
    for name in ('old', 'images', 'file'):
        with pytest.raises(ValueError, match=rf'{name}: cannot be used .* delete it or name '):
            TrunkCache(tmp_path / name)
    assert (tmp_path / 'images' / 'data.mdb').read_bytes() == before


@pytest.mark.parametrize('damage', ['truncated', 'overwritten'])
def test_a_damaged_cache_is_refused(damage, nets, make_net, tmp_path):
    run(nets[0], (0, 1, 2))
    source = (tmp_path / 'cache' / 'data.mdb').read_bytes()
    (tmp_path / 'copy').mkdir()
    data = source[:len(source) // 2] if damage == 'truncated' else source[:4096] + bytes(
        [255]) * (len(source) - 4096)
    (tmp_path / 'copy' / 'data.mdb').write_bytes(data)
    with pytest.raises(ValueError, match='copy: cannot be used as the cache of the trunk .*damaged|'
                                         'copy: cannot be used as the cache of the trunk .*trunc'):
        TrunkCache(tmp_path / 'copy')
