"""Nets made of three copies of a deploy net: the three-resolution teacher, and the triplet net.

    teacher = make_teacher(read_net('proto/deploy_resnet101.prototxt'))
    weights = branch_weights(teacher, load_weights('caffemodel/model.caffemodel'))

The names of a copy's layers and blobs have a prefix. Copies share parameters, whose names have no
prefix.
"""

from collections.abc import Sequence

from caffe.layer import param_count
from caffe.proto import caffe_pb2

from deep_retrieval.images import MEAN
from deep_retrieval.surgery.nets import Weights, copy_net

TEACHER = ('l_', 'm_', 'h_')        # low, middle and high resolution
TRIPLET = ('', 'p_', 'n_')          # anchor, positive, negative
INPUTS = ('data', 'rois')
SUM = 'rmac/eltwise'                # sum of the teacher's three descriptors
SUFFIXES = {'Convolution': 'wb'}    # of the names of shared parameters; '123' for other types
MEAN_TEXT = [round(float(value), 8) for value in MEAN]    # float32 would print more digits

# layer type -> (lr_mult, decay_mult) of its parameters if it learns: biases learn twice as fast; a
# Scale before a projection only subtracts the mean, so its factor is fixed
LEARNING = {'Scale': ((0, 0), (2, 1)), None: ((1, 1), (2, 1))}


