"""Upgrade nets of the format V1, `layers { type: CONVOLUTION blobs_lr: 1 ... }`, to `layer`."""

from . import caffe_pb2

V1 = caffe_pb2.V1LayerParameter

# types that are not the V1 name in CamelCase
NAMES = {'NONE': '', 'ABSVAL': 'AbsVal', 'ARGMAX': 'ArgMax', 'BNLL': 'BNLL',
         'HDF5_DATA': 'HDF5Data', 'HDF5_OUTPUT': 'HDF5Output', 'IM2COL': 'Im2col', 'LRN': 'LRN',
         'MVN': 'MVN', 'RELU': 'ReLU', 'SOFTMAX_LOSS': 'SoftmaxWithLoss', 'TANH': 'TanH'}

# fields with one value per parameter blob -> the field of ParamSpec
SPECS = {'param': 'name', 'blob_share_mode': 'share_mode', 'blobs_lr': 'lr_mult',
         'weight_decay': 'decay_mult'}

# types whose own message had the fields that are now in transform_param
TRANSFORMED = {V1.DATA: 'data_param', V1.IMAGE_DATA: 'image_data_param',
               V1.WINDOW_DATA: 'window_data_param'}
TRANSFORMATIONS = ('scale', 'mean_file', 'crop_size', 'mirror')


def upgrade_v1(net):
    """Turn the `layers` of a NetParameter into `layer`, in place."""
    net.layer.extend(upgrade_layer(layer) for layer in net.layers)
    del net.layers[:]


def upgrade_layer(old):
    """Return the LayerParameter that is equivalent to a V1LayerParameter."""
    new = caffe_pb2.LayerParameter()
    for field, value in old.ListFields():
        if field.name == 'type':
            new.type = type_name(V1.LayerType.Name(value))
        elif field.name in SPECS:
            for _ in range(len(new.param), len(value)):
                new.param.add()
            for spec, item in zip(new.param, value, strict=False):      # the fields' lengths differ
                setattr(spec, SPECS[field.name], item)
        else:
            new.MergeFrom(caffe_pb2.LayerParameter(**{field.name: value}))
    return new


def type_name(number):
    """Return the current name of a V1 type: CONVOLUTION -> Convolution."""
    return NAMES.get(number, number.title().replace('_', ''))


def move_transformations(net):
    """Move the transformation fields of V1 data layers into their transform_param, in place.

    As in Caffe, all data layers get both messages if one of them needs it.
    """
    layers = [layer for layer in net.layers if layer.type in TRANSFORMED]
    if not any(getattr(layer, TRANSFORMED[layer.type]).HasField(name)
               for layer in layers for name in TRANSFORMATIONS):
        return
    for layer in layers:
        source, target = getattr(layer, TRANSFORMED[layer.type]), layer.transform_param
        source.SetInParent()
        target.SetInParent()
        for name in TRANSFORMATIONS:
            if source.HasField(name):
                setattr(target, name, getattr(source, name))
                source.ClearField(name)
