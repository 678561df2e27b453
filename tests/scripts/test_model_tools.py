"""The subcommands of model_tools.py, run as a user runs them."""

import sys

import cv2
import model_tools
import numpy as np
import pytest
import torch
from conftest import ROOT, assert_one_line, run_script
from deep_retrieval import cli, subcommands
from deep_retrieval.model import DescriptorNet, load_model, read_info
from deep_retrieval.surgery import nets
from deep_retrieval.surgery.tools import ModelTools
from model_tools import MODES
from torch_resnet import ResNet

SCRIPT = ROOT / 'myPython/model_tools.py'
PROTO = ROOT / 'proto/deploy_resnet_tiny.prototxt'
TINY = ROOT / 'tests/data/genuine/tiny.caffemodel'
NET = ['--proto', PROTO, '--weights', TINY]


@pytest.fixture
def tool(monkeypatch, capsys):
    """Function: arguments -> what the script prints, in this process."""
    def run(*args):
        monkeypatch.setattr(sys, 'argv', ['model_tools.py', *map(str, args)])
        subcommands.run(model_tools.__doc__, MODES, model_tools.FLAGS)
        return capsys.readouterr().out.splitlines()
    return run


@pytest.fixture
def image(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'),
                np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8))
    return tmp_path / 'a.png'


@pytest.mark.parametrize('mode', MODES)
def test_every_flag_has_help_and_a_default_that_works(mode, monkeypatch, capsys):
    words = mode.split()
    monkeypatch.setattr(sys, 'argv', ['model_tools.py', *words])
    values = vars(subcommands.parse(model_tools.__doc__, MODES, model_tools.FLAGS))
    assert set(values) == {'mode', 'function', *MODES[mode][1].split()}
    assert values['mode'] == mode
    monkeypatch.setattr(sys, 'argv', ['model_tools.py', *words, '-h'])
    with pytest.raises(SystemExit):
        subcommands.parse(model_tools.__doc__, MODES, model_tools.FLAGS)
    text = ' '.join(capsys.readouterr().out.split())
    for flag in MODES[mode][1].split():
        assert model_tools.FLAGS[flag]['help'] in text


def test_shapes(tool):
    lines = tool('shapes', '--proto', PROTO)
    assert 'data\t1 x 3 x 224 x 224' in lines and 'res5c\t1 x 256 x 7 x 7' in lines
    assert 'conv1[0]\t8 x 3 x 7 x 7' in lines and 'bn_conv1[2]\t1' in lines


def test_data_of_parameters_and_of_an_image(tool, image):
    values = nets.load_weights(TINY)['conv1'][0]
    line, = tool('data', *NET, '--layers', 'conv1')
    assert line.startswith('conv1[0]\t8 x 3 x 7 x 7\tmean ')
    assert float(line.split('\t')[2].split()[1]) == pytest.approx(values.mean(), rel=1e-4)
    line, = tool('data', *NET, '--layers', 'res5c', '--image', image, '--S', '96', '--L', '1')
    assert line.startswith('res5c\t1 x 256 x 2 x 3\t') and 'min 0\t' in line
    assert len(tool('data', *NET)) == len(tool('shapes', '--proto', PROTO)) - len(
        DescriptorNet(PROTO, TINY, 2).net.blobs)


def test_compare_and_clip(tool, tmp_path):
    new = tmp_path / 'folder/new.prototxt'
    assert tool('compare', '--proto', PROTO, '--other', PROTO) == []
    tool('clip', *NET, '--dim', 32, '--output_proto', new, '--output', tmp_path / 'a.caffemodel')
    assert tool('compare', '--proto', PROTO, '--other', new) == [
        'missing\tpooled_rois/pca', 'additional\tpooled_rois/pca_32']
    (tmp_path / 'rows').write_text('3 1\n2\n')
    tool('clip', *NET, '--rows', tmp_path / 'rows', '--output_proto', new, '--output',
         tmp_path / 'a.caffemodel', '--new_layer', 'three')
    weights = nets.load_weights(tmp_path / 'a.caffemodel')
    np.testing.assert_array_equal(weights['three'][0],
                                  nets.load_weights(TINY)['pooled_rois/pca'][0][[3, 1, 2]])


