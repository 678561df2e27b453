"""A picture of a net, by pydot and Graphviz.

    caffe.draw.draw_net_to_file(net_parameter, 'net.png')
"""

import os
import subprocess

from .errors import CaffeError
from .files import write_aside
from .optional import need
from .proto import caffe_pb2

COLORS = {'Convolution': '#FF5050', 'Deconvolution': '#FF5050', 'Pooling': '#FF9900',
          'InnerProduct': '#CC33FF'}
LAYER_STYLE_DEFAULT = {'shape': 'record', 'fillcolor': '#6495ED', 'style': 'filled'}
NEURON_LAYER_STYLE = {'shape': 'record', 'fillcolor': '#90EE90', 'style': 'filled'}   # in place
BLOB_STYLE = {'shape': 'octagon', 'fillcolor': '#E0E0E0', 'style': 'filled'}
LEARNING = ('Convolution', 'Deconvolution', 'InnerProduct')


class DrawError(CaffeError, ValueError):
    """A net that cannot be drawn; a ValueError too, as pycaffe's is."""


def get_pooling_types_dict():
    """Number -> name of the pooling methods."""
    methods = caffe_pb2.PoolingParameter.PoolMethod
    return {number: name for name, number in methods.items()}


def get_edge_label(layer):
    """What is written at a layer's tops: its outputs or its batch size, else '""'."""
    if layer.type == 'Data':
        return f'Batch {layer.data_param.batch_size}'
    if layer.type in ('Convolution', 'Deconvolution'):
        return str(layer.convolution_param.num_output)
    if layer.type == 'InnerProduct':
        return str(layer.inner_product_param.num_output)
    return '""'


def get_layer_lr_mult(layer):
    """The lr_mult of weights and bias of a Convolution, Deconvolution or InnerProduct layer."""
    if layer.type not in LEARNING:
        raise DrawError(f'layer {layer.name!r}: {layer.type} has no learning rate to draw')
    if len(layer.param) > 2:
        raise DrawError(f'layer {layer.name!r} has {len(layer.param)} learning rates, not two')
    return tuple([*(spec.lr_mult for spec in layer.param), 1.0, 1.0][:2])


def get_layer_label(layer, rankdir, display_lrm=False):
    """A layer's text in double quotes: name, type, kernel, and its learning rates if asked.

    rankdir : the graph's direction; the parts stand under each other if it is 'LR'
    """
    parts = [layer.name, f'({layer.type})']
    if layer.type == 'Pooling':
        method = get_pooling_types_dict()[layer.pooling_param.pool]
        parts[1] = f'(Pooling {method})'
        param = layer.pooling_param
        parts += _kernel(param.kernel_size, param.stride, param.pad)
    elif layer.type in ('Convolution', 'Deconvolution'):
        param = layer.convolution_param
        parts += _kernel(*([*values, default][0] for values, default in (
            (param.kernel_size, 1), (param.stride, 1), (param.pad, 0))))
    if display_lrm and layer.type in LEARNING:
        rates = get_layer_lr_mult(layer)
        if any(rates):
            parts.append('lr mult: {:.1f}, {:.1f}'.format(*rates))
    separator = ' ' if rankdir in ('TB', 'BT') else r'\n'
    return f'"{separator.join(parts)}"'


def _kernel(size, stride, pad):
    return f'kernel size: {size}', f'stride: {stride}', f'pad: {pad}'


def choose_color_by_layertype(layertype):
    """The fill colour of a layer's node."""
    return COLORS.get(layertype, LAYER_STYLE_DEFAULT['fillcolor'])


def get_pydot_graph(caffe_net, rankdir, label_edges=True, phase=None, display_lrm=False):
    """The pydot graph of a NetParameter: a node a layer and a node a blob.

    rankdir : 'LR', 'TB' or 'BT'
    label_edges : write the number of outputs at the tops
    phase : caffe.TRAIN or caffe.TEST to leave out the other's layers; None for all layers
    display_lrm : write the learning rates into the layers
    """
    pydot = need('pydot', 'draw')
    graph = pydot.Dot(caffe_net.name or 'Net', graph_type='digraph', rankdir=rankdir)
    nodes, edges = {}, []
    for layer in caffe_net.layer:
        if phase is not None and not _is_in(layer, phase):
            continue
        name = f'{layer.name}_{layer.type}'
        in_place = len(layer.bottom) == 1 and layer.bottom == layer.top
        style = NEURON_LAYER_STYLE if in_place else {
            **LAYER_STYLE_DEFAULT, 'fillcolor': choose_color_by_layertype(layer.type)}
        nodes[name] = pydot.Node(get_layer_label(layer, rankdir, display_lrm), **style)
        for blob in layer.bottom:
            nodes[f'{blob}_blob'] = pydot.Node(blob, **BLOB_STYLE)
            edges.append((f'{blob}_blob', name, '""'))
        for blob in layer.top:
            nodes[f'{blob}_blob'] = pydot.Node(blob)
            edges.append((name, f'{blob}_blob', get_edge_label(layer) if label_edges else '""'))
    for node in nodes.values():
        graph.add_node(node)
    for source, target, label in edges:
        graph.add_edge(pydot.Edge(nodes[source], nodes[target], label=label))
    return graph


def _is_in(layer, phase):
    if layer.include and layer.exclude:
        raise DrawError(f'layer {layer.name!r} has include and exclude rules; one kind only')
    included = not layer.include or any(rule.phase == phase for rule in layer.include)
    return included and all(rule.phase != phase for rule in layer.exclude)


def draw_net(caffe_net, rankdir, ext='png', phase=None, display_lrm=False):
    """The picture of a NetParameter as the bytes of a file of type `ext`; 'raw' is DOT's text."""
    graph = get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm)
    text = graph.to_string().encode()
    if ext == 'raw':
        return text
    try:
        dot = subprocess.run(['dot', f'-T{ext}'], input=text, capture_output=True)
    except FileNotFoundError:
        raise CaffeError('drawing a net needs the program dot: install Graphviz') from None
    if dot.returncode:
        message = dot.stderr.decode(errors='replace').strip().splitlines()
        raise CaffeError(f'dot cannot draw {ext!r}: {message[0] if message else dot.returncode}')
    return dot.stdout


def draw_net_to_file(caffe_net, filename, rankdir='LR', phase=None, display_lrm=False):
    """Write `draw_net`'s picture; the file's extension is its type, as png, pdf or raw."""
    filename = os.fspath(filename)
    ext = os.path.splitext(filename)[1][1:]
    if not ext:
        raise DrawError(f'{filename}: its extension should say what to draw, as in net.png')
    write_aside(filename, [draw_net(caffe_net, rankdir, ext, phase, display_lrm)])
