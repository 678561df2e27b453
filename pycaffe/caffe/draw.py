"""Draw the graph of a net with pydot and Graphviz.

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
    """A net cannot be drawn; a ValueError too, as in pycaffe."""


def get_pooling_types_dict():
    """Return a dict from the number of each pooling method to its name."""
    methods = caffe_pb2.PoolingParameter.PoolMethod
    return {number: name for name, number in methods.items()}


def get_edge_label(layer):
    """Return the label of the edges to a layer's tops.

    This is the number of outputs (convolutions, InnerProduct) or the batch size (Data); '""' for
    other layers.
    """
    if layer.type == 'Data':
        return f'Batch {layer.data_param.batch_size}'
    if layer.type in ('Convolution', 'Deconvolution'):
        return str(layer.convolution_param.num_output)
    if layer.type == 'InnerProduct':
        return str(layer.inner_product_param.num_output)
    return '""'


def get_layer_lr_mult(layer):
    """Return the lr_mult of the weights and of the bias.

    Raises DrawError unless the layer is a Convolution, Deconvolution or InnerProduct.
    """
    if layer.type not in LEARNING:
        raise DrawError(f'layer {layer.name!r}: {layer.type} has no learning rate to draw')
    if len(layer.param) > 2:
        raise DrawError(f'layer {layer.name!r} has {len(layer.param)} learning rates, not two')
    return tuple([*(spec.lr_mult for spec in layer.param), 1.0, 1.0][:2])


def get_layer_label(layer, rankdir, display_lrm=False):
    """Return the label of a layer's node: name, type and kernel, in double quotes.

    rankdir : direction of the graph; 'LR' puts each part of the label on its own line
    display_lrm : add the learning rate multipliers
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
    """Return the fill colour of a layer's node, as '#RRGGBB'."""
    return COLORS.get(layertype, LAYER_STYLE_DEFAULT['fillcolor'])


def get_pydot_graph(caffe_net, rankdir, label_edges=True, phase=None, display_lrm=False):
    """Return the pydot graph of a NetParameter, with one node per layer and one per blob.

    rankdir : direction of the graph, 'LR', 'TB' or 'BT'
    label_edges : label the edges to the tops, see `get_edge_label`
    phase : draw the layers of caffe.TRAIN or caffe.TEST only; None for all layers
    display_lrm : show the learning rate multipliers of the layers
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
        raise DrawError(f'layer {layer.name!r} has both include and exclude rules; use one kind')
    included = not layer.include or any(rule.phase == phase for rule in layer.include)
    return included and all(rule.phase != phase for rule in layer.exclude)


def draw_net(caffe_net, rankdir, ext='png', phase=None, display_lrm=False):
    """Draw a NetParameter and return the bytes of the picture file.

    ext : file type, such as 'png' or 'pdf'; 'raw' for the text in the DOT language
    rankdir, phase, display_lrm : see `get_pydot_graph`
    Raises CaffeError if Graphviz is not installed or does not know the type.
    """
    graph = get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm)
    text = graph.to_string().encode()
    if ext == 'raw':
        return text
    try:
        dot = subprocess.run(['dot', f'-T{ext}'], input=text, capture_output=True)
    except FileNotFoundError:
        raise CaffeError('drawing a net needs the program `dot`: install Graphviz') from None
    if dot.returncode:
        message = dot.stderr.decode(errors='replace').strip().splitlines()
        raise CaffeError(f'dot cannot draw {ext!r}: {message[0] if message else dot.returncode}')
    return dot.stdout


def draw_net_to_file(caffe_net, filename, rankdir='LR', phase=None, display_lrm=False):
    """Draw a net with `draw_net` and write the picture; its type is the file's extension."""
    filename = os.fspath(filename)
    ext = os.path.splitext(filename)[1][1:]
    if not ext:
        raise DrawError(f'{filename}: has no extension to name the file type, as in net.png')
    write_aside(filename, [draw_net(caffe_net, rankdir, ext, phase, display_lrm)])
