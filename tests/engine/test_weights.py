import json
import os
import subprocess
import sys
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe.blob import Blob
from caffe.proto import caffe_pb2
from caffe.weights import copy_weights, write_weights
from google.protobuf import text_format

DATA = Path(__file__).parents[1] / 'data/genuine'
NET = '''
name: "small"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 3
        weight_filler { type: "gaussian" } bias_filler { type: "gaussian" } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 2
        weight_filler { type: "gaussian" } bias_term: false } }
'''


def test_saved_weights_are_a_caffemodel_and_come_back(make_net, tmp_path):
    path = str(tmp_path / 'a.caffemodel')
    net = make_net(NET)
    net.save(path)
    stored = caffe_pb2.NetParameter.FromString(open(path, 'rb').read())
    assert stored.name == 'small'
    assert [layer.name for layer in stored.layer] == ['x', 'a', 'b']
    assert list(stored.layer[1].blobs[0].shape.dim) == [3, 4]
    np.testing.assert_array_equal(stored.layer[1].blobs[0].data, net.params['a'][0].data.ravel())
    other = make_net(NET, weights=path)
    for name in net.params:
        for one, two in zip(net.params[name], other.params[name]):
            np.testing.assert_array_equal(one.data, two.data)
    assert os.listdir(tmp_path).count('a.caffemodel') == 1


def test_both_forms_of_the_constructor(make_net, tmp_path):
    net = make_net(NET)
    weights, proto = str(tmp_path / 'a.caffemodel'), str(tmp_path / 'net.prototxt')
    net.save(weights)
    for other in (caffe.Net(proto, weights, caffe.TEST),
                  caffe.Net(proto, caffe.TEST, weights=weights),
                  caffe.Net(network_file=proto, phase=caffe.TEST, weights=weights)):
        np.testing.assert_array_equal(other.params['a'][0].data, net.params['a'][0].data)


@pytest.mark.parametrize('old', [False, True])
def test_files_of_older_caffe(old, make_net, tmp_path):
    """Four dimensions in place of a shape; `layers`; doubles; a layer that the net lacks."""
    stored = caffe_pb2.NetParameter()
    layers = stored.layers if old else stored.layer
    weight = np.arange(12, dtype=np.float32)
    layer = layers.add(name='a')
    layer.blobs.add(num=1, channels=1, height=3, width=4, data=weight)
    layer.blobs.add(num=1, channels=1, height=1, width=3, double_data=[1, 2, 3])
    layers.add(name='unknown').blobs.add(num=1, channels=1, height=1, width=1, data=[1])
    path = tmp_path / 'old.caffemodel'
    path.write_bytes(stored.SerializeToString())
    net = make_net(NET)
    before = net.params['b'][0].data.copy()
    net.copy_from(str(path))
    np.testing.assert_array_equal(net.params['a'][0].data, weight.reshape(3, 4))
    assert net.params['a'][1].data.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(net.params['b'][0].data, before)


def test_a_weight_of_another_shape_names_layer_and_both_shapes(make_net, tmp_path):
    path = str(tmp_path / 'a.caffemodel')
    make_net(NET).save(path)
    net = make_net(NET.replace('num_output: 3', 'num_output: 5'))
    before = net.params['a'][0].data.copy()
    with pytest.raises(caffe.CaffeError) as error:
        net.copy_from(path)
    for word in (path, "'a'", '(3, 4)', '(5, 4)'):
        assert word in str(error.value)
    np.testing.assert_array_equal(net.params['a'][0].data, before)


def test_another_number_of_weights(make_net, tmp_path):
    path = str(tmp_path / 'a.caffemodel')
    make_net(NET).save(path)
    net = make_net(NET.replace('bias_term: false', ''))
    with pytest.raises(caffe.CaffeError, match="'b': has 1 parameters, but the net needs 2"):
        net.copy_from(path)


@pytest.mark.parametrize('shape, stored, fits', json.loads(
    (DATA / 'upgrade/blob_shapes.json').read_text()))
def test_the_shapes_that_genuine_caffe_takes(shape, stored, fits, tmp_path):
    net = caffe_pb2.NetParameter()
    blob = net.layer.add(name='p').blobs.add()
    text_format.Parse(stored, blob)
    values = np.arange(1, np.prod(shape, dtype=int) + 1, dtype=np.float32)
    blob.data.extend(values)
    path = tmp_path / 'a.caffemodel'
    path.write_bytes(net.SerializeToString())
    target = Blob(shape)
    if fits:
        copy_weights(str(path), {'p': [target]})
        assert target.data.ravel().tolist() == values.tolist()
    else:
        with pytest.raises(caffe.CaffeError, match="a.caffemodel: layer 'p': "):
            copy_weights(str(path), {'p': [target]})
        assert not target.data.any()


