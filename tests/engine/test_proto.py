"""The schemas: Caffe's own facts, the generated modules against their .proto, raw weights."""

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from caffe.proto import caffe_pb2, weights_pb2
from google.protobuf import descriptor_pb2, text_format

PROTO = Path(caffe_pb2.__file__).parent
GENUINE = json.loads((Path(__file__).parents[1] / 'data/genuine/caffe_pb2_fields.json').read_text())

# field of LayerParameter -> number, message, and the message's fields
ADDED = {
    'triplet_loss_param': (203, 'TripletLossParameter', {
        'margin': [1, 'float', 'optional', 1.0, False]}),
    'roi_pooling_param': (204, 'ROIPoolingParameter', {
        'pooled_h': [1, 'uint32', 'optional', 0, False],
        'pooled_w': [2, 'uint32', 'optional', 0, False],
        'spatial_scale': [3, 'float', 'optional', 1.0, False]}),
    'normalize_param': (214, 'NormalizeParameter', {
        'normalize_type': [1, 'string', 'optional', 'L2', False]}),
    'lifted_struct_sim_softmax_loss_param': (1145, 'LiftedStructSimilaritySoftmaxLossParameter', {
        'margin': [1, 'float', 'optional', 1.0, False]}),
}
# and a field of a message that BVLC has
SHUFFLE = {'DataParameter': {'shuffle': [1011, 'bool', 'optional', False, False]}}


def value(kind, text):
    """A default as a value; floats rounded to what the wire holds."""
    if kind in ('float', 'double'):
        return float(np.float32(text) if kind == 'float' else text)
    if kind == 'bool':
        return text == 'true'
    return int(text) if re.fullmatch(r'u?int\d+', kind) else text


def compiled_facts(module):
    """{'enums', 'messages'} of a generated module, in the form of the JSON file."""
    kinds = {number: name[len('TYPE_'):].lower()
             for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()}
    labels = {number: name[len('LABEL_'):].lower()
              for name, number in descriptor_pb2.FieldDescriptorProto.Label.items()}
    file = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    enums, messages = {}, {}

    def enter(message, path):
        path += [message.name]
        add_enums(message.enum_type, path)
        fields = messages['.'.join(path)] = {}
        for f in message.field:
            kind = f.type_name.replace('.caffe.', '') or kinds[f.type]
            default = value(kind, f.default_value) if f.HasField('default_value') else None
            fields[f.name] = [f.number, kind, labels[f.label], default, f.options.packed]
        for nested in message.nested_type:
            enter(nested, path)

    def add_enums(kinds, path):
        for enum in kinds:
            enums['.'.join(path + [enum.name])] = {v.name: v.number for v in enum.value}

    add_enums(file.enum_type, [])
    for message in file.message_type:
        enter(message, [])
    return {'enums': enums, 'messages': messages}


def written_facts(text):
    """The same facts read from a .proto's text, without protoc."""
    text = re.sub(r'//.*', '', text)
    enums, messages, path = {}, {}, []
    item = re.compile(r'''
        (?P<block>message|enum)\s+(?P<block_name>\w+)\s*\{
        | (?P<label>optional|required|repeated)\s+(?P<kind>\w+)\s+(?P<name>\w+)
          \s*=\s*(?P<number>\d+)\s*(?:\[(?P<options>[^]]*)\])?\s*;
        | (?P<value>\w+)\s*=\s*(?P<value_number>\d+)\s*;
        | (?P<end>\})
        | (?P<head>syntax[^;]*;|package[^;]*;)
        | \s+''', re.VERBOSE)
    position = 0
    while position < len(text):
        found = item.match(text, position)
        assert found, f'cannot read {text[position:position + 40]!r}'
        position = found.end()
        if found['block']:
            path.append(found['block_name'])
            (enums if found['block'] == 'enum' else messages)['.'.join(path)] = {}
        elif found['end']:
            path.pop()
        elif found['value']:
            enums['.'.join(path)][found['value']] = int(found['value_number'])
        elif found['name']:
            options = dict(re.findall(r'(\w+)\s*=\s*([^,\s]+)', found['options'] or ''))
            messages['.'.join(path)][found['name']] = [
                int(found['number']), found['kind'], found['label'],
                options.get('default'), options.get('packed') == 'true']
    for name, fields in messages.items():
        for field in fields.values():
            # an enum's short name is looked for from the message outwards
            for scope in (f'{name}.', ''):
                if scope + field[1] in enums:
                    field[1] = scope + field[1]
                    break
            if field[3] is not None:
                field[3] = value(field[1], field[3].strip('"\''))
    return {'enums': enums, 'messages': messages}


def genuine_facts():
    for fields in GENUINE['messages'].values():
        for field in fields.values():
            if field[3] is not None and field[1] == 'float':
                field[3] = float(np.float32(field[3]))
    return GENUINE


def test_ours_is_genuine_caffe_plus_what_is_added():
    expected = genuine_facts()
    messages = {name: dict(fields) for name, fields in expected['messages'].items()}
    for field, (number, message, fields) in ADDED.items():
        assert message not in messages
        messages['LayerParameter'][field] = [number, message, 'optional', None, False]
        messages[message] = fields
    for message, fields in SHUFFLE.items():
        messages[message].update(fields)
    ours = compiled_facts(caffe_pb2)
    assert ours['enums'] == expected['enums']
    assert ours['messages'].keys() == messages.keys()
    for name, fields in messages.items():
        assert ours['messages'][name] == fields, name


