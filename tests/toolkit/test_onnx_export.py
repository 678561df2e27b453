"""ONNX files of nets give what the nets give, at any size."""

import numpy as np
import pytest
from caffe.proto import caffe_pb2
from conftest import ROOT
from deep_retrieval.images import MEAN, to_blob
from deep_retrieval.model import DescriptorNet
from deep_retrieval.surgery import nets
from google.protobuf import text_format
from region_generator import get_rmac_region_coordinates, pack_regions_for_network

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')

from deep_retrieval.surgery.onnx_export import export  # noqa: E402    (needs onnx)

DATA = ROOT / 'tests/data/genuine'
TINY = DATA / 'tiny.caffemodel'
PROTOS = {suffix: ROOT / f'proto/deploy_resnet_tiny{suffix}.prototxt'
          for suffix in ('', '_normpython')}


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options,
                                        providers=['CPUExecutionProvider'])


@pytest.fixture(scope='module', params=list(PROTOS))
def both(request):
    proto = PROTOS[request.param]
    return session(export(proto, TINY)), DescriptorNet(proto, TINY, L=2)


def test_descriptors_are_genuine_caffes(both):
    recorded = np.load(DATA / 'descriptors.npz')
    for i in range(9):
        row, = both[0].run(None, {'data': recorded[f'data_{i}'],
                                  'rois': recorded[f'rois_{i}'].reshape(-1, 5)})
        np.testing.assert_allclose(row.ravel(), recorded[f'out_{i}'].ravel(), atol=1e-5)


@pytest.mark.parametrize('size', [(64, 64), (65, 97), (127, 50), (33, 200)])
@pytest.mark.parametrize('L, count', [(0, 1), (1, 2), (3, 3)])
def test_any_size_number_of_images_and_of_regions(both, size, L, count):
    run, net = both
    images = list(np.random.default_rng(L).integers(0, 256, (count, *size, 3), np.uint8))
    net.L = L
    rois = pack_regions_for_network([get_rmac_region_coordinates(*size, L)] * count)
    rows, = run.run(None, {'data': to_blob(images), 'rois': rois})
    assert rows.reshape(count, -1).shape == (count, 128)
    np.testing.assert_allclose(rows.reshape(count, -1), net(images), atol=1e-5)


def test_images_may_differ_in_their_regions_and_regions_are_rounded_as_in_caffe(both):
    run, net = both
    rng = np.random.default_rng(4)
    data = rng.normal(0, 50, (2, 3, 96, 128)).astype(np.float32)
    # 15.5 and 16 pixels lie on either side of half a cell; beyond the map nothing is pooled
    rois = np.array([[1, 15.5, 16, 47.9, 48], [0, 0, 0, 127, 95], [1, 16, 15.9, 16, 16],
                     [0, 100, 80, 300, 300], [0, 48, 48, 20, 20], [1, 300, 300, 400, 400]],
                    np.float32)
    net.feed('data', data)
    net.feed('rois', rois)
    net.net.forward()
    rows, = run.run(None, {'data': data, 'rois': rois})
    np.testing.assert_allclose(rows.ravel(), net.net.blobs['rmac/normalized'].data.ravel(),
                               atol=1e-5)


def test_a_net_without_rois_ends_in_its_map():
    model = export(PROTOS[''], TINY, end='res5c')
    assert [value.name for value in model.graph.input] == ['data']
    net = DescriptorNet(PROTOS[''], TINY, L=2)
    net([np.random.default_rng(0).integers(0, 256, (71, 90, 3), np.uint8)])
    out, = session(model).run(None, {'data': net.net.blobs['data'].data})
    expected = net.net.blobs['res5c'].data
    np.testing.assert_allclose(out, expected, atol=1e-5 * np.abs(expected).max())


STUDENTS = ['distilling/1x1conv-eltwise-pca/deploy_resnet_tiny_student',
            'distilling/concat-pca/relu/deploy_resnet_tiny_student',
            'distilling/ResNet-50-pca32/deploy_resnet50_tiny_pca32',
            'reduce/serial/deploy_resnet_tiny_pca32']


