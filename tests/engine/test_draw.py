"""draw: the graphs that genuine pycaffe makes (data/genuine/io.npz), and the picture's file."""

import json
import sys
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe.draw import (
    choose_color_by_layertype,
    draw_net,
    draw_net_to_file,
    get_edge_label,
    get_layer_label,
    get_layer_lr_mult,
    get_pooling_types_dict,
    get_pydot_graph,
)
from caffe.proto import caffe_pb2
from google.protobuf import text_format

GENUINE = np.load(Path(__file__).parents[1] / 'data' / 'genuine' / 'io.npz')
NET = text_format.Parse(str(GENUINE['draw/prototxt']), caffe_pb2.NetParameter())
GRAPHS = json.loads(str(GENUINE['draw/graphs']))


def layer(text):
    return text_format.Parse(text, caffe_pb2.LayerParameter())


def bare(name):
    """A name of a node without the quotes, in which the versions of pydot differ."""
    return name.strip('"')


@pytest.mark.parametrize('wanted', GRAPHS, ids=['all', 'train', 'test'])
def test_graph_as_genuine(wanted):
    pytest.importorskip('pydot')
    graph = get_pydot_graph(NET, *wanted['args'])
    assert bare(graph.get_name()) == bare(wanted['name'])
    assert graph.get_rankdir() == wanted['rankdir']

    def nodes(found):
        return sorted((bare(name), attributes) for name, attributes in found)

    def edges(found):
        return sorted((bare(src), bare(dst), attributes['label']) for src, dst, attributes in found)

    assert nodes((node.get_name(), plain(node)) for node in graph.get_nodes()) == nodes(
        wanted['nodes'])
    assert edges((edge.get_source(), edge.get_destination(), plain(edge))
                 for edge in graph.get_edges()) == edges(wanted['edges'])


def plain(element):
    return dict(element.get_attributes())


def test_a_graph_without_a_name_is_called_net():
    pytest.importorskip('pydot')
    graph = get_pydot_graph(caffe_pb2.NetParameter(), 'LR')
    assert graph.get_name() == 'Net' and not graph.get_nodes()


def test_pooling_types():
    assert get_pooling_types_dict() == {0: 'MAX', 1: 'AVE', 2: 'STOCHASTIC'}


@pytest.mark.parametrize('text, label', [
    ("type: 'Data' data_param { batch_size: 16 }", 'Batch 16'),
    ("type: 'Convolution' convolution_param { num_output: 8 }", '8'),
    ("type: 'Deconvolution' convolution_param { num_output: 9 }", '9'),
    ("type: 'InnerProduct' inner_product_param { num_output: 10 }", '10'),
    ("type: 'ReLU'", '""'),
])
def test_edge_labels(text, label):
    assert get_edge_label(layer(text)) == label


@pytest.mark.parametrize('text, label', [
    ("name: 'a' type: 'ReLU'", '"a (ReLU)"'),
    ("name: 'a' type: 'Pooling' pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }",
     '"a (Pooling AVE) kernel size: 3 stride: 2 pad: 1"'),
    ("name: 'a' type: 'Convolution'", '"a (Convolution) kernel size: 1 stride: 1 pad: 0"'),
    ("name: 'a' type: 'Deconvolution' convolution_param { kernel_size: [4, 6] pad: 2 stride: 3 }",
     '"a (Deconvolution) kernel size: 4 stride: 3 pad: 2"'),
])
def test_layer_labels(text, label):
    assert get_layer_label(layer(text), 'TB') == get_layer_label(layer(text), 'BT') == label
    assert get_layer_label(layer(text), 'LR').replace('\\n', ' ') == label


def test_the_parts_of_a_label_from_left_to_right_stand_under_each_other():
    assert get_layer_label(layer("name: 'a' type: 'ReLU'"), 'LR') == r'"a\n(ReLU)"'


