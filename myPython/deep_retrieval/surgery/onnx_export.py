"""Export a deploy net to ONNX, for any image size and any number of images and regions.

    model = export('proto/deploy_resnet101.prototxt', 'caffemodel/model.caffemodel')

Inputs and output are those of the net: `data` (images x 3 x height x width; B, G, R from 0 to 255
minus images.MEAN, which is also in the file's metadata), `rois` (regions x 5) and the blob `end`.
BatchNorm and Scale are folded into the convolutions. Opset 17.
"""

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import yaml
from caffe.proto.caffe_pb2 import LayerParameter

from deep_retrieval.images import MEAN
from deep_retrieval.model import END
from deep_retrieval.optional import need
from deep_retrieval.surgery.fold import fold
from deep_retrieval.surgery.nets import build
from deep_retrieval.vectors import EPSILON

onnx = need('onnx', 'onnx')
helper, numpy_helper = need('onnx.helper', 'onnx'), need('onnx.numpy_helper', 'onnx')
TensorProto = onnx.TensorProto

OPSET, IR_VERSION = 17, 8       # supported by runtimes from 2022 on
DIMS = {'data': ['images', 3, 'height', 'width'], 'rois': ['regions', 5]}
NORMALIZE_EPSILON = 1e-6        # of caffe-windows' Normalize, inside the square root


def export(proto: str, weights: str, end: str = END) -> 'onnx.ModelProto':
    """Return the onnx.ModelProto of a net, up to the blob `end`.

    Parameters
    ----------
    proto, weights : paths of the deploy net and its caffemodel
    end : str
        Blob of the output.

    Raises
    ------
    ValueError
        The net does not have this blob, has other inputs than data and rois, or a layer that
        cannot be exported.
    """
    net, arrays, _ = fold(proto, weights)
    built = build(net, arrays, proto)
    if end not in built.blobs:
        raise ValueError(f'{proto}: has no blob {end!r}')
    graph = Graph(built)
    inputs, needed = [], _needed(net, end)
    for layer in needed:
        if layer.type == 'Input':
            inputs += [top for top in layer.top if any(top in other.bottom for other in needed)]
    if not set(inputs) <= set(DIMS):
        raise ValueError(f'{proto}: has inputs {inputs}, but only data and rois can be exported')
    for layer in needed:
        if layer.type != 'Input':
            graph.add_layer(layer)
    graph.add('Identity', graph.tensors[end], output=end)
    rank = len(built.blobs[end].shape)
    tops = ['images', *built.blobs[end].shape[1:]] if rank < 3 or (
        built.blobs[end].shape[2:] == (1, 1)) else [None] * rank
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, net.name or 'net',
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, DIMS[name]) for name in inputs],
            [helper.make_tensor_value_info(end, TensorProto.FLOAT, tops)], graph.constants),
        opset_imports=[helper.make_opsetid('', OPSET)], ir_version=IR_VERSION,
        producer_name='my-deep-retrieval')
    helper.set_model_props(model, {'channels': 'B G R, 0 to 255, less the mean',
                                   'mean': ' '.join(f'{value:.8f}' for value in MEAN),
                                   'rois': 'image index, x1, y1, x2, y2, corners inclusive'})
    onnx.checker.check_model(model)
    return model


def _needed(net, end):
    """Return the layers that the blob `end` depends on, in order."""
    wanted, layers = {end}, []
    for layer in reversed(net.layer):
        if wanted.intersection(layer.top):
            layers.append(layer)
            wanted.update(layer.bottom)
    return layers[::-1]