def make_teacher(net: caffe_pb2.NetParameter, height: int = 384, width: int = 512
                 ) -> caffe_pb2.NetParameter:
    """Return a net that sums the descriptors of a deploy net at three resolutions.

    No layer learns. The copies share trunk and centring; each has its own InnerProducts, as in the
    original's teacher.

    Parameters
    ----------
    net : NetParameter
        A deploy net with the inputs `data` and `rois` that ends in a normalized descriptor.
    height, width : int
        The middle resolution in pixels; the others are 0.5 and 1.5 times as large.
    """
    layers, end = _body(net)
    teacher = caffe_pb2.NetParameter(name=net.name)
    teacher.layer.append(_input('data', (1, 3, height, width)))
    for prefix, size in zip(TEACHER, (1, 2, 3), strict=True):
        teacher.layer.append(_python('ResizeLayer', f'{prefix}resize', ['data'],
                                     h=height * size // 2, w=width * size // 2, mean=MEAN_TEXT))
    for prefix in TEACHER:
        teacher.layer.append(_python('RigidGridLayer', f'{prefix}rois', [f'{prefix}resize'],
                                     dataset='other'))
    for prefix in TEACHER:
        for layer in layers:
            copy = teacher.layer.add()
            copy.CopyFrom(_prefixed(layer, prefix, {'data': f'{prefix}resize'}))
            _share(copy, layer.name, named=layer.type != 'InnerProduct')
    teacher.layer.append(caffe_pb2.LayerParameter(
        name=SUM, type='Eltwise', bottom=[prefix + end for prefix in TEACHER], top=[SUM]))
    last = teacher.layer.add()
    last.CopyFrom(layers[-1])
    last.name, last.bottom[:], last.top[:] = f'{SUM}/normalized', [SUM], [f'{SUM}/normalized']
    return teacher


def make_triplet(net: caffe_pb2.NetParameter, cls_dir: str = 'datasets/Paris/triplet/',
                 batch_size: int = 2, margin: float = 1, learn: Sequence[str] = ()
                 ) -> caffe_pb2.NetParameter:
    """Return three copies of a deploy net, for anchor, positive and negative, and a TripletLoss.

    The copies share all parameters, which have lr_mult 0 except in the layers `learn`.

    Parameters
    ----------
    net : NetParameter
        A deploy net, see `make_teacher`.
    cls_dir : folder with one folder of images per class
    batch_size : triplets per training batch; test batches have 1
    margin : margin between the squared distances of the negative and the positive
    learn : names of the layers that learn
    """
    layers, end = _body(net)
    unknown = set(learn) - {layer.name for layer in layers if param_count(layer)}
    if unknown:
        raise ValueError(f'the net has no layers with parameters {sorted(unknown)}')
    triplet = caffe_pb2.NetParameter(name=net.name)
    for phase, size in ((caffe_pb2.TRAIN, batch_size), (caffe_pb2.TEST, 1)):
        data = _python('TripletDataLayer', 'data', [], batch_size=size, cls_dir=cls_dir,
                       mean=MEAN_TEXT)
        data.top[:] = [f'{prefix}data' for prefix in TRIPLET]
        data.include.add().phase = phase
        triplet.layer.append(data)
    # `other` uses the images' size; the original used the grid of 384 x 512 for all images
    triplet.layer.append(_python('RigidGridLayer', 'rois', ['data'], dataset='other'))
    for prefix in TRIPLET:
        for layer in layers:
            copy = triplet.layer.add()
            copy.CopyFrom(_prefixed(layer, prefix, {'rois': 'rois'}))
            _share(copy, layer.name, learns=layer.name in learn)
    loss = triplet.layer.add(name='loss', type='TripletLoss', top=['loss'],
                             bottom=[prefix + end for prefix in TRIPLET])
    loss.triplet_loss_param.margin = margin
    return triplet


def branch_weights(net: caffe_pb2.NetParameter, weights: Weights) -> Weights:
    """Return weights for a net of copies: those of each layer's name, with or without the prefix.

    Raises
    ------
    ValueError
        A layer with parameters has no weights.
    """
    found = {}
    for layer in net.layer:
        if not param_count(layer):
            continue
        names = [layer.name] + [layer.name[len(prefix):] for prefix in TEACHER + TRIPLET
                                if prefix and layer.name.startswith(prefix)]
        name = next((name for name in names if name in weights), None)
        if name is None:
            raise ValueError(f'there are no weights for layer {layer.name!r}')
        found[layer.name] = weights[name]
    return found


def _body(net):
    """Return the layers of a deploy net after its inputs, and its last blob."""
    layers = [layer for layer in copy_net(net).layer if layer.type != 'Input']
    inputs = {top for layer in net.layer if layer.type == 'Input' for top in layer.top}
    if inputs != set(INPUTS) or any(not layer.bottom for layer in layers):
        raise ValueError(f'the net {net.name!r} is not a deploy net with the inputs data and rois')
    last = layers[-1]
    if last.type != 'Normalize' and last.python_param.layer != 'NormalizeLayer':
        raise ValueError(f'the net {net.name!r} does not end in a normalized descriptor')
    return layers, last.top[0]


def _prefixed(layer, prefix, renamed):
    """Copy a layer, with `prefix` before all names except for the blobs in `renamed`."""
    copy = caffe_pb2.LayerParameter()
    copy.CopyFrom(layer)
    copy.name = prefix + layer.name
    for blobs in (copy.bottom, copy.top):
        blobs[:] = [renamed.get(blob, prefix + blob) for blob in blobs]
    return copy


def _share(layer, name, named=True, learns=False):
    """Name the parameters of a copy of layer `name`, and set whether they learn."""
    rates = LEARNING.get(layer.type, LEARNING[None])
    del layer.param[:]
    for index in range(param_count(layer)):
        spec = layer.param.add()
        if named:
            spec.name = f'{name}_{SUFFIXES.get(layer.type, "123")[index]}'
        spec.lr_mult, spec.decay_mult = rates[index] if learns else (0, 0)


def _input(name, shape):
    layer = caffe_pb2.LayerParameter(name=name, type='Input', top=[name])
    layer.input_param.shape.add(dim=shape)
    return layer


def _python(kind, name, bottoms, **param_str):
    layer = caffe_pb2.LayerParameter(name=name, type='Python', bottom=bottoms, top=[name])
    layer.python_param.module, layer.python_param.layer = 'custom_layers', kind
    layer.python_param.param_str = str(param_str)
    return layer
