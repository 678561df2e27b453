"""Frozen trunks: the layers below everything that learns keep no activations.

A blob that only such layers read is dropped after its last use. Reading a dropped blob recomputes
it transparently; it only takes longer. The results of a trunk may also come from a cache
(Net.cache_trunk).
"""

import hashlib

import numpy as np
import torch

from .. import common
from ..proto import caffe_pb2


class FrozenTrunk:
    """Layers first .. last (indices) of a net whose forward is repeatable and needs no gradient.

    layers : list of Layer
    sources : blobs that its layers read and other layers produce
    inputs : those sources that a layer other than Split reads
    results : blobs that it produces and that other layers, or the user, read
    cache : see Net.cache_trunk; None for no cache
    """

    def __init__(self, execution, first, last):
        self._execution, self.first, self.last = execution, first, last
        last_reader = {id(blob): index for index, bottoms in enumerate(execution.bottoms)
                       for blob in bottoms}
        made, sources = {}, {}
        for index in range(first, last + 1):
            for blob in execution.bottoms[index]:
                if id(blob) not in made:
                    sources[id(blob)] = blob
            made.update((id(blob), blob) for blob in execution.tops[index])
        self.sources = list(sources.values())
        self.layers = execution.layers[first:last + 1]
        self.cache = None
        self._touched = list({**sources, **made}.values())
        self._drops = {}        # index -> blobs that no layer reads after that one
        for key, blob in made.items():
            if last_reader.get(key, last + 1) <= last:
                self._drops.setdefault(last_reader[key], []).append(blob)
        dropped = {id(blob) for blobs in self._drops.values() for blob in blobs}
        # copies of a source are updated on every forward
        self._splits = [index for index in range(first, last + 1)
                        if execution.layers[index].type == 'Split'
                        and id(execution.bottoms[index][0]) in sources]
        split = {id(blob): id(execution.bottoms[index][0]) for index in self._splits
                 for blob in execution.tops[index]}
        self.results = [blob for key, blob in made.items()
                        if key not in dropped and key not in split]
        # an in-place layer would overwrite the inputs that the cache looks up
        self._may_be_cached = not any(key in sources for key in made)
        self._readers = {}      # id of a source -> {(type, index of the bottom) of its readers}
        for layer, bottoms in zip(self.layers, execution.bottoms[first:last + 1], strict=True):
            for place, blob in enumerate(bottoms if layer.type != 'Split' else ()):
                self._readers.setdefault(split.get(id(blob), id(blob)), set()).add(
                    (layer.type, place))
        self.inputs = [blob for blob in self.sources if id(blob) in self._readers]
        self._copies = None     # the sources' tensors at the start of the last forward
        self._versions = self._fingerprint = None

    @property
    def saves_memory(self):
        return bool(self._drops)

    def begin(self):
        """Keep the sources that the layers are about to run on."""
        self._copies = [blob.tensor.clone() for blob in self.sources]

    def readers(self, source):
        """Return {(layer type, index of its bottom)} of the trunk's layers that read a source."""
        return self._readers.get(id(source), set())

    def fingerprint(self) -> bytes:
        """Return a hash of what the layers compute: types, settings, parameters and connections.

        Names are not hashed, so branches that share weights have the same fingerprint.
        """
        versions = [blob.version for layer in self.layers for blob in layer.blobs]
        if self._fingerprint is None or versions != self._versions:
            state, numbers = hashlib.sha256(), {}
            for layer in self.layers:
                param = caffe_pb2.LayerParameter()
                param.CopyFrom(layer.layer_param)
                for ends in (param.bottom, param.top):
                    ends[:] = [str(numbers.setdefault(name, len(numbers))) for name in ends]
                for field in ('name', 'param', 'include', 'exclude', 'blobs'):
                    param.ClearField(field)
                state.update(param.SerializeToString(deterministic=True))
                for blob in layer.blobs:
                    state.update(repr(blob.shape).encode())
                    state.update(blob.tensor.cpu().contiguous().numpy())
            self._versions, self._fingerprint = versions, state.digest()
        return self._fingerprint

    def compute(self, inputs):
        """Run the trunk on other inputs, without changing any blob of the net.

        Parameters
        ----------
        inputs : list of float32 arrays
            One for each blob of `inputs`, of any number of rows.

        Returns
        -------
        list of float32 arrays
            One for each blob of `results`, in C order.
        """
        present = [(blob, blob.swap()) for blob in self._touched]
        try:
            for blob, array in zip(self.inputs, inputs, strict=True):
                blob.reshape(*array.shape)
                blob.tensor = torch.from_numpy(np.ascontiguousarray(array)).to(common.device())
            self._execution.restore(self.first, self.last)
            return [np.array(blob.tensor.cpu().numpy(), order='C') for blob in self.results]
        finally:
            for blob, state in present:
                blob.swap(state)
            self._reshape()

    def load(self):
        """Take all results from the cache; return False if there is none or it lacks them."""
        if self.cache is None or not self._may_be_cached:
            return False
        self._reshape()
        results = self.cache.results(self)
        if results is None:
            return False
        self.begin()
        for blob, array in zip(self.results, results, strict=True):
            # the same memory layout whether loaded or computed: it affects the next layers' kernels
            blob.tensor = torch.from_numpy(np.ascontiguousarray(array)).to(common.device())
        for index in self._splits:
            self._execution.layers[index].forward(self._execution.bottoms[index],
                                                  self._execution.tops[index])
        for index in self._drops:
            self.drop(index)
        return True

    def _reshape(self):
        for index in range(self.first, self.last + 1):
            self._execution.reshape(index)

    def drop(self, index):
        """Drop the blobs whose last reader is layer `index`."""
        for blob in self._drops.get(index, ()):
            blob.defer(self._restore)

    def _restore(self):
        """Run the layers again in separate memory, and keep the blobs that were dropped."""
        present = [(blob, blob.swap()) for blob in self._touched]
        try:
            for blob, tensor in zip(self.sources, self._copies, strict=True):
                blob.tensor = tensor
            self._execution.restore(self.first, self.last)
        finally:
            for blob, state in present:
                (_, again, _), (_, memory, _) = blob.swap(state), state
                if memory.is_dropped:
                    memory.tensor = again.tensor


def find_trunks(execution):
    """Return the FrozenTrunks of an Execution by the index of their first layer."""
    trunks, first = {}, None
    for index, layer in enumerate([*execution.layers, None]):
        frozen = layer is not None and layer.repeatable and not layer.needs_backward
        if frozen and first is None:
            first = index
        if not frozen and first is not None:
            trunk = FrozenTrunk(execution, first, index - 1)
            if trunk.saves_memory:
                trunks[first] = trunk
            first = None
    return trunks
