"""Nets and weights changed by their structure, against what the nets compute."""

import numpy as np
import pytest
from caffe.layer import param_count
from caffe.proto import caffe_pb2
from conftest import ROOT
from deep_retrieval.model import DescriptorNet
from deep_retrieval.surgery import nets, report
from deep_retrieval.surgery.branches import branch_weights
from deep_retrieval.surgery.clip import clip, clip_rows, mix_rows
from deep_retrieval.surgery.fold import fold
from deep_retrieval.surgery.nets import compare, freeze, strip
from google.protobuf import text_format

DATA = ROOT / 'tests/data/genuine'
PROTO = ROOT / 'proto/deploy_resnet_tiny.prototxt'
TINY = DATA / 'tiny.caffemodel'
PCA = 'pooled_rois/pca'


@pytest.fixture
def net():
    return nets.read_net(str(PROTO))


@pytest.fixture
def weights():
    return nets.load_weights(TINY)


def by_name(net):
    return {layer.name: layer for layer in net.layer}


def specs(layer):
    return [(spec.name, spec.lr_mult, spec.decay_mult) for spec in layer.param]


def small(text):
    return text_format.Parse(text, caffe_pb2.NetParameter())


def saved(folder, net, weights):
    """A net and its weights as files."""
    nets.write_net(folder / 'new.prototxt', net)
    nets.save_weights(folder / 'new.caffemodel', net, weights)
    return folder / 'new.prototxt', folder / 'new.caffemodel'


def test_weights_come_back_as_they_were_written(net, weights, tmp_path):
    proto, path = saved(tmp_path, net, weights)
    again = nets.load_weights(path)
    assert list(again) == list(weights)
    for name, arrays in weights.items():
        for array, other in zip(arrays, again[name], strict=True):
            np.testing.assert_array_equal(array, other)
    assert proto.read_text().startswith('# written by model_tools.py\n')
    assert nets.read_net(str(proto)) == net
    assert sorted(file.name for file in tmp_path.iterdir()) == ['new.caffemodel', 'new.prototxt']


def test_the_number_of_parameters_is_that_of_the_built_layers(net):
    built = nets.build(net)
    for layer in net.layer:
        assert param_count(layer) == len(built.params.get(layer.name, ()))


def test_freeze_stops_the_layers_of_a_range(net):
    frozen = by_name(freeze(net, 'bn_conv1', 'res2a_branch1'))
    stopped = [name for name, layer in frozen.items() if layer.param]
    assert stopped == ['bn_conv1', 'scale_conv1', 'res2a_branch1']
    assert [len(specs(frozen[name])) for name in stopped] == [3, 2, 1]
    assert {spec for name in stopped for spec in specs(frozen[name])} == {('', 0, 0)}
    assert not any(layer.param for layer in net.layer)     # the net itself is left alone


def test_freeze_takes_the_whole_net_and_keeps_names(net):
    conv = by_name(net)['conv1']
    conv.param.add(name='conv1_w', lr_mult=1)
    conv.convolution_param.bias_term = True
    frozen = by_name(freeze(net))
    assert specs(frozen['conv1']) == [('conv1_w', 0, 0), ('', 0, 0)]
    assert {layer.type for layer in frozen.values() if layer.param} == {
        'Convolution', 'BatchNorm', 'Scale'}
    assert strip(nets.freeze(net)) == strip(net)
    assert not any(layer.param for layer in strip(net).layer)


@pytest.mark.parametrize('first, last, word', [('conv1', 'nothing', 'nothing'),
                                               ('res2a', 'conv1', 'before')])
def test_freeze_names_a_wrong_range(net, first, last, word):
    with pytest.raises(ValueError, match=word):
        freeze(net, first, last)


def test_compare_lists_what_each_net_lacks(net, weights):
    assert compare(net, net) == {'missing': [], 'additional': [], 'different': []}
    other, _ = clip(net, weights, PCA, 32)
    other.layer.add(name='more', type='Bias', bottom=['rmac'], top=['more'])
    by_name(other)['conv1'].convolution_param.num_output = 9
    assert compare(net, other) == {'missing': [PCA], 'additional': [f'{PCA}_32', 'more'],
                                   'different': ['conv1']}


@pytest.mark.parametrize('rows', [None, [5, 0, 127, 2]])
def test_a_clipped_net_gives_the_chosen_outputs(net, weights, rows, tmp_path):
    proto, path = saved(tmp_path, *clip(net, weights, PCA, 4, rows=rows))
    reduced, full = DescriptorNet(proto, path, L=2), DescriptorNet(PROTO, TINY, L=2)
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    descriptor = reduced([image])
    assert descriptor.shape == (1, 4) and f'{PCA}_4' in reduced.net.blobs
    full([image])
    regions = full.net.blobs[PCA].data[:, rows or range(4)]
    regions = regions / np.sqrt(1e-6 + (regions ** 2).sum(1, keepdims=True))
    expected = regions.sum(0) / np.linalg.norm(regions.sum(0))
    np.testing.assert_allclose(descriptor[0], expected, atol=1e-5)