@pytest.mark.parametrize('stored, data, diff', [     # None: genuine Caffe refuses it too
    ('double_data: [1, 2, 3]', [1, 2, 3], [0, 0, 0]),
    ('data: [1, 2, 3] diff: [4, 5, 6]', [1, 2, 3], [4, 5, 6]),
    ('double_data: [1, 2, 3] double_diff: [4, 5, 6]', [1, 2, 3], [4, 5, 6]),
    ('data: [9, 9, 9] double_data: [1, 2, 3]', [1, 2, 3], [0, 0, 0]),
    ('data: [1, 2, 3] diff: [7, 7, 7] double_diff: [4, 5, 6]', [1, 2, 3], [4, 5, 6]),
    ('data: [1, 2]', None, None),
    ('data: [1, 2, 3] diff: [1]', None, None),
    ('diff: [4, 5, 6]', None, None),
])
def test_floats_doubles_and_diffs(stored, data, diff, tmp_path):
    net = caffe_pb2.NetParameter()
    text_format.Parse('shape { dim: 3 } ' + stored, net.layer.add(name='p').blobs.add())
    path = tmp_path / 'a.caffemodel'
    path.write_bytes(net.SerializeToString())
    blob = Blob((3,))
    if data is None:
        with pytest.raises(caffe.CaffeError, match="a.caffemodel: layer 'p': .* values for"):
            copy_weights(str(path), {'p': [blob]})
    else:
        copy_weights(str(path), {'p': [blob]})
        assert (blob.data.tolist(), blob.diff.tolist()) == (data, diff)


def test_weights_of_a_v0_file(make_net, tmp_path):
    stored = caffe_pb2.NetParameter()
    layer = stored.layers.add(bottom=['x'], top=['a']).layer
    layer.name, layer.type = 'a', 'innerproduct'
    layer.blobs.add(num=1, channels=1, height=3, width=4, data=range(12))
    layer.blobs.add(num=1, channels=1, height=1, width=3, data=[1, 2, 3])
    path = tmp_path / 'v0.caffemodel'
    path.write_bytes(stored.SerializeToString())
    net = make_net(NET, weights=str(path))
    assert net.params['a'][0].data.ravel().tolist() == list(range(12))
    assert net.params['a'][1].data.tolist() == [1, 2, 3]


def test_a_layer_of_the_file_without_the_weights_of_the_net(make_net, tmp_path):
    stored = caffe_pb2.NetParameter()
    stored.layer.add(name='a')
    path = tmp_path / 'a.caffemodel'
    path.write_bytes(stored.SerializeToString())
    with pytest.raises(caffe.CaffeError, match="'a': has 0 parameters, but the net needs 2"):
        make_net(NET).copy_from(str(path))


@pytest.mark.parametrize('diffs', [False, True])
def test_diffs_are_written_when_asked_for(diffs, tmp_path):
    blob = Blob((2,))
    blob.data[...], blob.diff[...] = [1, 2], [3, 4]
    path = str(tmp_path / 'a.caffemodel')
    write_weights(path, 'net', [(caffe_pb2.LayerParameter(name='p'), [blob])], diffs=diffs)
    [layer] = caffe_pb2.NetParameter.FromString(open(path, 'rb').read()).layer
    assert list(layer.blobs[0].data) == [1, 2]
    assert list(layer.blobs[0].diff) == ([3, 4] if diffs else [])


@pytest.mark.parametrize('keep', [0.3, 0.9])
def test_a_truncated_caffemodel(keep, make_net, tmp_path):
    path = tmp_path / 'a.caffemodel'
    net = make_net(NET)
    net.save(str(path))
    data = path.read_bytes()
    path.write_bytes(data[:int(keep * len(data))])
    with pytest.raises(caffe.CaffeError, match='a.caffemodel'):
        net.copy_from(str(path))


def test_missing_weights_and_a_missing_folder(make_net, tmp_path):
    net = make_net(NET)
    with pytest.raises(RuntimeError, match='nowhere.caffemodel'):
        net.copy_from('nowhere.caffemodel')
    with pytest.raises(RuntimeError, match='no such'.title().split()[0]):
        net.save(str(tmp_path / 'missing' / 'a.caffemodel'))


@pytest.mark.parametrize('save', ['save', 'save_hdf5'])
def test_a_full_disk_leaves_the_older_file(save, make_net, tmp_path):
    path = tmp_path / 'a.caffemodel'
    make_net(NET).save(str(path))
    older = path.read_bytes()
    script = ('import sys, resource, caffe\n'
              'net = caffe.Net(sys.argv[1], caffe.TEST)\n'
              'resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n'
              f'net.{save}(sys.argv[2])\n')
    done = subprocess.run([sys.executable, '-c', script, tmp_path / 'net.prototxt', path],
                          capture_output=True, text=True)
    assert done.returncode == 1 and 'a.caffemodel: File too large' in done.stderr
    assert path.read_bytes() == older
    assert sorted(os.listdir(tmp_path)) == ['a.caffemodel', 'net.prototxt']
