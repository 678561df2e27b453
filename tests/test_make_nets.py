"""The nets of proto/ against the rows of data/nets_deploy.txt and a naive trunk."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from caffe import NetSpec
from caffe import layers as L
from caffe.proto import caffe_pb2
from google.protobuf import text_format

PROTO = Path(__file__).resolve().parent.parent / 'proto'
ROWS = Path(__file__).parent / 'data' / 'nets_deploy.txt'


@pytest.fixture(scope='module', autouse=True)
def path_of_the_script():
    """`python proto/make_nets.py` has its own folder on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PROTO))
        yield


def read(path):
    return text_format.Parse((PROTO / path).read_text(), caffe_pb2.NetParameter())


def leaves(message, path=''):
    """(path, value) of each field that is set; a path is without its first and `shape`."""
    for field, value in message.ListFields():
        here = path + field.name
        for item in value if hasattr(value, 'extend') else [value]:
            if field.message_type:
                yield from leaves(item, '' if here == 'shape' else here + '.')
            else:
                name = field.enum_type.values_by_number[item].name if field.enum_type else item
                yield here, name


def flat(layer):
    """A layer as (name, type, bottoms, tops, sorted fields)."""
    fields = []
    for field, value in layer.ListFields():
        if field.name in ('name', 'type', 'bottom', 'top'):
            continue
        assert field.name.endswith('_param'), f'{layer.name}: {field.name}'
        fields += leaves(value)
    return layer.name, layer.type, list(layer.bottom), list(layer.top), order(fields)


def order(fields):
    """Sorted by name; values of one name keep their order."""
    return sorted(fields, key=lambda field: field[0])


def parsed(text):
    """A value of a row."""
    if text in ('True', 'False'):
        return text == 'True'
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def parse_row(row):
    name, layer_type, blobs, *fields = row.split(' | ')
    bottoms, tops = blobs.split(' -> ')
    assert len(fields) <= 1, row
    fields = re.findall(r'(\S+?)=(\{[^}]*\}|\S+)', fields[0]) if fields else []
    return (name, layer_type, bottoms.split(','), tops.split(','),
            order((key, parsed(value)) for key, value in fields))


def naive_resnet101():
    """The trunk from the words: 3, 4, 23 and 3 blocks, every layer written out."""
    rows = []

    def add(name, layer_type, bottoms, top, **fields):
        rows.append((name, layer_type, bottoms, [top], order(fields.items())))

    def conv(name, bottom, num_output, kernel_size, pad, stride):
        add(name, 'Convolution', [bottom], name, num_output=num_output, kernel_size=kernel_size,
            pad=pad, stride=stride, bias_term=False)
        x = name.replace('res', '') if 'res' in name else '_conv1'
        add('bn' + x, 'BatchNorm', [name], name, use_global_stats=True)
        add('scale' + x, 'Scale', [name], name, bias_term=True)

    conv('conv1', 'data', 64, 7, 3, 2)
    add('conv1_relu', 'ReLU', ['conv1'], 'conv1')
    add('pool1', 'Pooling', ['conv1'], 'pool1', pool='MAX', kernel_size=3, stride=2)
    bottom = 'pool1'
    stages = {'res2': 'res2a res2b res2c', 'res3': 'res3a res3b1 res3b2 res3b3',
              'res4': 'res4a ' + ' '.join('res4b%d' % i for i in range(1, 23)),
              'res5': 'res5a res5b res5c'}
    for (stage, blocks), width in zip(stages.items(), (64, 128, 256, 512)):
        for block in blocks.split():
            stride = 2 if block in ('res3a', 'res4a', 'res5a') else 1
            shortcut = bottom
            if block == stage + 'a':
                shortcut = block + '_branch1'
                conv(shortcut, bottom, width * 4, 1, 0, stride)
            a, b, c = (block + '_branch2' + letter for letter in 'abc')
            conv(a, bottom, width, 1, 0, stride)
            add(a + '_relu', 'ReLU', [a], a)
            conv(b, a, width, 3, 1, 1)
            add(b + '_relu', 'ReLU', [b], b)
            conv(c, b, width * 4, 1, 0, 1)
            add(block, 'Eltwise', [shortcut, c], block)
            add(block + '_relu', 'ReLU', [block], block)
            bottom = block
    return rows