def test_clip_brings_the_reshape_behind_to_the_new_width(net, weights):
    layers = by_name(net)
    layers[f'{PCA}/reshaped'].reshape_param.shape.dim[1] = 128
    narrow = by_name(clip(net, weights, PCA, 8, 'pca_8')[0])
    assert list(narrow[f'{PCA}/reshaped'].bottom) == ['pca_8']
    assert list(narrow[f'{PCA}/reshaped'].reshape_param.shape.dim) == [0, 8, 1, 1]
    assert list(narrow['pooled_rois/normalized_flat'].reshape_param.shape.dim) == [0, 256, 1, 1]
    assert layers[PCA].inner_product_param.num_output == 128


def test_the_clipped_net_is_the_reduced_one_of_the_folder(net, weights):
    clipped, _ = clip(net, weights, PCA, 32)
    reduced = nets.read_net(
        str(ROOT / 'proto/tiny/triplet/pca32/deploy_resnet_tiny_pca32.prototxt'))
    assert clipped.layer[1:] == reduced.layer[1:]      # all but the size of `data`


def test_clip_of_transposed_weights_takes_columns():
    arrays = [np.arange(12.).reshape(3, 4), np.arange(4.)]
    matrix, bias = clip_rows(arrays, 2, [3, 1], transpose=True)
    np.testing.assert_array_equal(matrix, [[3, 1], [7, 5], [11, 9]])
    np.testing.assert_array_equal(bias, [3, 1])


def test_a_clipped_net_may_mix_the_outputs(net, weights):
    mix = np.random.default_rng(0).normal(size=(5, 128))
    _, mixed = clip(net, weights, PCA, 5, 'mixed', mix=mix)
    matrix, bias = weights[PCA]
    x = np.random.default_rng(1).normal(size=256)
    np.testing.assert_allclose(mixed['mixed'][0] @ x + mixed['mixed'][1],
                               [sum(m * y for m, y in zip(row, matrix @ x + bias)) for row in mix])
    transposed, _ = mix_rows([matrix.T, bias], mix, transpose=True)
    # the same sums, which a BLAS may add up in another order
    np.testing.assert_allclose(transposed, mixed['mixed'][0].T, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match='of 4 outputs, but there are 128'):
        clip(net, weights, PCA, 5, mix=mix[:, :4])


@pytest.mark.parametrize('arguments, word', [
    (('conv1', 4), 'not an InnerProduct'), (('nothing', 4), 'nothing'), ((PCA, 129), '128'),
    ((PCA, 2, None, [0, 128]), '127'), ((PCA, 2, None, [0, -1]), '127'), ((PCA, 3, None, [1]), '3'),
    ((PCA, 2, None, [0.5, 1]), 'integers'), ((PCA, 4, 'conv1'), 'already has')])
def test_clip_names_what_is_wrong(net, weights, arguments, word):
    with pytest.raises(ValueError, match=word):
        clip(net, weights, *arguments)


def test_clip_refuses_where_other_parameters_would_not_fit(net, weights):
    net.layer.add(name='shift', type='Scale', bottom=['rmac/normalized'], top=['shift'])
    with pytest.raises(ValueError, match='shift'):
        clip(net, weights, PCA, 4)


@pytest.mark.parametrize('suffix', ['', '_normpython'])
def test_a_folded_net_is_smaller_and_gives_what_genuine_caffe_gave(suffix, tmp_path):
    proto = ROOT / f'proto/deploy_resnet_tiny{suffix}.prototxt'
    net, weights, gone = fold(proto, TINY)
    kinds = [layer.type for layer in net.layer]
    assert 'BatchNorm' not in kinds and kinds.count('Scale') == 1      # the centring
    assert len(gone) == 2 * kinds.count('Convolution')
    paths = saved(tmp_path, net, weights)
    assert paths[1].stat().st_size < TINY.stat().st_size
    folded = DescriptorNet(*paths, L=2)
    recorded = np.load(DATA / 'descriptors.npz')
    for i in range(9):
        folded.feed('data', recorded[f'data_{i}'])
        folded.feed('rois', recorded[f'rois_{i}'])
        folded.net.forward()
        np.testing.assert_allclose(folded.net.blobs['rmac/normalized'].data.ravel(),
                                   recorded[f'out_{i}'].ravel(), atol=1e-5)


