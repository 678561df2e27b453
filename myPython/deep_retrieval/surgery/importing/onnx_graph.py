"""Import ONNX graphs of convolutional nets.

    made = import_onnx('net.onnx', pool='gem')

Known are the operators in OPERATORS. Where the zeros before and behind a map differ in number, the
kernel of the convolution grows by rows and columns of zeros, so that Caffe's even padding gives the
same. The graph must have one input, images.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
from caffe import NetSpec
from caffe import layers as L
from caffe.net_spec import Top

from deep_retrieval import store
from deep_retrieval.optional import need
from deep_retrieval.surgery import nets
from deep_retrieval.surgery.importing import frameworks, heads
from deep_retrieval.surgery.importing.imported import (
    SIZES,
    Imported,
    difference,
    folded_input,
    input_mean,
    normalized,
)
from deep_retrieval.surgery.importing.onnx_geometry import (
    average_is_caffes,
    geometry,
    grown,
    sides,
)
from deep_retrieval.surgery.importing.resnet import IMAGE
from deep_retrieval.surgery.torch_import import TORCH_MEAN, TORCH_STD

UNLIMITED = float(np.finfo(np.float32).max)


def import_onnx(file: str | os.PathLike, end: str | None = None, pool: str | None = None,
                normalize: bool = False, mean: Sequence[float] = TORCH_MEAN,
                std: Sequence[float] = TORCH_STD, colour: str = 'RGB') -> Imported:
    """Import a graph.

    Parameters
    ----------
    file : path
    end : tensor to end with, by default the graph's first output
    pool : one of heads.HEADS, for a tensor that is a map; without it the tensor is the descriptor
    normalize : whether to divide the descriptor by its L2 norm; heads do
    mean, std : R, G, B of the graph's input, from 0 to 1
    colour : the order of colours of its input, 'RGB' or 'BGR'

    Raises
    ------
    ValueError, FileNotFoundError
        The file cannot be read, or has something that cannot be imported; one line.
    RuntimeError
        The package onnx is missing.
    """
    graph = Graph(_load(file), file, mean, std, colour)
    end = end or graph.proto.output[0].name
    graph.build(end)
    blob, features = graph.blobs[end], graph.features(end)
    found = heads.End(features.top, blob, features.channels)
    if pool:
        found = heads.HEADS[pool](graph.n, graph.weights, features)
    elif normalize:
        found = heads.normalize(graph.n, found)
    net = graph.n.to_proto()
    net.name = f'ONNX, {os.path.basename(file)}'
    made = Imported(net, graph.weights, blob, found.blob, input_mean(mean),
                    _dimension(net, graph.weights, found.blob, file), graph.strides[end], net.name,
                    L=2 if pool == 'rmac' else 0)
    return _compare(made, graph, end)


def _load(file):
    onnx = need('onnx', 'onnx')
    with store.reading(file, 'an ONNX graph'):
        model = onnx.load(os.fspath(file))
        onnx.checker.check_model(model)
    return model


class Graph:
    """The layers of a graph, added node by node.

    tops, blobs, channels, strides : of each tensor, its Top, its blob's name, its channels, and
    the pixels of the image per cell.
    """

    def __init__(self, model, file, mean, std, colour):
        self.proto, self.file = model.graph, file
        self.mean, self.std, self.colour = mean, std, colour
        self.values = _constants(model.graph)
        inputs = [value for value in model.graph.input if value.name not in self.values]
        if len(inputs) != 1:
            self.refuse(f'has the inputs {[value.name for value in inputs]}, but must have one')
        self.input = inputs[0].name
        dims = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
        if len(dims) != 4 or dims[1] not in (0, 3):
            self.refuse(f'takes {dims}, but must take images, N x 3 x H x W')
        self.size = tuple(dims[2:]) if all(dims[2:]) else None      # None for any size
        self.n, self.weights = NetSpec(), {}
        self.n['data'] = L.Input(shape=dict(dim=[1, 3, *(self.size or IMAGE[2:])]))
        self.n['rois'] = L.Input(shape=dict(dim=[1, 5]))
        self.tops, self.blobs = {self.input: self.n['data']}, {self.input: 'data'}
        self.channels, self.strides = {self.input: 3}, {self.input: 1}
        self.users = Counter(name for node in model.graph.node for name in node.input)
        self.users.update(value.name for value in model.graph.output)

    def refuse(self, what: str) -> NoReturn:
        """Raise a ValueError that names the file."""
        raise ValueError(f'{self.file}: {what}')

    def build(self, end: str) -> None:
        """Add the layers of the nodes that the tensor `end` depends on."""
        nodes = self._needed(end)
        unknown = sorted({node.op_type for node in nodes} - set(OPERATORS))
        if unknown:
            self.refuse(f'has the operators {", ".join(unknown)}, which cannot be imported; known '
                        f'are {", ".join(sorted(OPERATORS))}')
        readers = [node.op_type for node in nodes if self.input in node.input]
        self.folds = set(readers) == {'Conv'}
        if not self.folds:      # a convolution of its own swaps colours and divides
            self.weights['input'] = [self._folded(np.eye(3, dtype=np.float32)[:, :, None, None])]
            self.n['input'] = L.Convolution(self.n['data'], num_output=3, kernel_size=1,
                                            bias_term=False)
            self.tops[self.input], self.blobs[self.input] = self.n['input'], 'input'
        for node in nodes:
            OPERATORS[node.op_type](self, Node(self, node))
        if end not in self.tops:
            self.refuse(f'the tensor {end!r} is a constant')

    def _needed(self, end):
        wanted, needed = {end}, []
        for node in reversed(self.proto.node):
            if wanted.intersection(node.output) and node.op_type != 'Constant':
                needed.append(node)
                wanted.update(node.input)
        if not needed and end != self.input:
            self.refuse(f'has no tensor {end!r}')
        return needed[::-1]

    def _folded(self, weight):
        """A convolution of the input, for B, G, R from 0 to 255."""
        if self.colour == 'RGB':
            return folded_input(weight, self.std)
        return folded_input(weight[:, ::-1], self.std)

    def features(self, tensor: str) -> heads.Features:
        """Return the Features of a tensor."""
        return heads.Features(self.tops[tensor], self.blobs[tensor], self.channels[tensor],
                              self.strides[tensor])


class Node:
    """A node of the graph: its attributes, its constant inputs, and how its layer is added."""

    def __init__(self, graph, node):
        self.graph, self.kind = graph, node.op_type
        self.inputs, self.output = list(node.input), node.output[0]
        helper = need('onnx.helper', 'onnx')
        self.attributes = {value.name: helper.get_attribute_value(value)
                           for value in node.attribute}
        self.name = self.output if self.output not in ('data', 'rois', 'input') else (
            f'{self.output}/{self.kind}')

    def refuse(self, what: str) -> NoReturn:
        """Raise a ValueError that names the operator and its output."""
        self.graph.refuse(f'{self.kind} {self.output!r}: {what}')

    def constant(self, index: int,
                 default: np.ndarray | float | None = None) -> np.ndarray | float | None:
        """Return a constant input; `default` if it is left out."""
        if index >= len(self.inputs) or not self.inputs[index]:
            return default
        if self.inputs[index] not in self.graph.values:
            self.refuse(f'its input {self.inputs[index]!r} must be a constant')
        return self.graph.values[self.inputs[index]]

    def tops(self, count: int | None = None) -> list[Top]:
        """Return the Tops of the first `count` inputs, by default of all."""
        names = self.inputs[:count]
        for name in names:
            if name not in self.graph.tops:
                self.refuse(f'its input {name!r} must not be a constant')
        return [self.graph.tops[name] for name in names]

    def in_place(self) -> bool:
        """Return whether nothing else reads the first input."""
        name = self.inputs[0]
        return self.graph.users[name] == 1 and self.graph.blobs[name] not in ('data', 'input')

    def add(self, top: Top, weights: Sequence[np.ndarray] = (), channels: int | None = None,
            stride: int = 1, name: str | None = None, alias: bool = False) -> None:
        """Name a layer; its top is the node's output."""
        graph, name = self.graph, name or self.name
        if not alias:
            graph.n[name] = top
            if len(weights):
                graph.weights[name] = [np.ascontiguousarray(array, np.float32)
                                       for array in weights]
        first = self.inputs[0]
        in_place = alias or top.fn.in_place
        graph.blobs[self.output] = graph.blobs[first] if in_place else name
        graph.tops[self.output] = top
        graph.channels[self.output] = channels or graph.channels[first]
        graph.strides[self.output] = stride * max(graph.strides.get(name, 1)
                                                  for name in self.inputs)


