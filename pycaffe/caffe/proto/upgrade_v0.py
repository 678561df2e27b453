"""Upgrade nets of the oldest format, V0, `layers { layer { name type ... } bottom top }`, to V1."""

from ..errors import CaffeError
from . import caffe_pb2

V1 = caffe_pb2.V1LayerParameter

# V0 type -> V1 type; the others are only capitalized
TYPES = {'conv': 'CONVOLUTION', 'images': 'IMAGE_DATA', 'innerproduct': 'INNER_PRODUCT',
         'pool': 'POOLING',
         **{name: name.upper() for name in (
             'accuracy bnll concat data dropout euclidean_loss flatten hdf5_data hdf5_output '
             'im2col infogain_loss lrn multinomial_logistic_loss relu sigmoid softmax '
             'softmax_loss split tanh window_data').split()}}

# V0 type -> its message in V1, and the V0 fields that move there
FIELDS = {
    'conv': ('convolution_param',
             'num_output biasterm weight_filler bias_filler pad kernelsize group stride'),
    'innerproduct': ('inner_product_param', 'num_output biasterm weight_filler bias_filler'),
    'pool': ('pooling_param', 'pad kernelsize stride pool'),
    'dropout': ('dropout_param', 'dropout_ratio'),
    'lrn': ('lrn_param', 'local_size alpha beta k'),
    'concat': ('concat_param', 'concat_dim'),
    'infogain_loss': ('infogain_loss_param', 'source'),
    'data': ('data_param', 'source batchsize rand_skip'),
    'hdf5_data': ('hdf5_data_param', 'source batchsize'),
    'images': ('image_data_param',
               'source batchsize rand_skip shuffle_images new_height new_width'),
    'window_data': ('window_data_param',
                    'source batchsize det_fg_threshold det_bg_threshold det_fg_fraction '
                    'det_context_pad det_crop_mode'),
}

RENAMED = {'biasterm': 'bias_term', 'kernelsize': 'kernel_size', 'batchsize': 'batch_size',
           'meanfile': 'mean_file', 'cropsize': 'crop_size', 'shuffle_images': 'shuffle',
           'det_fg_threshold': 'fg_threshold', 'det_bg_threshold': 'bg_threshold',
           'det_fg_fraction': 'fg_fraction', 'det_context_pad': 'context_pad',
           'det_crop_mode': 'crop_mode'}

KEPT = ('name', 'blobs', 'blobs_lr', 'weight_decay')            # of any type
TRANSFORMATIONS = ('scale', 'meanfile', 'cropsize', 'mirror')   # of any type too
DROPPED = ('new_num', 'new_channels')                           # of a type that no longer exists

NET_FIELDS = ('name', 'layers', 'input', 'input_dim', 'force_backward')


def upgrade_v0(net):
    """Turn the V0 layers of a NetParameter into V1 layers, in place.

    Raises CaffeError naming layer and field if V1 has no equivalent. Fields of the net that V0 did
    not have are dropped, as in Caffe.
    """
    for index, layer in enumerate(net.layers):
        if not layer.HasField('layer'):
            raise CaffeError(f'layer {layer.name or index!r} has no `layer {{ }}`, but other '
                             '`layers` have one; write all of them as `layer`')
    layers = [_upgrade_layer(layer) for layer in _merge_padding(net)]
    for field, _ in net.ListFields():
        if field.name not in NET_FIELDS:
            net.ClearField(field.name)
    del net.layers[:]
    net.layers.extend(layers)


def _merge_padding(net):
    """Return the layers with each padding layer merged into the `pad` of the layers reading it."""
    makers = dict.fromkeys(net.input)       # blob name -> the layer that wrote it last
    merged = []
    for old in net.layers:
        layer = V1()
        layer.CopyFrom(old)
        name, type_ = old.layer.name, old.layer.type
        for index, bottom in enumerate(old.bottom):
            if bottom not in makers:
                raise CaffeError(f'layer {name!r}: no earlier layer produces its bottom '
                                 f'{bottom!r}')
            padding = makers[bottom]
            if padding is None or padding.layer.type != 'padding':
                continue
            if type_ not in ('conv', 'pool') or len(old.bottom) != 1:
                raise CaffeError(f'layer {name!r} ({type_}) reads the padding layer '
                                 f'{padding.layer.name!r}: only a conv or pool with one bottom can')
            if len(padding.bottom) != 1 or len(padding.top) != 1:
                raise CaffeError(f'padding layer {padding.layer.name!r} has {len(padding.bottom)} '
                                 f'bottoms and {len(padding.top)} tops, but must have one each')
            layer.layer.pad = padding.layer.pad
            layer.bottom[index] = padding.bottom[0]
        makers.update((top, old) for top in old.top)
        if type_ != 'padding':
            merged.append(layer)
    return merged


def _upgrade_layer(connection):
    old = connection.layer
    new = V1(bottom=connection.bottom, top=connection.top)
    if old.HasField('type'):
        if old.type not in TYPES:
            raise CaffeError(f'layer {old.name!r}: type {old.type!r} does not exist in V0; '
                             f'known types: {", ".join(sorted(TYPES))}')
        new.type = V1.LayerType.Value(TYPES[old.type])
    message, fields = FIELDS.get(old.type, ('', ''))
    for field, value in old.ListFields():
        name = RENAMED.get(field.name, field.name)
        if field.name in KEPT:
            new.MergeFrom(V1(**{name: value}))
        elif field.name in TRANSFORMATIONS:
            setattr(new.transform_param, name, value)
        elif field.name in fields.split():
            _put(getattr(new, message), name, value)
        elif field.name == old.type + '_param':     # hdf5_output's is a message already
            _put(new, name, value)
        elif field.name != 'type' and field.name not in DROPPED:
            raise CaffeError(f'layer {old.name!r} ({old.type}): has no field {field.name}; '
                             'delete it')
    return new


def _put(message, name, value):
    repeated = hasattr(getattr(message, name), 'append')    # some V1 fields have a value per axis
    message.MergeFrom(type(message)(**{name: [value] if repeated else value}))
