"""Operations on a net's structure (a NetParameter) and on its weights.

    net = surgery.read_net('proto/deploy_resnet101.prototxt')
    weights = surgery.load_weights('caffemodel/model.caffemodel')
    net, weights = surgery.clip(net, weights, 'pooled_rois/pca', 512)

Weights are a dict, layer name -> list of float32 arrays. Nets and weights that are passed in stay
as they are. This needs the engine of this repository, not only pycaffe's interface.
"""

import caffe
import numpy as np
from caffe.blob import Blob
from caffe.layer import param_count
from caffe.proto import caffe_pb2
from caffe.proto.filter import filter_layers
from caffe.proto.upgrade import read_net
from caffe.runtime import fusion
from caffe.weights import read_weights, write_weights
from google.protobuf import text_format

from deep_retrieval.files import write_aside

FREEZABLE = ('Convolution', 'BatchNorm', 'Scale')


def write_net(path, net, author='model_tools.py'):
    """Write a NetParameter as a prototxt whose first line names the author."""
    text = f'# written by {author}\n{text_format.MessageToString(net)}'
    write_aside(path, lambda file: file.write(text.encode()))


def load_weights(path):
    """The weights in a .caffemodel, of the layers that have any."""
    return {name: arrays for name, arrays in read_weights(str(path)) if arrays}


def save_weights(path, net, weights):
    """Write the weights of those of the net's layers that have any as a .caffemodel."""
    write_weights(str(path), net.name,
                  [(layer, [_blob(array) for array in weights[layer.name]])
                   for layer in net.layer if layer.name in weights])


def _blob(array):
    blob = Blob(array.shape)
    blob.data[...] = array
    return blob


def copy_net(net):
    """A NetParameter that can be changed without changing `net`."""
    copy = caffe_pb2.NetParameter()
    copy.CopyFrom(net)
    return copy


def build(net, weights=None, file='the net'):
    """The caffe.Net of a NetParameter, for testing; `weights` fill all that they name.

    ValueError where an array does not have its parameter's shape.
    """
    built = caffe.Net.from_param(net, caffe.TEST, file=str(file))
    for name, arrays in (weights or {}).items():
        shapes = [tuple(blob.shape) for blob in built.params.get(name, ())]
        if [array.shape for array in arrays] != shapes:
            raise ValueError(f'layer {name!r}: the net takes parameters of the shapes {shapes}, '
                             f'not {[array.shape for array in arrays]}')
        for blob, array in zip(built.params[name], arrays):
            blob.data[...] = array
    return built


def find_layer(net, name):
    """Index of the layer `name`."""
    for index, layer in enumerate(net.layer):
        if layer.name == name:
            return index
    raise ValueError(f'the net {net.name!r} has no layer {name!r}')


# Comparing, and learning rates

def compare(net, other):
    """The layers with parameters in which two nets differ.

    Returns a dict of lists of names: `missing` ones only `net` has, `additional` ones only
    `other`, `different` ones differ in type, number of outputs, kernel or number of parameters.
    """
    mine, theirs = _signatures(net), _signatures(other)
    return {'missing': [name for name in mine if name not in theirs],
            'additional': [name for name in theirs if name not in mine],
            'different': [name for name in mine if mine[name] != theirs.get(name, mine[name])]}


def _signatures(net):
    return {layer.name: (layer.type, param_count(layer), layer.convolution_param.num_output,
                         layer.recurrent_param.num_output, layer.embed_param.num_output,
                         list(layer.convolution_param.kernel_size),
                         layer.inner_product_param.num_output)
            for layer in net.layer if param_count(layer)}


def strip(net):
    """The net without any `param`: all of it learns at the solver's rate, nothing is shared."""
    net = copy_net(net)
    for layer in net.layer:
        del layer.param[:]
    return net


def freeze(net, first=None, last=None):
    """The net with lr_mult and decay_mult 0 in FREEZABLE layers from `first` to `last`.

    Names of layers, both included; None is the net's first or last. Names of shared parameters
    are kept.
    """
    net = copy_net(net)
    begin = 0 if first is None else find_layer(net, first)
    end = len(net.layer) - 1 if last is None else find_layer(net, last)
    if end < begin:
        raise ValueError(f'layer {last!r} stands before {first!r}')
    for layer in net.layer[begin:end + 1]:
        if layer.type in FREEZABLE:
            for index in range(param_count(layer)):
                spec = layer.param[index] if index < len(layer.param) else layer.param.add()
                spec.lr_mult = spec.decay_mult = 0
    return net


# Changing weights