def test_add_and_strip(tool, tmp_path):
    frozen, plain = tmp_path / 'frozen.prototxt', tmp_path / 'plain.prototxt'
    tool('add', '--proto', PROTO, '--last', 'scale_conv1', '--output_proto', frozen)
    assert frozen.read_text().count('lr_mult: 0') == 6
    tool('strip', '--proto', frozen, '--output_proto', plain)
    assert nets.read_net(str(plain)) == nets.read_net(str(PROTO))


def test_teacher_and_triplet(tool, tmp_path):
    teacher, weights = tmp_path / 'teacher.prototxt', tmp_path / 'teacher.caffemodel'
    tool('make-teacher', '--proto', PROTO, '--height', 64, '--width', 96, '--output_proto', teacher)
    tool('save-teacher-weights', '--teacher_proto', teacher, '--weights', TINY, '--output', weights)
    found = nets.load_weights(weights)
    np.testing.assert_array_equal(found['h_conv1'][0], nets.load_weights(TINY)['conv1'][0])
    triplet = tmp_path / 'triplet.prototxt'
    tool('make-triplet', '--proto', PROTO, '--margin', '0.2', '--learn', 'pooled_rois/pca',
         '--output_proto', triplet)
    assert triplet.read_text().count('lr_mult: 2.0') == 3


def test_fold_and_equal_runs_give_equal_bytes(tool, image, tmp_path):
    paths = [(tmp_path / f'{i}.prototxt', tmp_path / f'{i}.caffemodel') for i in range(2)]
    for proto, weights in paths:
        assert tool('fold', *NET, '--output_proto', proto, '--output', weights) == [
            '46 layers are folded, 60 left']
    for first, second in zip(*paths):
        assert first.read_bytes() == second.read_bytes()
    picture = [cv2.imread(str(image))]
    np.testing.assert_allclose(DescriptorNet(*paths[0], 2)(picture),
                               DescriptorNet(PROTO, TINY, 2)(picture), atol=1e-5)


def test_export_onnx(tool, tmp_path):
    onnx = pytest.importorskip('onnx')
    tool('export-onnx', *NET, '--output', tmp_path / 'a.onnx')
    assert [value.name for value in onnx.load(tmp_path / 'a.onnx').graph.input] == ['data', 'rois']


def test_the_originals_methods(tmp_path):
    tools = ModelTools(PROTO, TINY)
    assert tools.check_blob_shape()['conv1[0]'] == (8, 3, 7, 7)
    assert tools.compare_model(PROTO)['missing'] == []
    matrix, bias = tools.clip_blob_data('pooled_rois/pca', 5)
    assert matrix.shape == (5, 256) and bias.shape == (5,)
    files = tmp_path / 'a.prototxt', tmp_path / 'a.caffemodel'
    tools.assign_blob_data(['pooled_rois/pca'], ['pooled_rois/pca_5'], *files, 5)
    assert DescriptorNet(*files, 2).net.params['pooled_rois/pca_5'][0].data.shape == (5, 256)
    tools.add_learning_params(files[0], 'conv1', 'conv1')
    tools.remove_learning_params(files[0])
    tools.make_triplet_network(files[0])
    tools.make_teacher_network(files[0])
    tools.save_teacher_network_weights(*files)
    assert 'm_conv1' in nets.load_weights(files[1])


def test_import_torch(tool, tmp_path, capsys):
    torch.manual_seed(0)
    torch.save({**ResNet().state_dict(), 'extra': torch.zeros(2)}, tmp_path / 'a.pth')
    paths = tmp_path / 'a.prototxt', tmp_path / 'a.caffemodel'
    tool('import-torch', '--proto', PROTO, '--state_dict', tmp_path / 'a.pth', '--mean', 0.5, 0.5,
         0.5, '--std', 1, 1, 1, '--output_proto', paths[0], '--output', paths[1])
    picture = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    descriptor = DescriptorNet(*paths, 2)([picture])
    assert descriptor.shape == (1, 128) and np.isfinite(descriptor).all()


