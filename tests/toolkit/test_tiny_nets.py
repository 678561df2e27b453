"""The tiny twins of the nets: the original's with other numbers, and at work in the engine.

So are the nets on EfficientNet-Lite0.
"""

import re

import caffe
import numpy as np
import pytest
import yaml
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from net_rows import PROTO, expected_nets, layer_of, read, twin

EXPECTED = sorted(expected_nets())
PATHS = sorted(path.relative_to(PROTO).as_posix() for path in PROTO.rglob('*tiny*.prototxt'))
TINY = [path for path in PATHS if not path.endswith('_solver.prototxt')]
LITE = sorted(path.relative_to(PROTO).as_posix() for path in PROTO.glob('lite/**/*lite0*.prototxt')
              if not path.stem.endswith('_solver'))


def tiny_name(name):
    """The twin's name of a layer or blob outside of the trunk."""
    for full, tiny in (('512', '32'), ('256', '16'), ('res4b22', 'res4a'), ('res3b3', 'res3a'),
                       ('res2c', 'res2a')):
        name = re.sub(rf'(?<!\d){full}\b', tiny, name)
    return name


def outside_trunk(path):
    layers = [layer_of(message) for message in read(path).layer]
    return [la for la in layers if not re.match('([lmhpn]_)?(conv1|bn|scale|pool1|res)', la['name'])
            or la['name'] in ('l_resize', 'm_resize', 'h_resize')]


@pytest.mark.parametrize('path', EXPECTED)
def test_a_twin_has_the_same_layers_around_its_trunk(path):
    full, tiny = outside_trunk(path), outside_trunk(twin(path))
    assert len(full) == len(tiny) >= 10
    for ours, theirs in zip(full, tiny):
        for key in ('name', 'type', 'phase'):
            assert tiny_name(ours[key]) == theirs[key]
        for key in ('bottoms', 'tops'):
            assert list(map(tiny_name, ours[key])) == theirs[key]
        assert [(tiny_name(name or ''), *rates) for name, *rates in ours['params']] == [
            (name or '', *rates) for name, *rates in theirs['params']]
        assert [key for key, _ in ours['fields']] == [key for key, _ in theirs['fields']]


@pytest.mark.parametrize('path', EXPECTED)
def test_what_a_twin_has_less_of(path):
    for ours, theirs in zip(outside_trunk(path), outside_trunk(twin(path))):
        fields = zip(ours['fields'], theirs['fields'])
        changed = {key: (value, tiny) for (key, value), (_, tiny) in fields if value != tiny}
        for key, (value, tiny) in changed.items():
            if key == 'num_output':
                assert value == 16 * tiny
            elif key == 'dim':
                assert value in (8 * tiny, 16 * tiny)
            elif key == 'source':
                assert tiny == value.replace('datasets/', 'datasets/tiny/')
            else:
                assert key == 'param_str'
                value, tiny = map(yaml.safe_load, (value, tiny))
                assert value.keys() == tiny.keys()
                for name in value:
                    assert tiny[name] in (value[name], 'other') or name in 'hw' \
                        or tiny[name] == value[name].replace('datasets/', 'datasets/tiny/')


# In the engine

def with_inputs(path):
    """The net with Inputs for the layers that read files; images of 96 x 128."""
    net = caffe_pb2.NetParameter.FromString(read(path).SerializeToString())
    images = 4
    projected = [la.inner_product_param.num_output for la in net.layer if la.type == 'InnerProduct']
    for layer in net.layer:
        if layer.type == 'Input' or layer.bottom and layer.python_param.layer != 'FeatureLayer':
            continue
        shapes = {'label': [images], 'features': [images, *projected[-1:], 1, 1]}
        inputs = [shapes.get(top, [images, 3, 96, 128]) for top in layer.top]
        del layer.bottom[:]
        layer.type = 'Input'
        for shape in inputs:
            layer.input_param.shape.add(dim=shape)
    return net


def build(path, phase, tmp_path):
    file = tmp_path / 'net.prototxt'
    file.write_text(text_format.MessageToString(with_inputs(path)))
    return caffe.Net(str(file), phase)


@pytest.mark.parametrize('path', EXPECTED)
def test_a_net_of_the_original_builds_in_the_engine(path, tmp_path):
    net = build(path, caffe.TRAIN, tmp_path)
    assert list(net.blobs)[-1] == read(path).layer[-1].top[0]


def filled(path, phase, tmp_path, **shapes):
    """The net with blobs of these shapes and random images, features and convolutions."""
    net = build(path, phase, tmp_path)
    random = np.random.default_rng(0)
    for name, params in net.params.items():
        if net.layer_dict[name].type == 'Convolution':
            weights = params[0].data
            weights[...] = random.standard_normal(weights.shape) * np.sqrt(2 / weights[0].size)
        elif net.layer_dict[name].type == 'BatchNorm':
            for blob, value in zip(params, (0, 1, 1)):
                blob.data[...] = value
    for name, shape in shapes.items():
        net.blobs[name].reshape(*shape)
    for name, blob in net.blobs.items():
        if name in ('data', 'p_data', 'n_data', 'features'):
            blob.data[...] = random.standard_normal(blob.data.shape)
    return net


@pytest.mark.parametrize('path', [path for path in TINY + LITE if '/train_' in path])
def test_a_twin_that_trains_has_a_loss_and_gradients_in_the_engine(path, tmp_path):
    filled(path, caffe.TEST, tmp_path)
    net = filled(path, caffe.TRAIN, tmp_path)
    if 'label' in net.blobs:
        net.blobs['label'].data[...] = [5, 5, 2, 3]     # one pair of a class
    assert 0 < net.forward()['loss'] < np.inf
    net.backward()
    learned = {layer.name for layer in read(path).layer
               if layer.type == 'InnerProduct' and (not layer.param or layer.param[0].lr_mult)}
    assert learned
    for name in learned:
        gradient = net.params[name][0].diff
        assert np.isfinite(gradient).all() and gradient.any()


@pytest.mark.parametrize('path', [path for path in TINY + LITE if '/train_' not in path])
def test_a_twin_to_deploy_describes_in_the_engine(path, tmp_path):
    if 'teacher' in path:
        net = filled(path, caffe.TEST, tmp_path, data=(1, 3, 96, 128))
    else:
        net = filled(path, caffe.TEST, tmp_path, data=(2, 3, 64, 96), rois=(3, 5))
        net.blobs['rois'].data[...] = [[0, 0, 0, 95, 63], [0, 32, 0, 95, 63], [1, 0, 0, 95, 63]]
    net.forward()
    descriptor = net.blobs[net.top_names[list(net.top_names)[-1]][0]].data
    assert len(descriptor) == (1 if 'teacher' in path else 2)
    norms = np.linalg.norm(descriptor.reshape(len(descriptor), -1), axis=1)
    assert norms == pytest.approx(1, abs=1e-3)