def _constants(graph):
    """Name -> array of the initializers and the nodes Constant."""
    to_array = need('onnx.numpy_helper', 'onnx').to_array
    found = {tensor.name: to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == 'Constant':
            for attribute in node.attribute:
                if attribute.name == 'value':
                    found[node.output[0]] = to_array(attribute.t)
                elif attribute.name in ('value_float', 'value_int'):
                    found[node.output[0]] = np.array(attribute.f or attribute.i)
    return found


# Operators: each adds the layers of a node.

def _conv(graph, node):
    weight = node.constant(1)
    if weight.ndim != 4:
        node.refuse(f'its kernel {weight.shape} must have two dimensions of space')
    bias = node.constant(2)
    if node.inputs[0] == graph.input and graph.folds:
        if weight.shape[1] != 3:
            node.refuse(f'its kernel {weight.shape} must take 3 channels')
        weight = graph._folded(weight)
    place = geometry(node, weight.shape[2:])
    weight, pads = grown(node, weight, place)
    weights = [weight] if bias is None else [weight, bias]
    node.add(L.Convolution(
        *node.tops(1), num_output=len(weight), bias_term=bias is not None,
        group=node.attributes.get('group', 1), kernel_size=sides(weight.shape[2:]),
        stride=sides(place.strides), pad=sides(pads), dilation=sides(place.dilations)),
        weights, len(weight), max(place.strides))


def _batch_norm(graph, node):
    if node.attributes.get('training_mode'):
        node.refuse('must not be in training mode')
    scale, bias, mean, variance = (node.constant(index) for index in range(1, 5))
    bottom, in_place = node.tops(1)[0], node.in_place()
    top = L.BatchNorm(bottom, use_global_stats=True, in_place=in_place,
                      eps=node.attributes.get('epsilon', 1e-5))
    node.add(top, [mean, variance, np.ones(1)], name=f'{node.name}/bn')
    # the Scale writes to the blob of the BatchNorm, so both are one blob
    blob = graph.blobs[node.output]
    node.add(L.Scale(graph.n[f'{node.name}/bn'], bias_term=True, in_place=True), [scale, bias])
    graph.blobs[node.output] = blob


def _relu(graph, node):
    node.add(L.ReLU(*node.tops(1), in_place=node.in_place()))


def _clip(graph, node):
    low, high = (float(node.attributes.get(name, node.constant(index, default)))
                 for name, index, default in (('min', 1, -UNLIMITED), ('max', 2, UNLIMITED)))
    node.add(L.Clip(*node.tops(1), min=low, max=high))


def _add(graph, node):
    if len({graph.channels.get(name) for name in node.inputs}) > 1:
        node.refuse('its inputs must be maps with equal numbers of channels')
    node.add(L.Eltwise(*node.tops(), operation='SUM'))


def _concat(graph, node):
    if node.attributes['axis'] not in (1, -3):
        node.refuse('must join channels (axis 1)')
    node.add(L.Concat(*node.tops(), axis=1), channels=sum(graph.channels[name]
                                                          for name in node.inputs))


def _pool(graph, node):
    place = geometry(node, node.attributes['kernel_shape'])
    if set(place.dilations) != {1}:
        node.refuse('dilations cannot be imported')
    if place.begin != place.end:
        node.refuse(f'uneven padding {place.begin} and {place.end} cannot be imported')
    average = node.kind == 'AveragePool'
    if average and not average_is_caffes(node, place):
        node.refuse('padding that does not count cannot be imported')
    node.add(L.Pooling(
        *node.tops(1), pool='AVE' if average else 'MAX', kernel_h=place.kernel[0],
        kernel_w=place.kernel[1], stride_h=place.strides[0], stride_w=place.strides[1],
        pad_h=place.begin[0], pad_w=place.begin[1],
        round_mode='CEIL' if node.attributes.get('ceil_mode') else 'FLOOR'),
        stride=max(place.strides))


def _global_average(graph, node):
    node.add(L.Pooling(*node.tops(1), pool='AVE', global_pooling=True))


def _flatten(graph, node):
    if node.attributes.get('axis', 1) != 1:
        node.refuse('must keep the first axis')
    node.add(L.Flatten(*node.tops(1)))


def _gemm(graph, node):
    if node.attributes.get('transA'):
        node.refuse('a transposed first matrix cannot be imported')
    matrix = node.constant(1) * node.attributes.get('alpha', 1.0)
    matrix = matrix if node.attributes.get('transB') else matrix.T
    bias = node.constant(2)
    weights = [matrix]
    if bias is not None:
        weights.append(np.broadcast_to(bias * node.attributes.get('beta', 1.0),
                                       (1, len(matrix))).ravel())
    node.add(L.InnerProduct(*node.tops(1), num_output=len(matrix), bias_term=bias is not None),
             weights, len(matrix))


def _same(graph, node):
    node.add(*node.tops(1), alias=True)


OPERATORS = {
    'Conv': _conv, 'BatchNormalization': _batch_norm, 'Relu': _relu, 'Clip': _clip, 'Add': _add,
    'MaxPool': _pool, 'AveragePool': _pool, 'GlobalAveragePool': _global_average, 'Gemm': _gemm,
    'Concat': _concat, 'Flatten': _flatten, 'Identity': _same, 'Dropout': _same,
}


def _dimension(net, weights, blob, file):
    """The dimension of the descriptor; ValueError if net and weights do not fit each other."""
    try:
        built = nets.build(net, weights)
    except ValueError as error:
        raise ValueError(f'{file}: {error}') from error
    return int(np.prod(built.blobs[blob].shape[1:]))


def _compare(made, graph, end):
    """Compare with onnxruntime, if it is there: the tensor `end`, before a head."""
    runtime = frameworks.installed('onnxruntime')
    if runtime is None:
        return made
    onnx = need('onnx', 'onnx')
    model = onnx.load(os.fspath(graph.file))
    if end not in {value.name for value in model.graph.output}:
        model.graph.output.append(onnx.ValueInfoProto(name=end))
    options = runtime.SessionOptions()
    options.log_severity_level = 4      # its errors are raised, too
    with store.reading(graph.file, 'a graph that onnxruntime can run'):
        session = runtime.InferenceSession(model.SerializeToString(), options,
                                           providers=['CPUExecutionProvider'])

    def source(rgb):
        x = normalized(rgb, graph.mean, graph.std)
        x = x if graph.colour == 'RGB' else x[:, ::-1].copy()
        with store.reading(graph.file, 'a graph that onnxruntime can run'):
            return session.run([end], {graph.input: x})[0]

    sizes = [graph.size] if graph.size else SIZES
    largest = difference(made, source, made.map, sizes)
    return dataclasses.replace(made, checked=('onnxruntime', largest))
