"""Net: a prototxt parsed, filtered by phase, wired, and run."""

import os
from collections import OrderedDict
from contextlib import contextmanager

import numpy as np
import torch

from .blob import Blob
from .common import TEST, TRAIN
from .errors import CaffeError
from .fusion import find_chains
from .layer import create_layer
from .proto.splits import insert_splits
from .proto.upgrade import read_net
from .weights import copy_weights, write_weights


class Net:
    """A net of layers, with pycaffe's interface.

    `Net(network_file, phase, level=0, stages=None, weights=None)`, or pycaffe's older
    `Net(network_file, weights, phase)`. Raises CaffeError naming the file, and the layer where it is
    one layer's fault.

    blobs : OrderedDict, name -> Blob
    params : OrderedDict, layer name -> list of Blob, for the layers that have any
    inputs, outputs : names of the blobs that nothing makes, and that nothing reads
    layers : list of Layer; `layer_dict` by name
    bottom_names, top_names : OrderedDict, layer name -> list of blob names
    """

    def __init__(self, network_file, *args, phase=None, level=0, stages=None, weights=None):
        if args and isinstance(args[0], (str, os.PathLike)):
            weights, *args = args
        phase, level, stages, weights = (
            *args, *(phase, level, stages, weights)[len(args):])
        if phase not in (TRAIN, TEST):
            raise CaffeError(f'{network_file}: phase must be caffe.TRAIN or caffe.TEST, not {phase!r}')
        self._file = os.fspath(network_file)
        param = read_net(self._file)
        self.name = param.name
        self.phase = phase
        try:
            self._build(filter_layers(param, phase, level, stages or ()))
        except CaffeError as error:
            raise CaffeError(f'{self._file}: {error}') from None
        self._chains = find_chains(self.layers, self._bottoms, self._tops)
        if weights is not None:
            self.copy_from(weights)

    def _build(self, layer_params):
        self.blobs, self.params, self.layer_dict = OrderedDict(), OrderedDict(), OrderedDict()
        self.bottom_names, self.top_names = OrderedDict(), OrderedDict()
        self.layers, self._layer_params = [], insert_splits(layer_params)
        self._bottoms, self._tops = [], []
        self.inputs, unread = [], []
        self._shared = {}       # parameter name -> (layer name, index) of the one who owns it
        for param in self._layer_params:
            if not param.HasField('phase'):
                param.phase = self.phase
            try:
                layer = self._append(param)
            except CaffeError as error:
                raise CaffeError(f'layer {param.name!r} ({param.type}): {error}') from None
            if param.type == 'Input':
                self.inputs += param.top
            unread = [name for name in unread if name not in param.bottom]
            unread += [name for name in param.top if name not in unread]
            self.layers.append(layer)
        self.outputs = sorted(unread)       # Caffe keeps them in a std::set

    def _append(self, param):
        for name in param.top:
            if name in self.blobs and name not in param.bottom:
                raise CaffeError(f'its top {name!r} is made by an earlier layer too')
            self.blobs.setdefault(name, Blob())
        if len(set(param.top)) < len(param.top):
            raise CaffeError('two of its tops have one name')
        bottom = [self.blobs[name] for name in param.bottom]
        top = [self.blobs[name] for name in param.top]
        layer = create_layer(param, param.phase)
        check_count('bottoms', len(bottom), layer.bottom_count)
        check_count('tops', len(top), layer.top_count)
        layer.setup(bottom, top)
        layer.reshape(bottom, top)
        self._share_params(param, layer)
        if layer.blobs:
            self.params[param.name] = layer.blobs
        self.layer_dict[param.name] = layer
        self.bottom_names[param.name] = list(param.bottom)
        self.top_names[param.name] = list(param.top)
        self._bottoms.append(bottom)
        self._tops.append(top)
        return layer

    def _share_params(self, param, layer):
        """Give parameters of one name one memory: the first layer's."""
        for index, (spec, blob) in enumerate(zip(param.param, layer.blobs)):
            if not spec.name:
                continue
            owner = self._shared.setdefault(spec.name, blob)
            permissive = spec.share_mode == spec.PERMISSIVE and owner.count == blob.count
            if owner.shape != blob.shape and not permissive:
                raise CaffeError(f'parameter {index}, shared as {spec.name!r}, has the shape '
                                 f'{blob.shape}, its owner {owner.shape}')
            if owner is not blob:
                blob.share(owner)

    def __repr__(self):
        return f'Net({self.name!r}, {len(self.layers)} layers, {self._file})'

    def forward(self, blobs=None, start=None, end=None, **kwargs):
        """Run the net and return its outputs.

        blobs : names of blobs to return besides the outputs
        start, end : names of the first and last layer to run, both included; with `end` that
            layer's tops are returned in place of the net's outputs
        kwargs : arrays for the net's inputs, by name; all of them or none
        Returns a dict, blob name -> array.
        """
        first = self._layer_index(start, 0)
        last = self._layer_index(end, len(self.layers) - 1)
        outputs = dict.fromkeys([*(self.top_names[end] if end is not None else self.outputs),
                                 *(blobs or ())])
        for name in outputs:
            if name not in self.blobs:
                raise CaffeError(f'{self._file}: there is no blob {name!r}')
        if kwargs:
            self._feed(kwargs)
        self._forward(first, last)
        return {name: self.blobs[name].data for name in outputs}

    def _layer_index(self, name, default):
        if name is None:
            return default
        names = list(self.layer_dict)
        if name not in names:
            raise ValueError(f'{self._file}: there is no layer {name!r}')
        return names.index(name)

    def _feed(self, arrays):
        if set(arrays) != set(self.inputs):
            raise CaffeError(f'{self._file}: forward is given {sorted(arrays)}, '
                             f'the inputs are {sorted(self.inputs)}')
        for name, array in arrays.items():
            blob = self.blobs[name]
            if len(array) != blob.shape[0]:
                raise CaffeError(f'{self._file}: input {name!r} is not batch sized: '
                                 f'{np.shape(array)} for {blob.shape}')
            blob.data[...] = array

    def _forward(self, first, last):
        mode = torch.inference_mode if self.phase == TEST else torch.no_grad
        with mode():
            index = first
            while index <= last:
                index = self._step(index, last)

    def _step(self, index, last):
        """Run layer `index`, or the chain that begins there; returns the next index."""
        chain = self._chains.get(index)
        stop = chain.last if chain and chain.last <= last else index
        for i in range(index, stop + 1):
            self._reshape_layer(i)
        runner = chain if stop > index else self.layers[index]
        with self._naming(index):
            runner.forward(self._bottoms[index], self._tops[index])
        return stop + 1

    def _reshape_layer(self, index):
        with self._naming(index):
            self.layers[index].reshape(self._bottoms[index], self._tops[index])

    @contextmanager
    def _naming(self, index):
        """Have a CaffeError name the file and layer `index`."""
        try:
            yield
        except CaffeError as error:
            param = self._layer_params[index]
            raise CaffeError(f'{self._file}: layer {param.name!r} ({param.type}): {error}') from None

    def reshape(self):
        """Bring every blob to the shape that follows from the inputs'."""
        for index in range(len(self.layers)):
            self._reshape_layer(index)

    def copy_from(self, weights):
        """Take the parameters of the layers that `weights`, a .caffemodel, has under their names."""
        copy_weights(os.fspath(weights), self.params)

    def save(self, path):
        """Write the parameters as a .caffemodel."""
        write_weights(os.fspath(path), self.name,
                      [(param, layer.blobs) for param, layer in zip(self._layer_params, self.layers)])


def check_count(what, count, limits):
    least, most = limits
    if count < least or (most is not None and count > most):
        wanted = (f'{least}' if least == most else f'{least} or more' if most is None
                  else f'{least} to {most}')
        raise CaffeError(f'has {count} {what}, takes {wanted}')


def filter_layers(net, phase, level, stages):
    """The layers of a NetParameter whose include and exclude rules fit this state."""
    state = (net.state.level if net.state.HasField('level') else level,
             {*net.state.stage, *stages})
    kept = []
    for layer in net.layer:
        if layer.include and layer.exclude:
            raise CaffeError(f'layer {layer.name!r} has include and exclude rules; one kind only')
        fits = [_rule_fits(rule, phase, *state) for rule in layer.include or layer.exclude]
        if any(fits) if layer.include else not any(fits):
            kept.append(layer)
    return kept


def _rule_fits(rule, phase, level, stages):
    return not (rule.HasField('phase') and rule.phase != phase
                or rule.HasField('min_level') and level < rule.min_level
                or rule.HasField('max_level') and level > rule.max_level
                or not set(rule.stage) <= stages
                or set(rule.not_stage) & stages)
