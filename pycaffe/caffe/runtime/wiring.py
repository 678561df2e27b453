"""Create and connect the layers of a net, as Net::Init of net.cpp does."""

from collections import OrderedDict
from dataclasses import dataclass

from ..blob import Blob
from ..errors import CaffeError
from ..files import naming
from ..layer import create_layer
from ..proto.splits import insert_splits
from .propagation import param_specs, plan_backward

AUTOMATIC = '(automatic)'       # the name of a loss's top if the prototxt gives none


@dataclass
class LearnableParam:
    """A parameter of a net with its multipliers; layers that share it have a single one."""
    blob: Blob
    lr_mult: float
    decay_mult: float
    has_lr: bool        # whether the prototxt gives lr_mult
    has_decay: bool


class Wiring:
    """Layers, blobs and parameters of a filtered net, in the order of the prototxt.

    layers, layer_params : Layer and LayerParameter of each layer
    bottoms, tops : list of Blob for each layer; bottom_names, top_names : their names
    blobs : name -> Blob; inputs, outputs : names
    params : layer name -> list of Blob; learnable : list of LearnableParam
    """

    def __init__(self, layer_params, phase, force_backward):
        self.layers, self.layer_params = [], insert_splits(layer_params)
        self.bottoms, self.tops, self.bottom_names, self.top_names = [], [], [], []
        self.blobs, self.params, self.inputs = OrderedDict(), OrderedDict(), []
        self.learnable = []
        self._owners = {}       # parameter name -> its LearnableParam
        unread = set()
        for param in self.layer_params:
            if not param.HasField('phase'):
                param.phase = phase
            with naming(f'layer {param.name!r} ({param.type})'):
                self._append(param)
            unread = (unread - set(param.bottom)) | set(param.top)
        self.outputs = sorted(unread)       # sorted as in Caffe's std::set
        plan_backward(self.layers, self.layer_params, self.bottom_names, self.top_names,
                      force_backward)

    def _append(self, param):
        layer = create_layer(param, param.phase)
        names = list(param.top)
        if layer.is_loss:
            names += [AUTOMATIC] * (layer.top_count[0] - len(names))
        self._check_names(param)
        bottom = [self.blobs[name] for name in param.bottom]
        top = [self.blobs[name] if name in param.bottom else Blob() for name in names]
        self.blobs.update(zip(names, top, strict=True))
        _check_count('bottoms', len(bottom), layer.bottom_count)
        _check_count('tops', len(top), layer.top_count)
        layer.setup(bottom, top)
        layer.reshape(bottom, top)
        layer.loss_weights = _loss_weights(param, layer, len(top))
        self._collect_params(param, layer)
        self.layers.append(layer)
        self.bottoms.append(bottom)
        self.tops.append(top)
        self.bottom_names.append(list(param.bottom))
        self.top_names.append(names)
        if layer.blobs:
            self.params[param.name] = layer.blobs
        if param.type == 'Input':
            self.inputs += param.top

    def _check_names(self, param):
        for name in param.top:
            if name in self.blobs and name not in param.bottom:
                raise CaffeError(f'its top {name!r} is made by an earlier layer too')
        if len(set(param.top)) < len(param.top):
            raise CaffeError('two of its tops have the same name')

    def _collect_params(self, param, layer):
        """Collect the learnable parameters; those of the same name share the first one's memory."""
        if len(param.param) > len(layer.blobs):
            raise CaffeError(f'has {len(layer.blobs)} parameters, but {len(param.param)} `param`')
        specs = param_specs(layer, param)
        for index, (spec, blob) in enumerate(zip(specs, layer.blobs, strict=True)):
            if spec.name in self._owners:
                self._share(index, spec, blob)
                continue
            learnable = LearnableParam(blob, spec.lr_mult, spec.decay_mult,
                                       spec.HasField('lr_mult'), spec.HasField('decay_mult'))
            self.learnable.append(learnable)
            if spec.name:
                self._owners[spec.name] = learnable

    def _share(self, index, spec, blob):
        owner = self._owners[spec.name]
        permissive = spec.share_mode == spec.PERMISSIVE and owner.blob.count == blob.count
        if owner.blob.shape != blob.shape and not permissive:
            raise CaffeError(f'parameter {index}, shared as {spec.name!r}, has the shape '
                             f'{blob.shape}, but its owner {owner.blob.shape}')
        blob.share_data(owner.blob)
        blob.share_diff(owner.blob)
        for field, given in (('lr_mult', 'has_lr'), ('decay_mult', 'has_decay')):
            if not spec.HasField(field):
                continue
            if getattr(owner, given) and getattr(owner, field) != getattr(spec, field):
                raise CaffeError(f'parameter {index}, shared as {spec.name!r}, has the {field} '
                                 f'{getattr(spec, field):g}, but its owner '
                                 f'{getattr(owner, field):g}')
            setattr(owner, field, getattr(spec, field))
            setattr(owner, given, True)


def _loss_weights(param, layer, count):
    """Return the weight of each top in the objective; by default 1 for the first top of a loss."""
    weights = list(param.loss_weight)
    if weights and len(weights) != count:
        raise CaffeError(f'loss_weight is given {len(weights)} times for {count} tops')
    return weights or [float(layer.is_loss)] * min(count, 1) + [0.0] * (count - 1)


def _check_count(what, count, limits):
    least, most = limits
    if count < least or (most is not None and count > most):
        wanted = (f'{least}' if least == most else f'{least} or more' if most is None
                  else f'{least} to {most}')
        raise CaffeError(f'has {count} {what}, but takes {wanted}')