def clip(net, weights, name, dim, new_name=None, rows=None, mix=None):
    """The net and weights with `dim` of the outputs of the InnerProduct `name`.

    rows : indices of the outputs to keep, default the first `dim`
    mix : dim x N; the new outputs are these mixtures of all N instead
    new_name : of the layer and its blob, default NAME_DIM
    """
    net = copy_net(net)
    index = find_layer(net, name)
    layer = net.layer[index]
    if layer.type != 'InnerProduct' or name not in weights:
        raise ValueError(f'layer {name!r} is no InnerProduct with weights')
    new_name = new_name or f'{name}_{dim}'
    if any(other.name == new_name for other in net.layer if other is not layer):
        raise ValueError(f'the net has a layer {new_name!r} already')
    transpose = layer.inner_product_param.transpose
    arrays = (clip_rows(weights[name], dim, rows, transpose) if mix is None
              else mix_rows(weights[name], mix, transpose))
    _narrow_readers(net, index, dim)
    layer.inner_product_param.num_output = dim
    layer.name = new_name
    for reader in net.layer[index:]:
        for blobs in (reader.bottom, reader.top):
            blobs[:] = [new_name if blob == name else blob for blob in blobs]
    return net, {new_name if key == name else key: arrays if key == name else value
                 for key, value in weights.items()}


def clip_rows(arrays, dim, rows=None, transpose=False):
    """`dim` outputs of an InnerProduct's weights, which are N x K (K x N if `transpose`), and N."""
    outputs = arrays[0].shape[1 if transpose else 0]
    rows = np.arange(dim) if rows is None else np.asarray(rows)
    if rows.ndim != 1 or rows.dtype.kind not in 'iu':
        raise ValueError('rows must be a list of integers')
    if len(rows) != dim or dim > outputs:
        raise ValueError(f'{dim} outputs are wanted, there are {min(len(rows), outputs)}')
    if rows.min() < 0 or rows.max() >= outputs:
        raise ValueError(f'rows must be from 0 to {outputs - 1}')
    return [np.take(array, rows, axis=1 if transpose and array.ndim == 2 else 0)
            for array in arrays]


def mix_rows(arrays, mix, transpose=False):
    """Mixtures (M x N) of the N outputs of an InnerProduct's weights, laid out as clip_rows has."""
    outputs = arrays[0].shape[1 if transpose else 0]
    if mix.shape[1] != outputs:
        raise ValueError(f'the mixtures are of {mix.shape[1]} outputs, there are {outputs}')
    return [array @ mix.T if transpose and array.ndim == 2 else mix @ array for array in arrays]


def _narrow_readers(net, index, dim):
    """Bring the Reshapes behind a layer to `dim` channels; parameters behind it would not fit."""
    narrow = set(net.layer[index].top)
    for layer in net.layer[index + 1:]:
        if not narrow.intersection(layer.bottom):
            continue
        if param_count(layer):
            raise ValueError(f'layer {layer.name!r} reads what is to be clipped, and its '
                             'parameters would not fit')
        dims = layer.reshape_param.shape.dim
        if layer.type == 'Reshape' and len(dims) > 1 and dims[1] > 0:
            dims[1] = dim
        narrow.update(layer.top)


def fold(proto, weights):
    """The net of these files for testing, BatchNorm and Scale folded into the convolutions.

    Only what follows its convolution in place and has fixed statistics can be folded. Returns
    (net, weights, names of the layers that are gone).
    """
    built = caffe.Net(str(proto), str(weights), caffe.TEST)
    missing = sorted(set(built.params) - set(load_weights(weights)))
    if missing:
        raise ValueError(f'{weights}: lacks the weights of {", ".join(missing[:5])}')
    net = read_net(str(proto))
    kept = filter_layers(net, caffe.TEST, 0, ())
    arrays = {name: [blob.data for blob in blobs] for name, blobs in built.params.items()}
    names = list(built.layer_dict)
    blobs = [[[built.blobs[blob] for blob in of[name]] for name in names]
             for of in (built.bottom_names, built.top_names)]
    gone = set()
    for chain in fusion.find_chains(list(built.layers), *blobs).values():
        if chain.affine:
            head = names[chain.first]
            arrays[head] = [tensor.cpu().contiguous().numpy()
                            for tensor in fusion.fold(chain.head, chain.affine)]
            gone.update(names[chain.first + 1:chain.first + 1 + len(chain.affine)])
    folded = caffe_pb2.NetParameter(name=net.name)
    for layer in kept:
        if layer.name not in gone:
            copy = folded.layer.add()
            copy.CopyFrom(layer)
            for field in ('include', 'exclude'):
                copy.ClearField(field)
            if layer.name in arrays and len(arrays[layer.name]) != param_count(layer):
                copy.convolution_param.bias_term = True
            if layer.type == 'Convolution':
                copy.ClearField('param')    # shared ones may have been folded differently
    return folded, {name: value for name, value in arrays.items() if name not in gone}, (
        [name for name in names if name in gone])
