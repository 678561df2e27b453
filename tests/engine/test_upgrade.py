"""Files of older Caffes, against what genuine Caffe's upgrade tools made of them."""

import json
from pathlib import Path

import caffe
import pytest
from caffe.proto import caffe_pb2
from caffe.proto.upgrade import read_binary_net, read_net, read_solver
from caffe.tools import upgrade_net_proto_binary, upgrade_net_proto_text, upgrade_solver_proto_text
from google.protobuf import text_format

DATA = Path(__file__).parents[1] / 'data/genuine/upgrade'
NAMES = sorted(path.name[:-len('.upgraded.prototxt')] for path in DATA.glob('*.upgraded.prototxt'))
REFUSED = json.loads((DATA / 'refused_v0_fields.json').read_text())
SOLVERS = json.loads((DATA / 'solvers.json').read_text())
V0, V1 = caffe_pb2.V0LayerParameter, caffe_pb2.V1LayerParameter


def parse(text, kind=caffe_pb2.NetParameter):
    return text_format.Parse(text, kind())


def recorded(name):
    return (parse((DATA / f'{name}.prototxt').read_text()),
            parse((DATA / f'{name}.upgraded.prototxt').read_text()))


@pytest.fixture
def write(tmp_path):
    def write(text, name='old.prototxt'):
        path = tmp_path / name
        path.write_text(text)
        return str(path)
    return write


@pytest.mark.parametrize('name', NAMES)
def test_text_is_upgraded_as_genuine_caffe_does(name):
    assert read_net(str(DATA / f'{name}.prototxt')) == recorded(name)[1]


@pytest.mark.parametrize('name', NAMES)
def test_binary_is_upgraded_as_genuine_caffe_does(name, tmp_path):
    old, new = recorded(name)
    path = tmp_path / 'old.binaryproto'
    path.write_bytes(old.SerializeToString())
    assert read_binary_net(str(path)) == new


def test_the_recordings_cover_all_types_and_fields():
    old = recorded('v1')[0]
    assert {layer.type for layer in old.layers} == set(V1.LayerType.values())
    seen = {field.name for layer in old.layers for field, _ in layer.ListFields()}
    assert seen == {field.name for field in V1.DESCRIPTOR.fields} - {'layer'}
    old = [layer.layer for layer in recorded('v0')[0].layers]
    assert {layer.type for layer in old} == set(REFUSED)
    for layer in old:
        seen = {field.name for field, _ in layer.ListFields()} | set(REFUSED[layer.type])
        assert seen | {'blobs'} == {field.name for field in V0.DESCRIPTOR.fields}


@pytest.mark.parametrize('type_', REFUSED)
def test_a_v0_field_that_its_type_has_not_is_an_error(type_, write):
    fields = V0.DESCRIPTOR.fields_by_name
    for name in REFUSED[type_]:
        net = caffe_pb2.NetParameter()
        layer = net.layers.add().layer
        layer.name, layer.type = 'l1', type_
        if fields[name].message_type:
            getattr(layer, name).SetInParent()
        else:
            setattr(layer, name, fields[name].default_value)
        with pytest.raises(caffe.CaffeError, match=f"old.prototxt: layer 'l1' .*{name}"):
            read_net(write(text_format.MessageToString(net)))


def test_a_v1_net_runs(make_net):
    net = make_net('''
        input: "x" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 2
        layers { name: "p" type: POWER bottom: "x" top: "p" power_param { scale: 3 shift: 1 } }
        layers { name: "r" type: RELU bottom: "p" top: "p" }''')
    net.blobs['x'].data[...] = [2, -4]
    assert net.forward()['p'].ravel().tolist() == [7, 0]


@pytest.mark.parametrize('text, words', [
    ('layers { name: "a" type: RELU } layer { name: "b" }', ['`layers`', '`layer`']),
    ('layers { layer { name: "a" type: "relu" } } layers { name: "b" type: RELU }', ["'b'"]),
    ('layers { layer { name: "a" type: "reshape" } }', ["'a'", "'reshape'", 'innerproduct']),
    ('layers { layer { name: "a" type: "relu" } bottom: "x" top: "x" }', ["'a'", "'x'"]),
    ('input: "x" layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "p" }'
     'layers { layer { name: "a" type: "relu" } bottom: "p" top: "a" }', ["'a'", 'relu', "'p'"]),
    ('input: "x" layers { layer { name: "p" type: "padding" } bottom: "x" top: "p" }'
     'layers { layer { name: "a" type: "conv" } bottom: "p" bottom: "x" top: "a" }',
     ["'a'", "'p'"]),
    ('input: "x" layers { layer { name: "p" type: "padding" } bottom: "x" top: "p" top: "q" }'
     'layers { layer { name: "a" type: "conv" } bottom: "p" top: "a" }', ["'p'", '2 tops']),
    ('input: "a" input: "b" input_shape { dim: 1 }', ['input_shape']),
    ('input: "a" input_dim: 1 input_dim: 2 input_dim: 3', ['input_dim']),
    ('layers { name: "a" type: RELLU }', [':1:26: ', 'RELLU']),
])
def test_nets_that_cannot_be_upgraded(text, words, write):
    path = write(text)
    with pytest.raises(caffe.CaffeError) as error:
        read_net(path)
    assert '\n' not in str(error.value)
    for word in [path, *words]:
        assert word in str(error.value)


