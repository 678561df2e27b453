"""Frozen trunks keep no activations: what only they read is dropped, and made again on demand."""


class FrozenTrunk:
    """Layers first .. last (indices) of a net whose forward can be repeated and needs no gradient.

    A blob that no layer outside reads is let go of as soon as its last reader has run. Whoever then
    asks for it has the trunk run again, on a copy of what it was run on.
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
        self._sources = list(sources.values())
        self._touched = list({**sources, **made}.values())
        self._drops = {}        # index -> blobs that nobody reads after that layer
        for key, blob in made.items():
            if last_reader.get(key, last + 1) <= last:
                self._drops.setdefault(last_reader[key], []).append(blob)
        self._copies = None     # the sources' tensors as the last forward found them

    @property
    def saves_memory(self):
        return bool(self._drops)

    def begin(self):
        """Remember what the layers are run on."""
        self._copies = [blob.tensor.clone() for blob in self._sources]

    def drop(self, index):
        """Let go of what layer `index` was the last to read."""
        for blob in self._drops.get(index, ()):
            blob.defer(self._restore)

    def _restore(self):
        """Run the layers once more, in memory aside, and keep what was dropped."""
        present = [(blob, blob.swap_data()) for blob in self._touched]
        try:
            for blob, tensor in zip(self._sources, self._copies):
                blob.tensor = tensor
            self._execution.restore(self.first, self.last)
        finally:
            for blob, memory in present:
                again = blob.swap_data(memory)
                if memory.is_dropped:
                    memory.tensor = again.tensor


def find_trunks(execution):
    """The FrozenTrunks of an Execution, by the index of their first layer."""
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
