"""Net: parses a prototxt, filters it by phase, connects its layers and runs them."""

import os
from collections import OrderedDict

import numpy as np

from .common import TEST, TRAIN
from .errors import CaffeError
from .files import naming
from .proto.filter import filter_layers
from .proto.upgrade import read_net
from .runtime.execution import Execution
from .runtime.wiring import Wiring
from .weights import copy_weights, write_weights
from .weights_hdf5 import copy_hdf5, write_hdf5


class Net:
    """A net of layers, with pycaffe's interface.

    `Net(network_file, phase, level=0, stages=None, weights=None)`, or pycaffe's older
    `Net(network_file, weights, phase)`. Raises CaffeError naming the file, and the layer if the
    error is in one layer.

    blobs : OrderedDict, name -> Blob
    params : OrderedDict, layer name -> list of Blob, for the layers that have parameters
    inputs, outputs : names of the blobs that no layer produces, and of those that no layer reads
    layers : list of Layer; `layer_dict` has them by name
    bottom_names, top_names : OrderedDict, layer name -> list of blob names
    blob_loss_weights : OrderedDict, blob name -> its weight in the objective
    learnable_params : list of LearnableParam, the parameters that a solver updates
    """

    def __init__(self, network_file, *args, phase=None, level=0, stages=None, weights=None):
        if args and isinstance(args[0], (str, os.PathLike)):
            weights, *args = args
        phase, level, stages, weights = (
            *args, *(phase, level, stages, weights)[len(args):])
        if phase not in (TRAIN, TEST):
            raise CaffeError(f'{network_file}: phase must be caffe.TRAIN or caffe.TEST, '
                             f'not {phase!r}')
        network_file = os.fspath(network_file)
        self._build(network_file, read_net(network_file), phase, level, stages or ())
        if weights is not None:
            self.copy_from(weights)

    @classmethod
    def from_param(cls, param, phase, level=0, stages=(), file='the net'):
        """Build the net of an upgraded NetParameter; error messages begin with `file`."""
        net = cls.__new__(cls)
        net._build(file, param, phase, level, stages)
        return net

    def _build(self, file, param, phase, level, stages):
        self._file, self.name, self.phase, self.layers = file, param.name, phase, []
        with naming(file):
            wiring = Wiring(filter_layers(param, phase, level, stages), phase, param.force_backward)
        self.layers, self._layer_params = wiring.layers, wiring.layer_params
        self._tops = wiring.tops
        self.blobs, self.params = wiring.blobs, wiring.params
        self.inputs, self.outputs = wiring.inputs, wiring.outputs
        self.learnable_params = wiring.learnable
        self._layer_names = [param.name for param in self._layer_params]
        self.layer_dict = OrderedDict(zip(self._layer_names, self.layers, strict=True))
        self.bottom_names = OrderedDict(zip(self._layer_names, wiring.bottom_names, strict=True))
        self.top_names = OrderedDict(zip(self._layer_names, wiring.top_names, strict=True))
        weights = {name: weight for layer, names in zip(self.layers, wiring.top_names, strict=True)
                   for name, weight in zip(names, layer.loss_weights, strict=True) if weight}
        self.blob_loss_weights = OrderedDict((name, weights.get(name, 0.0)) for name in self.blobs)
        self._execution = Execution(wiring, file)

    def __repr__(self):
        return f'Net({self.name!r}, {len(self.layers)} layers, {self._file})'

    def forward(self, blobs=None, start=None, end=None, **kwargs):
        """Run the net and return its outputs.

        blobs : names of blobs to return in addition to the outputs
        start, end : names of the first and last layer to run, both included; with `end`, that
            layer's tops are returned instead of the net's outputs
        kwargs : arrays for the net's inputs, by name: all of them or none
        Returns a dict, blob name -> array.
        """
        first = self._layer_index(start, 0)
        last = self._layer_index(end, len(self.layers) - 1)
        outputs = dict.fromkeys([*(self.top_names[end] if end is not None else self.outputs),
                                 *(blobs or ())])
        self._check_blobs(outputs)
        if kwargs:
            self._feed(kwargs, self.inputs, 'forward', 'inputs', 'data')
        self._forward(first, last)
        return {name: self.blobs[name].data for name in outputs}

    def backward(self, diffs=None, start=None, end=None, **kwargs):
        """Run the net backward and return its inputs' diffs.

        diffs : names of blobs whose diffs to return in addition to the inputs'
        start, end : names of the first and last layer to run, both included; with `end`, the diffs
            of its bottoms are returned instead of the inputs'
        kwargs : arrays for the diffs of the net's outputs, by name: all of them or none
        Returns a dict, blob name -> array.
        """
        first = self._layer_index(start, len(self.layers) - 1)
        last = self._layer_index(end, 0)
        wanted = dict.fromkeys([*(self.bottom_names[end] if end is not None else self.inputs),
                                *(diffs or ())])
        self._check_blobs(wanted)
        if kwargs:
            self._feed(kwargs, self.outputs, 'backward', 'outputs', 'diff')
        self._backward(first, last)
        return {name: self.blobs[name].diff for name in wanted}

    def forward_all(self, blobs=None, **kwargs):
        """Run `forward` on any number of items in batches; the last batch is padded.

        Returns a dict, blob name -> array with one row per item.
        """
        return self._run_all(kwargs, lambda batch: self.forward(blobs=blobs, **batch))

    def forward_backward_all(self, blobs=None, diffs=None, **kwargs):
        """Run `forward` and `backward` on any number of items in batches.

        kwargs : arrays for the net's inputs and for the diffs of its outputs, by name
        Returns two dicts, blob name -> array: the outputs and `blobs`, and the diffs of the inputs
        and of `diffs`.
        """
        def both(batch):
            data = {name: batch[name] for name in batch if name in self.inputs}
            tops = {name: batch[name] for name in batch if name in self.outputs}
            out = self.forward(blobs=blobs, **data)
            # a name may be in both
            return {**{('data', name): value for name, value in out.items()},
                    **{('diff', name): value
                       for name, value in self.backward(diffs=diffs, **tops).items()}}

        found = self._run_all(kwargs, both)
        return tuple({name: value for (kind, name), value in found.items() if kind == wanted}
                     for wanted in ('data', 'diff'))

    def _run_all(self, arrays, run):
        if not arrays:
            raise CaffeError(f'{self._file}: no arrays were given')
        size = self.blobs[self.inputs[0]].shape[0]
        count = len(next(iter(arrays.values())))
        for name, array in arrays.items():
            if len(array) != count:
                raise CaffeError(f'{self._file}: {name!r} has {len(array)} items, but others '
                                 f'{count}')
        found = {}
        for begin in range(0, count, size):
            batch = {name: np.asarray(array[begin:begin + size]) for name, array in arrays.items()}
            short = size - min(size, count - begin)
            if short:
                batch = {
                    name: np.concatenate([part, np.zeros((short, *part.shape[1:]), part.dtype)])
                    for name, part in batch.items()}
            for name, value in run(batch).items():
                found.setdefault(name, []).append(value.copy())
        return {name: np.concatenate([np.atleast_1d(part) for part in parts])[:count]
                for name, parts in found.items()}

    def _layer_index(self, name, default):
        if name is None:
            return default
        if name not in self.layer_dict:
            raise ValueError(f'{self._file}: there is no layer {name!r}')
        return self._layer_names.index(name)

    def _check_blobs(self, names):
        for name in names:
            if name not in self.blobs:
                raise CaffeError(f'{self._file}: there is no blob {name!r}')

    def _feed(self, arrays, names, call, role, field):
        if set(arrays) != set(names):
            raise CaffeError(f'{self._file}: {call} got {sorted(arrays)}, '
                             f'but the {role} are {sorted(names)}')
        for name, array in arrays.items():
            blob = self.blobs[name]
            if np.shape(array)[:1] != blob.shape[:1]:
                raise CaffeError(f'{self._file}: {role[:-1]} {name!r} does not have the batch size:'
                                 f' {np.shape(array)} for {blob.shape}')
            try:
                getattr(blob, field)[...] = array
            except ValueError:
                raise CaffeError(f'{self._file}: {role[:-1]} {name!r} has shape {blob.shape}, '
                                 f'not {np.shape(array)}') from None

    def _forward(self, first, last, record=True):
        """Run layers first .. last (indices) and return the loss; `record` allows `_backward`."""
        return self._execution.forward(first, last, record)

    def _backward(self, first, last):
        """Run layers first .. last (indices, first >= last) backward."""
        self._execution.backward(first, last)

    def before_forward(self, callback):
        """Call `callback(layer index)` before each layer's forward."""
        self._execution.callbacks['before_forward'].append(callback)

    def after_forward(self, callback):
        """Call `callback(layer index)` after each layer's forward."""
        self._execution.callbacks['after_forward'].append(callback)

    def before_backward(self, callback):
        """Call `callback(layer index)` before each layer's backward."""
        self._execution.callbacks['before_backward'].append(callback)

    def after_backward(self, callback):
        """Call `callback(layer index)` after each layer's backward."""
        self._execution.callbacks['after_backward'].append(callback)

    def reshape(self):
        """Reshape all blobs according to the shapes of the inputs."""
        for index in range(len(self.layers)):
            self._execution.reshape(index)

    def cache_trunk(self, cache) -> None:
        """Take the results of the frozen layers below everything that learns from a cache.

        Parameters
        ----------
        cache : object
            Its method `results(trunk)` is called before a FrozenTrunk (runtime/trunk.py) is run.
            It returns one float32 array for each blob of `trunk.results`, or None to run the trunk
            as usual. It may call `trunk.compute` to run the trunk on other inputs.

        Raises
        ------
        CaffeError
            If the net has no frozen layers below those that learn.
        """
        if not self._execution.cache_trunks(cache):
            raise CaffeError(f'{self._file}: has no frozen layers below those that learn')

    def clear_param_diffs(self):
        """Set the diffs of all parameters to zero; `backward` adds to them."""
        for param in self.learnable_params:
            param.blob.clear_diff()

    def share_with(self, other):
        """Share the other net's parameters by layer name: a change to one is seen in both."""
        for name, blobs in other.params.items():
            if name not in self.params:
                continue
            if len(self.params[name]) != len(blobs):
                raise CaffeError(f'{self._file}: layer {name!r}: {len(self.params[name])} '
                                 f'parameter blobs, {len(blobs)} in {other._file}')
            for index, (mine, theirs) in enumerate(zip(self.params[name], blobs, strict=True)):
                if mine.shape != theirs.shape:
                    raise CaffeError(
                        f'{self._file}: layer {name!r}: parameter {index} has the shape '
                        f'{mine.shape}, but {theirs.shape} in {other._file}')
                mine.share_data(theirs)

    def copy_from(self, weights):
        """Copy the parameters of a .caffemodel(.h5) into the layers of the same names."""
        copy_weights(os.fspath(weights), self._blobs_of_layers())

    def save(self, path, diffs=False):
        """Write the parameters (with `diffs`, also their diffs) to a .caffemodel."""
        write_weights(os.fspath(path), self.name, self._named_blobs(), diffs)

    def save_hdf5(self, path, diffs=False):
        """Write the parameters (with `diffs`, also their diffs) to an HDF5 file."""
        write_hdf5(os.fspath(path), self._named_blobs(), diffs)

    def load_hdf5(self, path):
        """Copy the parameters of an HDF5 file by layer name."""
        copy_hdf5(os.fspath(path), self._blobs_of_layers())

    def _blobs_of_layers(self):
        return {name: layer.blobs for name, layer in self.layer_dict.items()}

    def _named_blobs(self):
        return [(param, layer.blobs)
                for param, layer in zip(self._layer_params, self.layers, strict=True)]

    def set_input_arrays(self, data, labels):
        """Feed arrays to the MemoryData layer, which must be the first layer.

        data : N x C x H x W float32, N a multiple of the batch size; labels : N float32
        """
        layer = self.layers[0]
        if layer.type != 'MemoryData':
            raise CaffeError(f'{self._file}: set_input_arrays needs a MemoryData layer as the '
                             'first layer')
        with naming(f'{self._file}: layer {self._layer_names[0]!r}'):
            layer.reset(data, labels)

    # private names of pycaffe that existing code uses

    @property
    def _blob_names(self):
        return list(self.blobs)

    @property
    def _blobs(self):
        return list(self.blobs.values())

    @property
    def _inputs(self):
        return [self._blob_names.index(name) for name in self.inputs]

    @property
    def _outputs(self):
        return [self._blob_names.index(name) for name in self.outputs]

    @property
    def _blob_loss_weights(self):
        return list(self.blob_loss_weights.values())

    def _bottom_ids(self, index):
        return [self._blob_names.index(name)
                for name in self.bottom_names[self._layer_names[index]]]

    def _top_ids(self, index):
        return [self._blob_names.index(name) for name in self.top_names[self._layer_names[index]]]