@pytest.mark.parametrize('student', STUDENTS)
def test_students_give_what_they_give_in_caffe(student, tmp_path):
    proto = ROOT / f'proto/tiny/{student}.prototxt'
    net = nets.build(nets.read_net(str(proto)))
    rng = np.random.default_rng(0)
    for blobs in net.params.values():
        for blob in blobs:
            deep = len(blob.shape) > 1
            blob.data[...] = (rng.normal(0, np.prod(blob.shape[1:]) ** -0.5, blob.shape) if deep
                              else rng.uniform(0.2, 0.5, blob.shape))
    net.save(str(tmp_path / 'a.caffemodel'))
    end, = net.outputs
    described = DescriptorNet(proto, tmp_path / 'a.caffemodel', L=2, end=end)
    image = rng.integers(0, 256, (65, 98, 3), np.uint8)
    rois = pack_regions_for_network([get_rmac_region_coordinates(65, 98, 2)])
    rows, = session(export(proto, tmp_path / 'a.caffemodel', end)).run(
        None, {'data': to_blob([image]), 'rois': rois})
    np.testing.assert_allclose(rows.reshape(1, -1), described([image]), atol=1e-5)


def files(folder, text):
    """A net of one input and the layers in `text`, with seeded weights."""
    net = text_format.Parse('layer { name: "data" type: "Input" top: "data" input_param {'
                            ' shape { dim: 1 dim: 3 dim: 12 dim: 12 } } }' + text,
                            caffe_pb2.NetParameter(name='small'))
    rng = np.random.default_rng(0)
    weights = {name: [rng.uniform(0.5, 2, blob.shape).astype(np.float32) for blob in blobs]
               for name, blobs in nets.build(net).params.items()}
    nets.write_net(folder / 'a.prototxt', net)
    nets.save_weights(folder / 'a.caffemodel', net, weights)
    return net, weights, folder / 'a.prototxt', folder / 'a.caffemodel'


@pytest.mark.parametrize('text', [
    'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }',
    'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 pad: 1 }',
    'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 pad: 1 round_mode: FLOOR }',
    'type: "Pooling" pooling_param { global_pooling: true }',
    'type: "BatchNorm"', 'type: "Scale"', 'type: "Scale" scale_param { axis: 0 num_axes: 2 }',
    'type: "ReLU" relu_param { negative_slope: 0.1 }', 'type: "Dropout"',
    'bottom: "data" type: "Eltwise" eltwise_param { operation: MAX }',
    'bottom: "data" type: "Concat"', 'type: "Reshape" reshape_param { shape { dim: 0 dim: -1 } }',
    'type: "Convolution" convolution_param { num_output: 6 group: 3 kernel_h: 3 kernel_w: 1 '
    'stride: 2 pad_h: 1 pad_w: 0 }',
    'type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 dilation: 2 '
    'bias_term: false }',
    'type: "InnerProduct" inner_product_param { num_output: 5 transpose: true }'])
def test_each_layer_gives_what_it_gives_in_caffe(text, tmp_path):
    net, weights, *paths = files(tmp_path, f'layer {{ name: "y" bottom: "data" top: "y" {text} }}')
    built = nets.build(net, weights)
    run = session(export(*paths, end='y'))
    sizes = [(12, 12)] if 'inner' in text else [(12, 12), (11, 14), (13, 10)]
    for size in sizes:
        x = np.random.default_rng(1).normal(size=(1, 3, *size)).astype(np.float32)
        built.blobs['data'].reshape(*x.shape)
        expected = built.forward(data=x)['y']
        got, = run.run(None, {'data': x})
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('text, word', [
    ('type: "Sigmoid"', 'Sigmoid.*known are'), ('type: "Pooling" pooling_param { pool: AVE '
                                                'kernel_size: 2 }', 'MAX'),
    ('type: "Pooling" pooling_param { kernel_size: 1 stride: 2 }', 'stride'),
    ('bottom: "data" type: "Eltwise" eltwise_param { coeff: 1 coeff: 2 }', 'coeff'),
    ('type: "Reshape" reshape_param { axis: 1 shape { dim: -1 } }', 'axis')])
def test_what_has_no_counterpart_is_named(text, word, tmp_path):
    *_, proto, path = files(tmp_path, f'layer {{ name: "y" bottom: "data" top: "y" {text} }}')
    with pytest.raises(ValueError, match=f"'y'.*{word}"):
        export(proto, path, end='y')


def test_an_unknown_end_is_named():
    with pytest.raises(ValueError, match='nothing'):
        export(PROTOS[''], TINY, end='nothing')


def test_the_file_says_how_it_is_fed_and_is_made_again_alike():
    model = export(PROTOS[''], TINY)
    properties = {value.key: value.value for value in model.metadata_props}
    np.testing.assert_allclose([float(word) for word in properties['mean'].split()], MEAN)
    assert model.SerializeToString(deterministic=True) == export(
        PROTOS[''], TINY).SerializeToString(deterministic=True)