def test_fold_adds_to_a_bias_and_leaves_what_learns_its_statistics(tmp_path):
    net = small('''layer { name: "data" type: "Input" top: "data"
                           input_param { shape { dim: 1 dim: 1 dim: 1 dim: 2 } } }
        layer { name: "a" type: "Convolution" bottom: "data" top: "a" param { name: "w" }
                convolution_param { num_output: 1 kernel_size: 1 } include { phase: TEST } }
        layer { name: "a_bn" type: "BatchNorm" bottom: "a" top: "a" batch_norm_param { eps: 1 } }
        layer { name: "a_scale" type: "Scale" bottom: "a" top: "a" }
        layer { name: "b" type: "Convolution" bottom: "a" top: "b"
                convolution_param { num_output: 1 kernel_size: 1 bias_term: false } }
        layer { name: "b_bn" type: "BatchNorm" bottom: "b" top: "b"
                batch_norm_param { use_global_stats: false } }
        layer { name: "gone" type: "ReLU" bottom: "b" top: "b" include { phase: TRAIN } }''')
    arrays = {'a': [[[[[2]]]], [3]], 'a_bn': [[10], [6], [2]], 'a_scale': [[4]], 'b': [[[[[1]]]]],
              'b_bn': [[0], [0], [1]]}
    weights = {name: [np.array(array, np.float32) for array in some]
               for name, some in arrays.items()}
    folded, after, gone = fold(*saved(tmp_path, net, weights))
    # mean 10 / 2, variance 6 / 2: (2 x + 3 - 5) / sqrt(3 + 1) * 4 = 4 x - 4
    assert gone == ['a_bn', 'a_scale']
    assert [array.tolist() for array in after['a']] == [[[[[4]]]], [-4]]
    assert [layer.name for layer in folded.layer] == ['data', 'a', 'b', 'b_bn']
    assert not folded.layer[1].param and not folded.layer[1].include


def test_fold_wants_all_the_weights(net, weights, tmp_path):
    del weights['bn_conv1']
    with pytest.raises(ValueError, match='bn_conv1'):
        fold(*saved(tmp_path, net, weights))


def test_build_names_a_parameter_that_does_not_fit(net, weights):
    weights['conv1'] = [weights['conv1'][0][:4]]
    with pytest.raises(ValueError, match='conv1'):
        nets.build(net, weights)


def test_statistics_by_hand():
    values = report.statistics(np.array([[0, 2], [4, -6]], np.float32))
    assert values == {'shape': (2, 2), 'mean': 0, 'std': 14 ** 0.5, 'min': -6, 'max': 4,
                      'zeros': 0.25}


RECURRENT = '''
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 dim: 2 dim: 4 } } }
layer { name: "cont" type: "Input" top: "cont" input_param { shape { dim: 3 dim: 2 } } }
layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "lstm" recurrent_param {
  num_output: 5 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "rnn" type: "RNN" bottom: "x" bottom: "cont" top: "rnn" recurrent_param {
  num_output: 5 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "prelu" type: "PReLU" bottom: "lstm" top: "prelu" }
layer { name: "free" type: "Parameter" top: "free" parameter_param { shape { dim: 3 dim: 2 } } }
layer { name: "embed" type: "Embed" bottom: "cont" top: "embed" embed_param { num_output: 2
  input_dim: 4 } }
layer { name: "ip" type: "InnerProduct" bottom: "prelu" top: "ip" inner_product_param {
  num_output: 3 axis: 2 } }
'''


def test_recurrent_and_other_layers_keep_their_weights(tmp_path):
    """A table of layer types kept by hand once dropped an LSTM's weights without a word."""
    net = text_format.Parse(RECURRENT, caffe_pb2.NetParameter())
    built = nets.build(net)
    weights = {name: [blob.data + 1 for blob in blobs] for name, blobs in built.params.items()}
    assert {name: len(arrays) for name, arrays in weights.items()} == {
        'lstm': 3, 'rnn': 5, 'prelu': 1, 'free': 1, 'embed': 2, 'ip': 2}
    nets.save_weights(tmp_path / 'x.caffemodel', net, weights)
    again = nets.load_weights(tmp_path / 'x.caffemodel')
    for name, arrays in weights.items():
        for array, stored in zip(arrays, again[name], strict=True):
            np.testing.assert_array_equal(stored, array)
    other = nets.copy_net(net)
    other.layer[2].recurrent_param.num_output = 6
    other.layer[4].prelu_param.channel_shared = True
    other.layer[6].embed_param.input_dim = 5
    del other.layer[5]
    assert compare(net, other) == {'missing': ['free'], 'additional': [],
                                   'different': ['lstm', 'prelu', 'embed']}


def test_recurrent_and_other_layers_keep_their_weights_in_a_clipped_net_and_in_copies(tmp_path):
    net = text_format.Parse(RECURRENT, caffe_pb2.NetParameter())
    weights = {name: [blob.data + 1 for blob in blobs]
               for name, blobs in nets.build(net).params.items()}
    clipped, fewer = clip(net, weights, 'ip', 2)
    built = nets.build(clipped, fewer)
    assert list(built.params) == ['lstm', 'rnn', 'prelu', 'free', 'embed', 'ip_2']
    np.testing.assert_array_equal(built.params['ip_2'][0].data, weights['ip'][0][:2])
    for name in ('lstm', 'rnn', 'prelu', 'free', 'embed'):
        for blob, array in zip(built.params[name], weights[name], strict=True):
            np.testing.assert_array_equal(blob.data, array)
    copies = nets.copy_net(net)
    for layer in copies.layer[2:]:
        layer.name = f'p_{layer.name}'
    found = branch_weights(copies, weights)
    assert {name: len(arrays) for name, arrays in found.items()} == {
        'p_lstm': 3, 'p_rnn': 5, 'p_prelu': 1, 'p_free': 1, 'p_embed': 2, 'p_ip': 2}