@pytest.mark.parametrize('module', [caffe_pb2, weights_pb2])
def test_the_generated_module_is_that_of_its_proto(module):
    written = written_facts((PROTO / module.DESCRIPTOR.name).read_text())
    compiled = compiled_facts(module)
    assert written == compiled
    # protoc keeps the order of the text
    assert list(written['messages']) == list(compiled['messages'])
    assert all(list(written['messages'][m]) == list(compiled['messages'][m])
               for m in written['messages'])


@pytest.mark.parametrize('module', [caffe_pb2, weights_pb2])
def test_the_generated_module_asks_for_no_runtime_version(module):
    text = Path(module.__file__).read_text()
    assert 'runtime_version' not in text and 'ValidateProtobufRuntimeVersion' not in text


def test_the_forks_layers_read_from_text():
    net = text_format.Parse('''
        layer { type: "ROIPooling" roi_pooling_param { pooled_w: 1 pooled_h: 2
                                                       spatial_scale: 0.03125 } }
        layer { type: "Normalize" }
        layer { type: "TripletLoss" triplet_loss_param { margin: 0.5 } }
        layer { type: "LiftedStructSimilaritySoftmaxLoss"
                lifted_struct_sim_softmax_loss_param { margin: 0.25 } }''',
        caffe_pb2.NetParameter())
    pooling, normalize, triplet, lifted = net.layer
    assert (pooling.roi_pooling_param.pooled_h, pooling.roi_pooling_param.pooled_w) == (2, 1)
    assert pooling.roi_pooling_param.spatial_scale == 1 / 32
    assert normalize.normalize_param.normalize_type == 'L2'
    assert triplet.triplet_loss_param.margin == 0.5
    assert lifted.lifted_struct_sim_softmax_loss_param.margin == 0.25


FLOATS = [0.0, -1.5, 3.25e-20, 1e30, float('inf')]


def test_raw_weights_read_what_caffe_writes():
    net = caffe_pb2.NetParameter(name='net')
    layer = net.layer.add(name='conv1', type='Convolution', bottom=['data'])
    layer.convolution_param.num_output = 5
    blob = layer.blobs.add(data=FLOATS, diff=FLOATS[:2])
    blob.shape.dim[:] = [5, 1, 1, 1]
    layer.blobs.add(double_data=[0.1, 0.2], double_diff=[0.3])
    old = net.layers.add(name='fc', type=caffe_pb2.V1LayerParameter.INNER_PRODUCT)
    old.blobs.add(num=1, channels=1, height=2, width=3, data=range(6))

    raw = weights_pb2.RawNetParameter.FromString(net.SerializeToString())
    assert raw.name == 'net'
    [conv], [fc] = raw.layer, raw.layers
    assert (conv.name, conv.type) == ('conv1', 'Convolution')
    first, second = conv.blobs
    assert list(first.shape.dim) == [5, 1, 1, 1] and not second.HasField('shape')
    assert np.array_equal(np.frombuffer(first.data, '<f4'), np.float32(FLOATS))
    assert np.array_equal(np.frombuffer(first.diff, '<f4'), np.float32(FLOATS[:2]))
    assert first.double_data == b''
    assert np.array_equal(np.frombuffer(second.double_data, '<f8'), [0.1, 0.2])
    assert np.array_equal(np.frombuffer(second.double_diff, '<f8'), [0.3])
    assert (fc.name, fc.type) == ('fc', 14)
    [blob] = fc.blobs
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 1, 2, 3)
    assert np.array_equal(np.frombuffer(blob.data, '<f4'), np.arange(6))


def test_caffe_reads_what_raw_weights_write():
    raw = weights_pb2.RawNetParameter(name='net')
    layer = raw.layer.add(name='conv1', type='Convolution')
    blob = layer.blobs.add(data=np.array(FLOATS, '<f4').tobytes(),
                           diff=np.array([2], '<f4').tobytes())
    blob.shape.dim[:] = [5]
    layer.blobs.add(double_data=np.array([0.1], '<f8').tobytes())
    old = raw.layers.add(name='fc', type=14)
    old.blobs.add(num=2, channels=1, height=1, width=1, data=struct.pack('<2f', 1, 2))

    net = caffe_pb2.NetParameter.FromString(raw.SerializeToString())
    first, second = net.layer[0].blobs
    assert list(first.shape.dim) == [5]
    assert list(first.data) == [np.float32(x) for x in FLOATS] and list(first.diff) == [2]
    assert list(second.double_data) == [0.1]
    assert net.layers[0].type == caffe_pb2.V1LayerParameter.INNER_PRODUCT
    assert net.layers[0].blobs[0].num == 2 and list(net.layers[0].blobs[0].data) == [1, 2]
    assert net.layer[0].type == 'Convolution' and net.name == 'net'


def test_both_schemas_write_the_same_bytes():
    raw = weights_pb2.RawNetParameter(name='net')
    layer = raw.layer.add(name='a', type='Scale')
    layer.blobs.add(data=struct.pack('<2f', 1, 2)).shape.dim[:] = [2]
    net = caffe_pb2.NetParameter.FromString(raw.SerializeToString())
    assert net.SerializeToString(deterministic=True) == raw.SerializeToString(deterministic=True)
