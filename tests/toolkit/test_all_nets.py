"""Every net and solver of proto/ against data/nets/rows.txt; test_tiny_nets.py has their twins."""

import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from net_rows import PROTO, expected_nets, layer_of, read, twin

EXPECTED = expected_nets()
PATHS = {path.relative_to(PROTO).as_posix() for path in PROTO.rglob('*.prototxt')}


def differences(net, name, layers):
    """What of a net is not as its rows say."""
    found = [] if net.name == name else [f'name {net.name}, not {name}']
    ours = [layer_of(message) for message in net.layer]
    if len(ours) != len(layers):
        found.append(f'{len(ours)} layers, not {len(layers)}')
    return found + [f'{our}\nnot\n{row}' for our, row in zip(ours, layers) if our != row]


def test_every_net_and_solver_of_the_original_is_there_with_its_twin():
    assert len(EXPECTED) == 31
    originals = {*EXPECTED, *SOLVERS}
    assert originals | {twin(path) for path in originals} <= PATHS


@pytest.mark.parametrize('path', sorted(EXPECTED))
def test_every_field_is_that_of_the_rows(path):
    net = read(path)
    assert {field.name for field, _ in net.ListFields()} == {'name', 'layer'}
    assert differences(net, *EXPECTED[path]) == []


OTHER = {'true': 'false', 'false': 'true', 'MAX': 'AVE', 'SUM': 'PROD', 'TRAIN': 'TEST',
         'TEST': 'TRAIN', 'LMDB': 'LEVELDB'}


def changes(layer):
    """Copies of a layer; in each, one field has another value or is missing."""
    lines = text_format.MessageToString(layer).splitlines()
    for i, line in enumerate(lines):
        key, colon, value = line.partition(': ')
        if not colon:
            continue
        if value[0] == '"':
            value = value[:-1] + 'x"'
        else:
            value = OTHER.get(value) or str(float(value) + 1).removesuffix('.0')
        for other in ([f'{key}: {value}'], []):
            yield text_format.Parse('\n'.join(lines[:i] + other + lines[i + 1:]),
                                    caffe_pb2.LayerParameter())


@pytest.mark.parametrize('path', [
    'distilling/ResNet-50-pca512/train_resnet50_student_pca512.prototxt',
    'reduce/serial/train_resnet101_reduce_pca512.prototxt'])
def test_a_change_of_any_field_is_seen(path):
    _, layers = EXPECTED[path]
    counted = 0
    for message, row in zip(read(path).layer, layers):
        for changed in changes(message):
            counted += 1
            assert layer_of(changed) != row, changed
    assert counted > 5 * len(layers)


def test_a_missing_layer_another_order_and_another_name_are_seen():
    path = 'triplet/pca512/train_resnet101_lifted_pca512.prototxt'
    for spoil in (lambda net: net.layer.pop(7), lambda net: net.layer.reverse(),
                  lambda net: setattr(net, 'name', 'ResNet-101')):
        net = caffe_pb2.NetParameter.FromString(read(path).SerializeToString())
        spoil(net)
        assert differences(net, *EXPECTED[path])


# Solvers

def solver(net, base_lr, max_iter, snapshot, prefix, lr_policy='fixed', test_iter=0,
           test_interval=100000, **fields):
    return dict(net=f'proto/{net}.prototxt', base_lr=base_lr, max_iter=max_iter, snapshot=snapshot,
                lr_policy=lr_policy, test_iter=[test_iter], test_interval=test_interval,
                momentum=0.9, weight_decay=0.0001, display=100, solver_mode=1,
                snapshot_prefix=f'caffemodel/{prefix}', **fields)


SOLVERS = {
    'distilling/train_resnet101_distilling_solver.prototxt': solver(
        'distilling/pca512/train_resnet101_student_pca512', 0.00005, 39640, 10000,
        'resnet101_distilling', 'multistep', gamma=0.5, stepvalue=[7928, 15856, 23784, 31712]),
    'triplet/train_resnet101_triplet_solver.prototxt': solver(
        'triplet/pca512/train_resnet101_lifted_pca512', 0.0002, 16664, 3000, 'resnet101_lifted',
        'multistep', gamma=0.25, stepvalue=[4166, 8332]),
    'reduce/parallel/train_resnet101_reduce_solver.prototxt': solver(
        'reduce/parallel/train_resnet101_reduce_pca512', 0.00001, 51695, 5170,
        'resnet101_reduce_parallel'),
    'reduce/serial/train_resnet101_reduce_solver.prototxt': solver(
        'reduce/serial/train_resnet101_reduce_pca512', 0.00001, 51695, 5170,
        'resnet101_reduce_serial', test_iter=80, test_interval=5170),
}


@pytest.mark.parametrize('path', SOLVERS)
def test_the_solvers_are_those_of_the_original(path):
    assert read(path, caffe_pb2.SolverParameter) == caffe_pb2.SolverParameter(**SOLVERS[path])


@pytest.mark.parametrize('path', SOLVERS)
def test_a_tiny_solver_trains_the_tiny_net_on_a_cpu_in_the_same_steps(path):
    full = read(path, caffe_pb2.SolverParameter)
    tiny = read(twin(path), caffe_pb2.SolverParameter)
    net = tiny.net.removeprefix('proto/')
    assert net == twin(full.net.removeprefix('proto/')) and net in PATHS
    assert tiny.solver_mode == caffe_pb2.SolverParameter.CPU
    assert tiny.max_iter < 1000 and tiny.snapshot < tiny.max_iter
    assert [round(step / tiny.max_iter, 1) for step in tiny.stepvalue] == [
        round(step / full.max_iter, 1) for step in full.stepvalue]
    assert (PROTO.parent / tiny.snapshot_prefix).parent.is_dir()
    for key in ('momentum', 'weight_decay', 'lr_policy', 'gamma', 'test_iter'):
        assert getattr(tiny, key) == getattr(full, key)