class Graph:
    """Nodes and constants of an ONNX graph, built layer by layer."""

    def __init__(self, net):
        self.net = net
        self.nodes, self.constants = [], []
        self.tensors = {}       # blob -> its current tensor; in-place layers replace it

    def add_layer(self, layer: LayerParameter) -> None:
        """Add the nodes of a layer."""
        if layer.type not in LAYERS:
            raise ValueError(f'layer {layer.name!r}: type {layer.type} cannot be exported; '
                             f'known are {", ".join(sorted(LAYERS))}')
        bottoms = [self.tensors.get(blob, blob) for blob in layer.bottom]
        self.tensors[layer.top[0]] = LAYERS[layer.type](self, layer, *bottoms)

    def add(self, kind: str, *inputs, output: str | None = None, **attributes) -> str:
        """Add a node and return its output's name; inputs that are arrays become constants."""
        output = output or f't{len(self.nodes)}'
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [output], **attributes))
        return output

    def constant(self, values: np.ndarray | Sequence) -> str:
        """Add a constant, float32 or int64, and return its name."""
        values = np.asarray(values)
        values = values.astype(np.int64 if values.dtype.kind in 'iu' else np.float32)
        name = f'c{len(self.constants)}'
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def arrays(self, layer: LayerParameter) -> list[np.ndarray]:
        """Return the parameters of a layer."""
        return [blob.data for blob in self.net.params[layer.name]]

    def rank(self, blob: str) -> int:
        """Return the number of axes of a blob."""
        return len(self.net.blobs[blob].shape)


def refuse(layer: LayerParameter, what: str) -> NoReturn:
    """Raise a ValueError that names the layer and what cannot be exported."""
    raise ValueError(f'layer {layer.name!r}: {what} cannot be exported')


def convolution(graph: Graph, layer: LayerParameter, x: str) -> str:
    made = graph.net.layer_dict[layer.name]
    return graph.add('Conv', x, *graph.arrays(layer), kernel_shape=made.kernel,
                     strides=made.stride, pads=2 * tuple(made.pad), dilations=made.dilation,
                     group=layer.convolution_param.group)


def batch_norm(graph: Graph, layer: LayerParameter, x: str) -> str:
    statistics = graph.net.layer_dict[layer.name].statistics()
    mean, variance = (value.cpu().numpy().astype(float) for value in statistics)
    shape = (-1, *[1] * (graph.rank(layer.bottom[0]) - 2))
    centred = graph.add('Sub', x, mean.reshape(shape))
    deviation = np.sqrt(variance + layer.batch_norm_param.eps)
    return graph.add('Div', centred, deviation.reshape(shape))


def scale(graph: Graph, layer: LayerParameter, x: str, *factor) -> str:
    if factor:
        refuse(layer, 'a second bottom')
    behind = graph.rank(layer.bottom[0]) - layer.scale_param.axis
    for kind, array in zip(('Mul', 'Add'), graph.arrays(layer), strict=False):
        x = graph.add(kind, x, array.reshape(*array.shape, *[1] * (behind - array.ndim)))
    return x


def relu(graph: Graph, layer: LayerParameter, x: str) -> str:
    slope = layer.relu_param.negative_slope
    return graph.add('LeakyRelu', x, alpha=slope) if slope else graph.add('Relu', x)


def pooling(graph: Graph, layer: LayerParameter, x: str) -> str:
    param = layer.pooling_param
    if param.pool != param.MAX or len(layer.top) > 1:
        refuse(layer, 'pooling other than MAX with one top')
    if param.global_pooling:
        return graph.add('GlobalMaxPool', x)
    made = graph.net.layer_dict[layer.name]
    if any(kernel < stride for kernel, stride in zip(made.kernel, made.stride, strict=True)):
        refuse(layer, 'a stride larger than the kernel')
    return graph.add('MaxPool', x, kernel_shape=made.kernel, strides=made.stride,
                     pads=2 * tuple(made.pad), ceil_mode=int(param.round_mode == param.CEIL))


def eltwise(graph: Graph, layer: LayerParameter, *x) -> str:
    param = layer.eltwise_param
    if any(coeff != 1 for coeff in param.coeff) or param.operation == param.PROD:
        refuse(layer, 'PROD and coeff')
    return graph.add('Max' if param.operation == param.MAX else 'Sum', *x)


def concat(graph: Graph, layer: LayerParameter, *x) -> str:
    return graph.add('Concat', *x, axis=layer.concat_param.axis)


