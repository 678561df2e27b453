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
        self.sources = list(sources.values())
        self.layers = execution.layers[first:last + 1]
        self.bottoms = execution.bottoms[first:last + 1]
        self.cache = None       # a TrunkCache
        self._touched = list({**sources, **made}.values())
        self._drops = {}        # index -> blobs that nobody reads after that layer
        for key, blob in made.items():
            if last_reader.get(key, last + 1) <= last:
                self._drops.setdefault(last_reader[key], []).append(blob)
        dropped = {id(blob) for blobs in self._drops.values() for blob in blobs}
        # Splits of what comes from outside are made each time
        self._splits = [index for index in range(first, last + 1)
                        if execution.layers[index].type == 'Split'
                        and id(execution.bottoms[index][0]) in sources]
        split = {id(blob) for index in self._splits for blob in execution.tops[index]}
        self.results = [blob for key, blob in made.items() if key not in dropped | split]
        self._copies = None     # the sources' tensors as the last forward found them

    @property
    def saves_memory(self):
        return bool(self._drops)

    def begin(self):
        """Remember what the layers are run on."""
        self._copies = [blob.tensor.clone() for blob in self.sources]

    def load(self):
        """Take all results from the cache, if there is one and it has them; returns whether."""
        if self.cache is None:
            return False
        for index in range(self.first, self.last + 1):
            self._execution.reshape(index)
        if not self.cache.load():
            return False
        self.begin()
        for index in self._splits:
            self._execution.layers[index].forward(self._execution.bottoms[index],
                                                  self._execution.tops[index])
        for index in self._drops:
            self.drop(index)
        return True

    def end(self):
        """Keep the results that have just been computed."""
        if self.cache is not None:
            self.cache.store()

    def drop(self, index):
        """Let go of what layer `index` was the last to read."""
        for blob in self._drops.get(index, ()):
            blob.defer(self._restore)

    def _restore(self):
        """Run the layers once more, in memory aside, and keep what was dropped."""
        present = [(blob, blob.swap_data()) for blob in self._touched]
        try:
            for blob, tensor in zip(self.sources, self._copies):
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
