"""Run the layers of a net forward and backward."""

import torch

from ..common import full_float32
from ..errors import CaffeError
from ..files import naming
from .fusion import find_chains, find_norm_chains
from .trunk import find_trunks

MOMENTS = ('before_forward', 'after_forward', 'before_backward', 'after_backward')


class Execution:
    """Runs the layers of a Wiring; errors name `file` and the layer.

    callbacks : dict, moment -> list of functions that take the layer's index
    """

    def __init__(self, wiring, file):
        self.layers, self.bottoms, self.tops = wiring.layers, wiring.bottoms, wiring.tops
        self._bottom_names = wiring.bottom_names
        self._places = [f'{file}: layer {param.name!r} ({param.type})'
                        for param in wiring.layer_params]
        self.callbacks = {moment: [] for moment in MOMENTS}
        for layer, tops in zip(self.layers, self.tops, strict=True):
            _weigh(layer, tops)
        parts = self.layers, self.bottoms, self.tops
        self._chains = find_chains(*parts)
        # while gradients are recorded, only layers that need none are fused
        norm_chains = find_norm_chains(*parts)
        self._recorded_chains = {**find_chains(*parts, frozen=True), **norm_chains}
        self._norm_chain = {index: chain for chain in norm_chains.values()
                            for index in range(chain.first, chain.last + 1)}
        # if no layer learns, the whole net would be a trunk, which has no benefit
        learns = any(layer.needs_backward for layer in self.layers)
        self._trunks = find_trunks(self) if learns else {}

    def forward(self, first, last, record=True):
        """Run layers first .. last (indices) and return the loss; `record` allows `backward`."""
        chains = self._recorded_chains if record else self._chains
        trunks = self._trunks if record else {}
        if self.callbacks['before_forward'] or self.callbacks['after_forward']:
            chains, trunks = {}, {}     # callbacks see every layer
        with torch.set_grad_enabled(record):
            return self.run(first, last, chains, trunks)

    @full_float32()
    def run(self, first, last, chains, trunks):
        """Run layers first .. last, fuse the given chains and drop the blobs of the given trunks.
        """
        loss, index, trunk = 0.0, first, None
        while index <= last:
            chain = chains.get(index)
            if chain is not None and chain.last > last:
                chain = None
            stop = chain.last if chain else index
            if index in trunks:
                trunk = trunks[index]
                if trunk.last <= last and trunk.load():
                    index = trunk.last + 1
                    continue
                trunk.begin()
            self._call('before_forward', index)
            for i in range(index, stop + 1):
                self.reshape(i)
            if chain is None and index in self._norm_chain:
                self._norm_chain[index].forget()
            with naming(self._places[index]):
                (chain or self.layers[index]).forward(self.bottoms[index], self.tops[index])
            loss += self._loss(stop)
            self._call('after_forward', index)
            if trunk is not None:
                for i in range(index, stop + 1):
                    trunk.drop(i)
            index = stop + 1
        return loss

    def cache_trunks(self, cache):
        """Take the results of all trunks from `cache`; return the number of trunks."""
        for trunk in self._trunks.values():
            trunk.cache = cache
        return len(self._trunks)

    def restore(self, first, last):
        """Run layers that need no gradient again."""
        with torch.no_grad():
            self.run(first, last, self._chains, {})

    def _loss(self, index):
        layer, tops = self.layers[index], self.tops[index]
        if not any(layer.loss_weights):
            return 0.0
        # the weights are stored in the tops' diffs, where a user may change them
        return sum(float((top.tensor * top.diff_tensor).sum())
                   for top, weight in zip(tops, layer.loss_weights, strict=True) if weight)

    @full_float32()
    def backward(self, first, last):
        """Run layers first .. last (indices, first >= last) backward."""
        seen = self.callbacks['before_backward'] or self.callbacks['after_backward']
        index = first
        while index >= last:
            chain = self._norm_chain.get(index)
            if chain and chain.recorded:
                if index == chain.last and chain.first >= last and not seen:
                    chain.backward(self.tops[index], chain.propagate_down,
                                   self.bottoms[chain.first])
                    index = chain.first - 1
                    continue
                chain.unroll()
            self._call('before_backward', index)
            if self.layers[index].needs_backward:
                self._backward_layer(index)
            self._call('after_backward', index)
            index -= 1

    def _backward_layer(self, index):
        layer = self.layers[index]
        with naming(self._places[index]):
            for i, wanted in enumerate(layer.propagate_down):
                if wanted and i in layer.no_gradient:
                    name = self._bottom_names[index][i]
                    raise CaffeError(f'has no gradient for its bottom {name!r}')
            layer.backward(self.tops[index], layer.propagate_down, self.bottoms[index])

    def reshape(self, index):
        """Reshape the tops of layer `index` according to the shapes of its bottoms."""
        layer, tops = self.layers[index], self.tops[index]
        with naming(self._places[index]):
            before = [top.shape for top in tops]
            layer.reshape(self.bottoms[index], tops)
            if before != [top.shape for top in tops]:
                _weigh(layer, tops)

    def _call(self, moment, index):
        for callback in self.callbacks[moment]:
            callback(index)


def _weigh(layer, tops):
    """Write a layer's loss weights into its tops' diffs, where `backward` finds them."""
    for top, weight in zip(tops, layer.loss_weights, strict=True):
        if weight:
            top.diff_tensor = torch.full(top.shape, weight)