def test_a_broken_binary_net(tmp_path):
    path = tmp_path / 'net.binaryproto'
    path.write_bytes(b'\xff' * 9)
    with pytest.raises(caffe.CaffeError, match='net.binaryproto: is not a binary net'):
        read_binary_net(str(path))
    with pytest.raises(caffe.CaffeError, match='nowhere: No such file'):
        read_binary_net('nowhere')


@pytest.mark.parametrize('name', SOLVERS)
def test_a_solver_is_upgraded_as_genuine_caffe_does(name, write):
    old, new = SOLVERS[name]
    path = write(old, 'my.solver.prototxt')
    expected = parse(new, caffe_pb2.SolverParameter)
    assert not expected.HasField('snapshot_prefix')
    # the command leaves the prefix alone, a solver that is read has one
    expected.snapshot_prefix = path[:-len('.prototxt')]
    assert read_solver(path) == expected


@pytest.mark.parametrize('prefix, expected', [
    ('out', 'out/my.solver'), ('out/', 'out/my.solver'), ('other', 'other'), ('', '')])
def test_a_folder_as_snapshot_prefix(prefix, expected, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'out').mkdir()
    write(f'snapshot_prefix: "{prefix}"', 'my.solver.prototxt')
    assert read_solver('my.solver.prototxt').snapshot_prefix == expected


@pytest.mark.parametrize('text, words', [
    ('type: "SGD"\nsolver_type: ADAM', ['`type`', '`solver_type`']),
    ('base_lr: 0.1\nbase_rate: 2', [':2:1: ', 'base_rate']),
    ('net: "a"\nsolver_type: LBFGS', [':2:14: ', 'LBFGS']),
])
def test_solvers_that_cannot_be_read(text, words, write):
    path = write(text)
    with pytest.raises(caffe.CaffeError) as error:
        read_solver(path)
    assert '\n' not in str(error.value)
    for word in [path, *words]:
        assert word in str(error.value)


def test_the_commands_write_the_upgraded_file(tmp_path, capsys):
    out = tmp_path / 'new'
    upgrade_net_proto_text.main([str(DATA / 'v1.prototxt'), str(out)])
    old, new = recorded('v1')
    assert parse(out.read_text()) == new
    (tmp_path / 'old').write_bytes(old.SerializeToString())
    upgrade_net_proto_binary.main([str(tmp_path / 'old'), str(out)])
    assert caffe_pb2.NetParameter.FromString(out.read_bytes()) == new
    text, expected = SOLVERS['ADAM']
    (tmp_path / 'old').write_text(text)
    upgrade_solver_proto_text.main([str(tmp_path / 'old'), str(out)])
    assert (parse(out.read_text(), caffe_pb2.SolverParameter)
            == parse(expected, caffe_pb2.SolverParameter))
    assert capsys.readouterr().err == ''


def test_a_command_notes_a_file_that_is_up_to_date(tmp_path, capsys):
    out = tmp_path / 'new.prototxt'
    upgrade_net_proto_text.main([str(DATA / 'current.prototxt'), str(out)])
    assert parse(out.read_text()) == recorded('current')[1]
    assert 'current.prototxt: is up to date already' in capsys.readouterr().err


def test_a_command_writes_nothing_where_it_fails(tmp_path, write, capsys):
    path = write('layers { layer { name: "a" type: "relu" num_output: 3 } }')
    with pytest.raises(SystemExit) as end:
        upgrade_net_proto_text.main([path, str(tmp_path / 'new')])
    assert end.value.code == 1
    assert not (tmp_path / 'new').exists()
    [line] = capsys.readouterr().err.splitlines()
    for word in ('upgrade_net_proto_text: ', path, "'a'", 'num_output'):
        assert word in line