def test_import_resnet_and_what_follows(tool, image, tmp_path):
    torch.save(ResNet().state_dict(), tmp_path / 'a.pth')
    made = tmp_path / 'out/a.caffemodel'
    lines = tool('import', 'resnet', '--file', tmp_path / 'a.pth', '--head', 'gem', '--S', 96,
                 '--licence', 'MIT', '--output', made)
    assert lines[0] == f'{made}: 256 dimensions' and len(lines) == 2
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'a.caffemodel', 'a.json', 'a.prototxt']
    proto = ['--proto', tmp_path / 'out/a.prototxt']
    assert 'gem\t1 x 256 x 1 x 1' in tool('shapes', *proto)
    folded = tmp_path / 'b.prototxt', tmp_path / 'b.caffemodel'
    tool('fold', *proto, '--weights', made, '--output_proto', folded[0], '--output', folded[1])
    picture = [cv2.imread(str(image))]
    row = load_model(made)(picture)
    np.testing.assert_allclose(
        DescriptorNet(*folded, 0, 'descriptor', mean=read_info(made).mean)(picture),
        DescriptorNet(*proto[1:], made, 0, 'descriptor', mean=read_info(made).mean)(picture),
        atol=1e-5)
    assert row.shape == (1, 256)


def test_a_size_below_the_stride_writes_nothing(tool, tmp_path, capsys):
    torch.save(ResNet().state_dict(), tmp_path / 'a.pth')
    with pytest.raises(SystemExit), cli.user_errors():
        tool('import', 'resnet', '--file', tmp_path / 'a.pth', '--S', 31, '--output',
             tmp_path / 'a.caffemodel')
    assert 'smaller than the stride of the net, 32' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['a.pth']


def test_import_without_a_kind_lists_them(tool, capsys):
    with pytest.raises(SystemExit):
        tool('import', '-h')
    text = capsys.readouterr().out
    assert all(kind in text for kind in ('resnet', 'naver', 'cirtorch', 'sscd', 'onnx', 'lite'))


@pytest.mark.parametrize('args, word', [
    (['shapes', '--proto', 'nothing.prototxt'], 'nothing.prototxt'),
    (['clip', *NET, '--dim', '129'], '128'), (['clip', *NET, '--rows', PROTO], PROTO.name),
    (['clip', *NET, '--mix_weights', TINY], 'pooled_rois/reduce'),
    (['clip', *NET, '--layer', 'conv0'], 'conv0'), (['data', *NET, '--layers', 'conv0'], 'conv0'),
    (['data', *NET, '--image', PROTO], PROTO.name),
    (['data', '--proto', PROTO, '--weights', PROTO], PROTO.name),
    (['import-torch', '--proto', PROTO, '--state_dict', TINY], TINY.name),
    (['import', 'resnet', '--file', TINY], TINY.name),
    (['import', 'naver', '--file', TINY], TINY.name),
    (['import', 'cirtorch', '--file', 'nothing.pth'], 'nothing.pth: No such file'),
    (['import', 'sscd', '--file', PROTO], PROTO.name),
    (['import', 'onnx', '--file', TINY], TINY.name),
    (['import', 'lite', '--file', 'nothing.pth', '--dimension', '0'], 'nothing.pth'),
    (['strip', '--proto', PROTO, '--output_proto', '/dev/null/a.prototxt'], '/dev/null')])
def test_a_mistake_is_one_line_and_writes_nothing(tool, args, word, tmp_path, monkeypatch, capsys):
    mode = ' '.join(args[:2]) if args[0] == 'import' else args[0]
    flags = MODES[mode][1].split()
    for flag in ('output', 'output_proto'):
        if flag in flags and f'--{flag}' not in args:
            args = [*args, f'--{flag}', tmp_path / flag]
    with pytest.raises(SystemExit) as end, cli.user_errors():
        tool(*args)
    error = capsys.readouterr().err.splitlines()
    assert end.value.code == 1 and len(error) == 1 and word in error[0]
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path):
    (tmp_path / 'taken').mkdir()
    done = run_script(SCRIPT, 'strip', '--proto', PROTO, '--output_proto', tmp_path / 'taken')
    assert_one_line(done, 'taken')
    assert [file.name for file in tmp_path.iterdir()] == ['taken']