def roi_pooling(graph: Graph, layer: LayerParameter, x: str, rois: str) -> str:
    param = layer.roi_pooling_param
    # corners are rounded to cells here, as in Caffe: runtimes round differently
    corners = graph.add('Slice', rois, [1], [5], [1])
    scaled = graph.add('Mul', corners, [param.spatial_scale])
    cells = graph.add('Floor', graph.add('Add', scaled, [0.5]))
    index = graph.add('Slice', rois, [0], [1], [1])
    return graph.add('MaxRoiPool', x, graph.add('Concat', index, cells, axis=1),
                     pooled_shape=(param.pooled_h, param.pooled_w), spatial_scale=1.0)


def normalize(graph: Graph, layer: LayerParameter, x: str) -> str:
    total = graph.add('ReduceSum', graph.add('Mul', x, x), [1], keepdims=1)
    return graph.add('Div', x, graph.add('Sqrt', graph.add('Add', total, [NORMALIZE_EPSILON])))


def python_normalize(graph: Graph, layer: LayerParameter, x: str) -> str:
    total = graph.add('ReduceSum', graph.add('Mul', x, x), [1], keepdims=1)
    return graph.add('Div', x, graph.add('Add', graph.add('Sqrt', total), [EPSILON]))


def reshape(graph: Graph, layer: LayerParameter, x: str) -> str:
    param = layer.reshape_param
    if param.axis or param.num_axes != -1:
        refuse(layer, 'axis and num_axes')
    return graph.add('Reshape', x, list(param.shape.dim))    # 0 copies an axis in ONNX too


def inner_product(graph: Graph, layer: LayerParameter, x: str) -> str:
    param = layer.inner_product_param
    if param.axis != 1:
        refuse(layer, 'an axis other than 1')
    return graph.add('Gemm', graph.add('Flatten', x, axis=1), *graph.arrays(layer),
                     transB=int(not param.transpose))


def aggregate(graph: Graph, layer: LayerParameter, regions: str, rois: str | None = None) -> str:
    """Sum the rows of each image, as a product with the image-by-row membership matrix."""
    num_rois = (yaml.safe_load(layer.python_param.param_str or '{}') or {}).get('num_rois')
    if rois is None:
        if num_rois is None:
            return graph.add('ReduceSum', regions, [0], keepdims=1)
        tail = graph.net.blobs[layer.bottom[0]].shape[1:]
        runs = graph.add('Reshape', regions, [-1, num_rois, *tail])
        return graph.add('ReduceSum', runs, [1], keepdims=0)
    index = graph.add('Slice', rois, [0], [1], [1])
    images = graph.add('Cast', graph.add('Reshape', index, [1, -1]), to=TensorProto.INT64)
    count = graph.add('Add', graph.add('ReduceMax', images, keepdims=0), np.array(1))
    numbers = graph.add('Range', np.array(0), count, np.array(1))
    belongs = graph.add('Cast', graph.add('Equal', graph.add('Reshape', numbers, [-1, 1]), images),
                        to=TensorProto.FLOAT)
    total = graph.add('MatMul', belongs, graph.add('Flatten', regions, axis=1))
    tail = graph.net.blobs[layer.bottom[0]].shape[1:]
    return graph.add('Reshape', total, [-1, *tail])


def python(graph: Graph, layer: LayerParameter, *x) -> str:
    kinds = {'NormalizeLayer': python_normalize, 'AggregateLayer': aggregate}
    if layer.python_param.layer not in kinds:
        refuse(layer, f'the Python layer {layer.python_param.layer}')
    return kinds[layer.python_param.layer](graph, layer, *x)


LAYERS = {
    'BatchNorm': batch_norm, 'Concat': concat, 'Convolution': convolution,
    'Dropout': lambda graph, layer, x: x, 'Eltwise': eltwise, 'InnerProduct': inner_product,
    'Normalize': normalize, 'Pooling': pooling, 'Python': python, 'ROIPooling': roi_pooling,
    'ReLU': relu, 'Reshape': reshape, 'Scale': scale,
}