@pytest.mark.parametrize('param, rates, shown', [
    ('', (1, 1), ' lr mult: 1.0, 1.0'),
    ('param { lr_mult: 2.5 }', (2.5, 1), ' lr mult: 2.5, 1.0'),
    ('param { lr_mult: 3 } param { lr_mult: 0 }', (3, 0), ' lr mult: 3.0, 0.0'),
    ('param { lr_mult: 0 } param { lr_mult: 0 }', (0, 0), ''),
])
def test_learning_rates(param, rates, shown):
    ip = layer(f"name: 'ip' type: 'InnerProduct' {param}")
    assert get_layer_lr_mult(ip) == rates
    assert get_layer_label(ip, 'TB', display_lrm=True) == f'"ip (InnerProduct){shown}"'
    assert get_layer_label(ip, 'TB') == '"ip (InnerProduct)"'


def test_learning_rates_that_are_not_drawn():
    with pytest.raises(ValueError, match='ReLU has no learning rate'):
        get_layer_lr_mult(layer("type: 'ReLU'"))
    with pytest.raises(ValueError, match="'c' has 3 learning rates"):
        get_layer_lr_mult(layer("name: 'c' type: 'Convolution' param {} param {} param {}"))


def test_colors():
    colors = [choose_color_by_layertype(kind) for kind in
              ('Convolution', 'Deconvolution', 'Pooling', 'InnerProduct', 'ReLU')]
    assert colors == ['#FF5050', '#FF5050', '#FF9900', '#CC33FF', '#6495ED']


def test_include_and_exclude_together_are_refused():
    pytest.importorskip('pydot')
    net = caffe_pb2.NetParameter()
    net.layer.add(name='both', include=[dict(phase=0)], exclude=[dict(phase=1)])
    with pytest.raises(ValueError, match="'both' has both include and exclude"):
        get_pydot_graph(net, 'LR', phase=caffe.TEST)
    assert len(get_pydot_graph(net, 'LR').get_nodes()) == 1


def test_raw_is_the_text_for_dot(tmp_path):
    pytest.importorskip('pydot')
    draw_net_to_file(NET, tmp_path / 'net.raw', rankdir='TB')
    text = (tmp_path / 'net.raw').read_text()
    assert text.startswith('digraph') and 'rankdir=TB' in text
    assert '"pool (Pooling AVE) kernel size: 3 stride: 2 pad: 1"' in text


def fake_dot(folder, monkeypatch, script):
    (folder / 'dot').write_text(f'#!/bin/sh\n{script}\n')
    (folder / 'dot').chmod(0o755)
    monkeypatch.setenv('PATH', str(folder), prepend=':')


def test_the_extension_is_what_dot_draws(tmp_path, monkeypatch):
    pytest.importorskip('pydot')
    fake_dot(tmp_path, monkeypatch, 'echo "drawn by $*"; cat')
    draw_net_to_file(NET, str(tmp_path / 'net.svg'), phase=caffe.TRAIN, display_lrm=True)
    first, text = (tmp_path / 'net.svg').read_text().split('\n', 1)
    assert first == 'drawn by -Tsvg'
    assert r'lr mult: 1.0, 2.0' in text and 'Input' not in text
    assert draw_net(NET, 'LR').startswith(b'drawn by -Tpng\n')


def test_a_failure_of_dot_is_one_line_and_leaves_the_old_picture(tmp_path, monkeypatch):
    pytest.importorskip('pydot')
    fake_dot(tmp_path, monkeypatch, 'echo "Format: \\"xyz\\" not recognized" >&2; exit 1')
    (tmp_path / 'net.xyz').write_text('old')
    with pytest.raises(caffe.CaffeError, match="cannot draw 'xyz': Format: .* not recognized$"):
        draw_net_to_file(NET, tmp_path / 'net.xyz')
    assert (tmp_path / 'net.xyz').read_text() == 'old'
    with pytest.raises(ValueError, match='no extension'):
        draw_net_to_file(NET, tmp_path / 'net')


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, 'pydot', None)
        with pytest.raises(caffe.CaffeError, match=r"pip install 'my-deep-retrieval\[draw\]'"):
            draw_net(NET, 'LR')
    pytest.importorskip('pydot')
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(caffe.CaffeError, match='install Graphviz'):
        draw_net(NET, 'LR')
