"""Frozen trunks keep no activations: what only they read is dropped, and made again on demand."""

from contextlib import contextmanager

from .blob import SyncedMemory


class FrozenTrunk:
    """Layers first .. last (indices) of a net whose forward can be repeated and needs no gradient.

    A blob that no layer outside reads is let go of as soon as its last reader has run. Whoever then
    asks for it has the trunk run again, on a copy of what it was run on.
    """

    def __init__(self, execution, first, last):
        self._execution, self.first, self.last = execution, first, last
        made, readers = {}, {}
        for index, bottoms in enumerate(execution.bottoms):
            for blob in bottoms:
                readers.setdefault(id(blob), []).append(index)
        for index in range(first, last + 1):
            made.update((id(blob), blob) for blob in execution.tops[index])
        self._sources = {id(blob): blob for index in range(first, last + 1)
                         for blob in execution.bottoms[index] if id(blob) not in made}
        self._drops = {}        # index -> blobs that nobody reads after that layer
        for key, blob in made.items():
            if readers.get(key) and max(readers[key]) <= last:
                self._drops.setdefault(max(readers[key]), []).append(blob)
        self._copies = None     # (source blob, its tensor) as the last forward found them

    @property
    def saves_memory(self):
        return bool(self._drops)

    def begin(self):
        """Remember what the layers are run on."""
        self._copies = [(blob, blob.tensor.clone()) for blob in self._sources.values()]

    def drop(self, index):
        """Let go of what layer `index` was the last to read."""
        if self._copies is not None:
            for blob in self._drops.get(index, ()):
                blob.defer(self._restore)

    def _restore(self):
        with self._as_it_was():
            self._execution.restore(self.first, self.last)

    @contextmanager
    def _as_it_was(self):
        """Put the copies in the sources' places for a while."""
        present = [(blob, blob._data) for blob, _ in self._copies]
        for blob, tensor in self._copies:
            blob._data = SyncedMemory(tuple(tensor.shape))
            blob._data.tensor = tensor
        try:
            yield
        finally:
            for blob, memory in present:
                blob._data = memory


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
