"""Read, change and write nets as data: their structure (a NetParameter) and their weights.

    net = read_net('proto/deploy_resnet101.prototxt')
    weights = load_weights('caffemodel/model.caffemodel')
    write_net('tmp/frozen.prototxt', freeze(net, last='res4b22'))

Weights are a dict, layer name -> list of float32 arrays. Functions do not modify their arguments.
They need this repository's engine, not only pycaffe's interface.
"""

from collections.abc import Mapping
from pathlib import Path

import caffe
import numpy as np
from caffe.blob import Blob
from caffe.layer import param_count
from caffe.proto import caffe_pb2, upgrade
from caffe.weights import read_weights, write_weights
from google.protobuf import text_format

from deep_retrieval import store
from deep_retrieval.model import check_weights_file

FREEZABLE = ('Convolution', 'BatchNorm', 'Scale')
SIZES = ('num_output', 'kernel_size', 'kernel_h', 'kernel_w', 'group', 'input_dim',
         'channel_shared', 'shape')

Weights = dict[str, list[np.ndarray]]


def read_net(path: str) -> caffe_pb2.NetParameter:
    """Read a prototxt; layers of older Caffe versions are upgraded.

    Raises
    ------
    RuntimeError, ValueError
        The file cannot be read or is not a net. The message names file, line and column.
    """
    with store.reading(path, 'a net'):
        return upgrade.read_net(str(path))


def write_net(path: str, net: caffe_pb2.NetParameter, author: str = 'model_tools.py') -> None:
    """Write a net as a prototxt whose first line names the author."""
    store.write(path, f'# written by {author}\n{text_format.MessageToString(net)}')


def load_weights(path: str) -> Weights:
    """Read the layers with parameters of a caffemodel.

    Raises
    ------
    RuntimeError, ValueError
        The file cannot be read or is not a caffemodel.
    """
    check_weights_file(path)
    with store.reading(path, 'a caffemodel'):
        return {name: arrays for name, arrays in read_weights(str(path)) if arrays}


def save_weights(path: str, net: caffe_pb2.NetParameter, weights: Mapping) -> None:
    """Write a caffemodel with the weights of the net's layers.

    Missing parent folders are created.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_weights(str(path), net.name,
                  [(layer, [_blob(array) for array in weights[layer.name]])
                   for layer in net.layer if layer.name in weights])


def _blob(array):
    blob = Blob(array.shape)
    blob.data[...] = array
    return blob


def copy_net(net: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """Return a deep copy of a net."""
    copy = caffe_pb2.NetParameter()
    copy.CopyFrom(net)
    return copy


def build(net: caffe_pb2.NetParameter, weights: Mapping | None = None,
          file: str = 'the net') -> caffe.Net:
    """Return the caffe.Net of a NetParameter in the TEST phase, filled with `weights`.

    Parameters
    ----------
    net : NetParameter
    weights : dict of str to list of ndarray, optional
    file : name of the net in messages

    Raises
    ------
    ValueError
        The net has no such layer, or an array does not have its parameter's shape.
    """
    built = caffe.Net.from_param(net, caffe.TEST, file=str(file))
    for name, arrays in (weights or {}).items():
        shapes = [tuple(blob.shape) for blob in built.params.get(name, ())]
        if [array.shape for array in arrays] != shapes:
            raise ValueError(f'layer {name!r}: the net needs parameters of the shapes {shapes}, '
                             f'not {[array.shape for array in arrays]}')
        for blob, array in zip(built.params[name], arrays, strict=True):
            blob.data[...] = array
    return built


def load_net(proto: str, weights: str | None = None) -> caffe.Net:
    """Return the caffe.Net of a prototxt in the TEST phase, with the weights of a caffemodel.

    Raises
    ------
    RuntimeError, ValueError, OSError
        A file cannot be read, or the two do not match. The message names the file.
    """
    try:
        net = caffe.Net(str(proto), caffe.TEST)
    except ValueError as error:     # from a Python layer's `setup`, which does not name the net
        raise ValueError(f'{proto}: {error}') from error
    if weights is not None:
        check_weights_file(weights)
        with store.reading(weights, 'a caffemodel'):
            net.copy_from(str(weights))
    return net


def find_layer(net: caffe_pb2.NetParameter, name: str) -> int:
    """Return the index of the layer `name`; ValueError if there is none."""
    for index, layer in enumerate(net.layer):
        if layer.name == name:
            return index
    raise ValueError(f'the net {net.name!r} has no layer {name!r}')


def compare(net: caffe_pb2.NetParameter, other: caffe_pb2.NetParameter) -> dict[str, list[str]]:
    """Return the layers with parameters in which two nets differ.

    Returns
    -------
    dict of str to list of str
        Names of layers: `missing` has those that only `net` has, `additional` those that only
        `other` has, and `different` those that differ in type, number of parameters, or a field
        that the parameters' shapes depend on.
    """
    mine, theirs = _signatures(net), _signatures(other)
    return {'missing': [name for name in mine if name not in theirs],
            'additional': [name for name in theirs if name not in mine],
            'different': [name for name in mine if mine[name] != theirs.get(name, mine[name])]}


def _signatures(net):
    """Return, for each layer with parameters, {name: what their shapes depend on}."""
    return {layer.name: (layer.type, param_count(layer), *_sizes(layer))
            for layer in net.layer if param_count(layer)}


def _sizes(layer):
    """Return the fields of a layer's *_param messages that its parameters' shapes depend on."""
    for descriptor, param in layer.ListFields():
        if descriptor.name.endswith('_param'):
            yield from ((field, str(getattr(param, field))) for field in SIZES
                        if field in param.DESCRIPTOR.fields_by_name)


def strip(net: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """Return the net without any `param`: all layers learn at the base rate, none share weights."""
    net = copy_net(net)
    for layer in net.layer:
        del layer.param[:]
    return net


def freeze(net: caffe_pb2.NetParameter, first: str | None = None,
           last: str | None = None) -> caffe_pb2.NetParameter:
    """Return the net with lr_mult and decay_mult set to 0 in a range of FREEZABLE layers.

    Names of shared parameters are kept.

    Parameters
    ----------
    net : NetParameter
    first, last : names of layers, both included; by default the net's first and last

    Raises
    ------
    ValueError
        The net has no such layer, or `last` comes before `first`.
    """
    net = copy_net(net)
    begin = 0 if first is None else find_layer(net, first)
    end = len(net.layer) - 1 if last is None else find_layer(net, last)
    if end < begin:
        raise ValueError(f'layer {last!r} comes before {first!r}')
    for layer in net.layer[begin:end + 1]:
        if layer.type in FREEZABLE:
            for index in range(param_count(layer)):
                spec = layer.param[index] if index < len(layer.param) else layer.param.add()
                spec.lr_mult = spec.decay_mult = 0
    return net