def expected_nets():
    """path -> (net name, rows), inputs and trunk written out."""
    nets = {}
    for line in ROWS.read_text().splitlines():
        if line.startswith('### '):
            rows = []
            path = line[4:]
        elif line.startswith('name='):
            nets[path] = re.search(r'name=(\S+)', line)[1], rows
            for name, shape in re.findall(r'input=(\w+) \[([\d,]+)\]', line):
                rows.append((name, 'Input', [], [name],
                             [('dim', int(dim)) for dim in shape.split(',')]))
        elif line.startswith('(trunk conv1 .. res5c_relu)'):
            rows += naive_resnet101()
        elif line and not line.startswith('#'):
            rows.append(parse_row(line))
    return nets


@pytest.mark.parametrize('path', ['deploy_resnet101.prototxt',
                                  'deploy_resnet101_normpython.prototxt'])
def test_every_field_of_the_deploy_nets_is_that_of_the_original(path):
    name, rows = expected_nets()[path]
    net = read(path)
    assert net.name == name
    assert {field.name for field, _ in net.ListFields()} == {'name', 'layer'}
    ours = [flat(layer) for layer in net.layer]
    assert [row[0] for row in ours] == [row[0] for row in rows]
    for our, row in zip(ours, rows):
        if row[0] == 'rmac':
            # the one addition: the rois, so that images may have any number of regions
            row[2].append('rois')
        assert our == row


def test_resnet101_has_the_layers_that_its_weights_have():
    layers = read('deploy_resnet101.prototxt').layer
    kinds = Counter(layer.type for layer in layers)
    assert (kinds['Convolution'], kinds['BatchNorm'], kinds['Scale']) == (104, 104, 105)
    # 455 layers in the original, which names its two inputs outside of them
    assert len({layer.name for layer in layers}) == len(layers) == 455 + 2


@pytest.mark.parametrize('suffix', ['', '_normpython'])
def test_the_tiny_net_is_the_same_net_with_other_numbers(suffix):
    full = {layer.name: flat(layer) for layer in read(f'deploy_resnet101{suffix}.prototxt').layer}
    tiny = [flat(layer) for layer in read(f'deploy_resnet_tiny{suffix}.prototxt').layer]
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
                assert value * (32 if value == 64 and full_value == 2048 else 8) == full_value
    head = [name for name in full if name.startswith(('pooled', 'rmac'))]
    assert [row[0] for row in tiny][-len(head):] == head
    fields = dict((row[0], dict(row[4])) for row in tiny)
    assert fields['pooled_rois/pca']['num_output'] == 64
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
    done = subprocess.run([sys.executable, PROTO / 'make_nets.py', '--check'],
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    for path in PROTO.rglob('*.prototxt'):
        assert path.read_text().startswith('# written by proto/make_nets.py\n')


def test_the_check_names_the_files_that_differ(tmp_path, monkeypatch, capsys):
    import make_nets
    folder = shutil.copytree(PROTO, tmp_path / 'proto')
    monkeypatch.setattr(make_nets, 'FOLDER', folder)
    args = make_nets.parse_args(['--check'])
    assert make_nets.main(args) == 0
    altered = folder / 'deploy_resnet_tiny.prototxt'
    altered.write_text(altered.read_text().replace('num_output: 8\n', 'num_output: 9\n', 1))
    (folder / 'deploy_resnet101.prototxt').unlink()
    capsys.readouterr()
    assert make_nets.main(args) == 1
    out, err = capsys.readouterr()
    assert out == '' and [line.split()[0] for line in err.splitlines()] == [
        'deploy_resnet101.prototxt', 'deploy_resnet_tiny.prototxt']
    assert make_nets.main(make_nets.parse_args([])) == 0
    assert make_nets.main(args) == 0
    assert altered.read_text() == (PROTO / altered.name).read_text()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    import make_nets
    (tmp_path / 'file').write_text('')
    monkeypatch.setattr(make_nets, 'FOLDER', tmp_path / 'file')
    with pytest.raises(SystemExit, match=r'make_nets\.py: .*file') as end:
        make_nets.main(make_nets.parse_args([]))
    assert '\n' not in str(end.value)


def test_every_net_of_the_folder_is_in_the_table():
    import make_nets
    written = {path.relative_to(PROTO).as_posix() for path in PROTO.rglob('*.prototxt')}
    assert written == set(make_nets.NETS)
