"""make_nets.py and the blocks of the nets; test_all_nets.py has the nets themselves."""

from collections import Counter

import pytest
import yaml
from caffe import NetSpec
from caffe import layers as L
from caffe.proto import caffe_pb2
from conftest import run_script
from google.protobuf import text_format
from net_rows import PROTO, layer_of, read


@pytest.fixture(scope='module', autouse=True)
def path_of_the_script():
    """`python proto/make_nets.py` has its own folder on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PROTO))
        yield


def test_resnet101_has_the_layers_that_its_weights_have():
    layers = read('deploy_resnet101.prototxt').layer
    kinds = Counter(layer.type for layer in layers)
    assert (kinds['Convolution'], kinds['BatchNorm'], kinds['Scale']) == (104, 104, 105)
    # 455 layers in the original, which names its two inputs outside of them
    assert len({layer.name for layer in layers}) == len(layers) == 455 + 2


def flat(message):
    layer = layer_of(message)
    return [layer[key] for key in ('name', 'type', 'bottoms', 'tops', 'fields')]


@pytest.mark.parametrize('suffix', ['', '_normpython'])
def test_the_tiny_net_is_the_same_net_with_other_numbers(suffix):
    full = {layer.name: flat(layer) for layer in read(f'deploy_resnet101{suffix}.prototxt').layer}
    tiny = list(map(flat, read(f'deploy_resnet_tiny{suffix}.prototxt').layer))
    # what only the depth changes: the bottoms of the first layers of stages 3 to 5
    first = {f'res{stage}a_branch{branch}' for stage in (3, 4, 5) for branch in ('1', '2a')}
    for name, layer_type, bottoms, tops, fields in tiny:
        _, full_type, full_bottoms, full_tops, full_fields = full[name]
        assert (layer_type, tops) == (full_type, full_tops)
        assert bottoms == full_bottoms or name in first
        for (key, value), (full_key, full_value) in zip(fields, full_fields, strict=True):
            assert key == full_key
            if value != full_value:
                assert key in ('num_output', 'dim')
                assert value * (16 if value == 128 and full_value == 2048 else 8) == full_value
    head = [name for name in full if name.startswith(('pooled', 'rmac'))]
    assert [row[0] for row in tiny][-len(head):] == head
    fields = dict((row[0], dict(row[4])) for row in tiny)
    assert fields['pooled_rois/pca']['num_output'] == 128
    assert [value for row in tiny if row[0] == 'pooled_rois/normalized_flat'
            for _, value in row[4]] == [0, 256, 1, 1]
    assert fields['res5c_branch2c']['num_output'] == 256


def test_the_tiny_trunk_is_1_32_of_the_image():
    strides = {name: dict(fields)['stride'] for name, layer_type, _, _, fields
               in map(flat, read('deploy_resnet_tiny.prototxt').layer)
               if layer_type == 'Pooling' or name == 'conv1'
               or layer_type == 'Convolution' and name.endswith('_branch1')}
    assert strides == {'conv1': 2, 'pool1': 2, 'res2a_branch1': 1, 'res3a_branch1': 2,
                       'res4a_branch1': 2, 'res5a_branch1': 2}


def test_every_param_str_is_a_yaml_mapping():
    for path in sorted(PROTO.rglob('*.prototxt')):
        if path.stem.endswith('_solver'):
            continue
        for layer in read(path.relative_to(PROTO)).layer:
            if layer.type == 'Python':
                assert isinstance(yaml.safe_load(layer.python_param.param_str), dict)


def test_a_param_str_has_lists_for_tuples():
    from blocks import python_layer
    top = python_layer('ResizeLayer', {'h': 192, 'mean': (103.5, 116.25)}, ntop=1)
    text = top.to_proto().layer[0].python_param.param_str
    assert text == "{'h': 192, 'mean': [103.5, 116.25]}"
    assert yaml.safe_load(text) == {'h': 192, 'mean': [103.5, 116.25]}


def trunk_net(trunk, prefix='', **learned):
    from blocks import Branch, resnet
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, 224, 224]))
    resnet(Branch(n, prefix), n.data, trunk, **learned)
    return {layer.name: layer for layer in n.to_proto().layer}


def test_resnet50_has_its_own_blocks_and_a_bias_in_conv1():
    from blocks import RESNET50
    layers = trunk_net(RESNET50, use_global_stats=False, weight_filler=dict(type='msra'))
    blocks = [name for name, layer in layers.items() if layer.type == 'Eltwise']
    assert blocks == ('res2a res2b res2c res3a res3b res3c res3d '
                      'res4a res4b res4c res4d res4e res4f res5a res5b res5c').split()
    convolutions = [la for la in layers.values() if la.type == 'Convolution']
    assert len(convolutions) == 53
    assert [la.name for la in convolutions if la.convolution_param.bias_term] == ['conv1']
    assert all(la.convolution_param.weight_filler.type == 'msra' for la in convolutions)
    norms = [layer for layer in layers.values() if layer.type == 'BatchNorm']
    assert len(norms) == 53 and not any(la.batch_norm_param.use_global_stats for la in norms)
    assert all(layer.batch_norm_param.HasField('use_global_stats') for layer in norms)


def test_branches_have_a_prefix_and_share_their_parameters_by_the_name_without_it():
    from blocks import RESNET_TINY, shared
    plain = trunk_net(RESNET_TINY)
    branch = trunk_net(RESNET_TINY, 'p_', param=shared)
    assert list(branch) == ['data'] + [f'p_{name}' for name in plain if name != 'data']
    for name, layer in list(plain.items())[1:]:
        twin = branch[f'p_{name}']
        assert list(twin.bottom) == [b if b == 'data' else f'p_{b}' for b in layer.bottom]
        assert list(twin.top) == [f'p_{top}' for top in layer.top]
        assert not layer.param
        names = {'Convolution': ['w'], 'BatchNorm': '123', 'Scale': '12'}.get(layer.type, [])
        assert [(p.name, p.lr_mult, p.decay_mult) for p in twin.param] == [
            (f'{name}_{suffix}', 0, 0) for suffix in names]


def test_a_frozen_trunk_has_no_learning_rates():
    from blocks import RESNET_TINY, frozen
    counts = {'Convolution': 1, 'BatchNorm': 3, 'Scale': 2}
    for layer in trunk_net(RESNET_TINY, param=frozen).values():
        assert len(layer.param) == counts.get(layer.type, 0)
        assert all(p == caffe_pb2.ParamSpec(lr_mult=0, decay_mult=0) for p in layer.param)


def test_the_check_passes_and_each_file_says_what_wrote_it():
    done = run_script(PROTO / 'make_nets.py', '--check')
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    for path in PROTO.rglob('*.prototxt'):
        assert path.read_text().startswith('# written by proto/make_nets.py\n')


def test_the_check_names_the_files_that_differ(tmp_path, monkeypatch, capsys):
    import all_nets
    import make_nets
    names = ['deploy_resnet101.prototxt', 'deploy_resnet_tiny.prototxt',
             'tiny/triplet/train_resnet_tiny_triplet_solver.prototxt']
    folder = tmp_path / 'proto'
    monkeypatch.setattr(make_nets, 'FOLDER', folder)
    monkeypatch.setattr(all_nets, 'NETS', {name: all_nets.NETS[name] for name in names})
    args, check = make_nets.parse_args([]), make_nets.parse_args(['--check'])
    assert make_nets.main(args) == make_nets.main(check) == 0
    for name in names:
        assert (folder / name).read_text() == (PROTO / name).read_text()
    for name in names[1:]:
        altered = (folder / name).read_text()
        (folder / name).write_text(altered + '# by hand\n')
    (folder / names[0]).unlink()
    capsys.readouterr()
    assert make_nets.main(check) == 1
    out, err = capsys.readouterr()
    assert out == '' and [line.split()[0] for line in err.splitlines()] == names
    assert make_nets.main(args) == make_nets.main(check) == 0


def test_phases_are_merged_into_one_net():
    from frames import merge_phases
    train, test = (text_format.Parse(f'''
        name: "both" layer {{ name: "data" type: "DummyData" top: "data"
                              dummy_data_param {{ shape {{ dim: {batch} }} }} }}
        layer {{ name: "a" type: "ReLU" bottom: "data" top: "a" }}
        layer {{ name: "b" type: "ReLU" bottom: "a" top: "b" }}''', caffe_pb2.NetParameter())
                   for batch in (16, 1))
    net = merge_phases(train, test, apart=['b'])
    assert [(la.name, [rule.phase for rule in la.include]) for la in net.layer] == [
        ('data', [caffe_pb2.TRAIN]), ('data', [caffe_pb2.TEST]), ('a', []),
        ('b', [caffe_pb2.TRAIN]), ('b', [caffe_pb2.TEST])]
    assert [la.dummy_data_param.shape[0].dim[0] for la in net.layer[:2]] == [16, 1]
    assert net.name == 'both' and not train.layer[0].include
    test.layer[1].name = 'c'
    with pytest.raises(ValueError, match='both: layer a of the training net is c'):
        merge_phases(train, test)
    del test.layer[1]
    with pytest.raises(ValueError):
        merge_phases(train, test)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    import make_nets
    (tmp_path / 'file').write_text('')
    monkeypatch.setattr(make_nets, 'FOLDER', tmp_path / 'file')
    with pytest.raises(SystemExit, match=r'make_nets\.py: .*file') as end:
        make_nets.main(make_nets.parse_args([]))
    assert '\n' not in str(end.value)


def test_every_net_of_the_folder_is_in_the_table():
    import all_nets
    written = {path.relative_to(PROTO).as_posix() for path in PROTO.rglob('*.prototxt')}
    assert written == set(all_nets.NETS)
