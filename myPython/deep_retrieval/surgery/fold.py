"""Fold BatchNorm and Scale into the convolutions before them: a smaller net, the same outputs.

    net, weights, gone = fold('proto/deploy_resnet101.prototxt', 'caffemodel/model.caffemodel')
"""

import caffe
from caffe.layer import param_count
from caffe.proto import caffe_pb2
from caffe.proto.filter import filter_layers
from caffe.runtime import fusion

from deep_retrieval.surgery.nets import Weights, load_net, load_weights, read_net


def fold(proto: str, weights: str) -> tuple[caffe_pb2.NetParameter, Weights, list[str]]:
    """Return a net for testing without the BatchNorm and Scale layers that can be folded.

    These are layers that follow their convolution in place and have fixed statistics.

    Parameters
    ----------
    proto, weights : paths

    Returns
    -------
    net : NetParameter
    weights : dict of str to list of ndarray
    gone : names of the layers that were folded

    Raises
    ------
    ValueError, RuntimeError
        A file cannot be read, or the caffemodel lacks layers of the net.
    """
    stored = load_weights(weights)
    built = load_net(proto, weights)
    missing = sorted(set(built.params) - set(stored))
    if missing:
        raise ValueError(f'{weights}: lacks the weights of {", ".join(missing[:5])}')
    net = read_net(proto)
    arrays, gone = _folded(built)
    folded = caffe_pb2.NetParameter(name=net.name)
    for layer in filter_layers(net, caffe.TEST, 0, ()):
        if layer.name not in gone:
            folded.layer.append(_adapted(layer, arrays))
    return folded, {name: value for name, value in arrays.items() if name not in gone}, (
        [name for name in built.layer_dict if name in gone])


def _folded(built):
    """Return the parameters of all layers after folding, and the names of the removed layers."""
    arrays = {name: [blob.data for blob in blobs] for name, blobs in built.params.items()}
    names = list(built.layer_dict)
    blobs = [[[built.blobs[blob] for blob in of[name]] for name in names]
             for of in (built.bottom_names, built.top_names)]
    gone = set()
    for chain in fusion.find_chains(list(built.layers), *blobs).values():
        if chain.affine:
            arrays[names[chain.first]] = [tensor.cpu().contiguous().numpy()
                                          for tensor in fusion.fold(chain.head, chain.affine)]
            gone.update(names[chain.first + 1:chain.first + 1 + len(chain.affine)])
    return arrays, gone


def _adapted(layer, arrays):
    """Copy a layer for the folded net."""
    copy = caffe_pb2.LayerParameter()
    copy.CopyFrom(layer)
    for field in ('include', 'exclude'):
        copy.ClearField(field)
    if layer.name in arrays and len(arrays[layer.name]) != param_count(layer):
        copy.convolution_param.bias_term = True
    if layer.type == 'Convolution':
        copy.ClearField('param')    # copies that shared parameters may be folded differently
    return copy
