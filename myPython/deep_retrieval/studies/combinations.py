"""Descriptors made of several maps of a net: pooled, whitened and combined, without training.

    combination = COMBINATIONS['pca_concat'](strides_of('2'))
    pcas = fit_all(combination, [queries, database])
    rows = describe(combination, database, pcas)

A combination defines which vectors of a Block (maps.py) each of its PCAs is fitted to, and makes
the descriptors of the block's images with these PCAs.
"""

import numpy as np

from deep_retrieval.studies import MAPS, pca
from deep_retrieval.studies.maps import Block, SavedMaps
from deep_retrieval.vectors import normalize
from deep_retrieval.whitening import Whitening

TOO_LONG = "{} {}: vectors added to the net's descriptor can have at most its {} dimensions"


class Combination:
    """Base of the ways to make descriptors of the maps with given strides; 32 is the last map.

    Attributes
    ----------
    fitted : 'regions', 'images' or None
        The vectors that the PCAs are fitted to; None without PCAs.
    adds : bool
        Whether vectors are added to the net's descriptor, so they must not be longer than it.
    """

    fitted, adds = None, False

    def __init__(self, strides):
        self.strides = strides

    def vectors(self, block: Block) -> list[np.ndarray]:
        """Return the vectors that each PCA is fitted to."""
        return []

    def descriptors(self, block: Block, pcas: list) -> np.ndarray:
        """Return the descriptors of the block's images: n x D."""
        raise NotImplementedError


class RawConcat(Combination):
    """The R-MACs of the maps, concatenated."""

    def descriptors(self, block: Block, pcas: list) -> np.ndarray:
        return concatenated([block.rmac(stride) for stride in self.strides])


class RawMasterConcat(Combination):
    """The R-MACs of the maps, concatenated, with the net's descriptor instead of the last map."""

    def descriptors(self, block: Block, pcas: list) -> np.ndarray:
        return concatenated([master_of(block) if stride == 32 else block.rmac(stride)
                             for stride in self.strides])


class RmacEltwise(Combination):
    """The R-MACs of the maps, whitened together and added to the net's descriptor."""

    fitted, adds = 'images', True

    def vectors(self, block: Block) -> list[np.ndarray]:
        return [np.hstack([block.rmac(stride) for stride in self.strides])]

    def descriptors(self, block: Block, pcas: list) -> np.ndarray:
        vectors, = self.vectors(block)
        return added(master_of(block), normalize(pcas[0](vectors)))


class PcaEltwise(Combination):
    """The region vectors of the maps, whitened together, summed, and added to the descriptor."""

    fitted, adds = 'regions', True

    def vectors(self, block: Block) -> list[np.ndarray]:
        return [np.hstack([block.regions(stride) for stride in self.strides])]

    def descriptors(self, block: Block, pcas: list) -> np.ndarray:
        vectors, = self.vectors(block)
        return added(master_of(block), block.pooled(normalize(pcas[0](vectors))))


class PcaConcat(Combination):
    """The whitened and summed region vectors of each map, but the descriptor for the last map."""

    fitted = 'regions'

    def vectors(self, block: Block) -> list[np.ndarray]:
        return [block.regions(stride) for stride in self.strides if stride != 32]

    def descriptors(self, block: Block, pcas: list) -> np.ndarray:
        parts = [block.pooled(normalize(whiten(vectors)))
                 for whiten, vectors in zip(pcas, self.vectors(block), strict=True)]
        return concatenated(parts + ([master_of(block)] if 32 in self.strides else []))


COMBINATIONS = {'raw_concat': RawConcat, 'raw_master_concat': RawMasterConcat,
                'rmac_eltwise': RmacEltwise, 'pca_eltwise': PcaEltwise, 'pca_concat': PcaConcat}


def strides_of(maps: str | tuple) -> tuple:
    """Return the strides of `maps`: a name of MAPS, or the strides themselves."""
    if isinstance(maps, str) and maps not in MAPS:
        raise ValueError(f'unknown maps {maps!r}; known are {", ".join(MAPS)}')
    return MAPS[maps] if isinstance(maps, str) else tuple(maps)


def master_of(block: Block) -> np.ndarray:
    """Return the released net's descriptors, n x D; ValueError if the net does not have them."""
    if block.master is None:
        raise ValueError("the features lack the released net's descriptor, rmac/normalized: make "
                         'them with a net that has it')
    return block.master


def concatenated(parts: list[np.ndarray]) -> np.ndarray:
    """Concatenate unit vectors, each multiplied by its dimension, and normalize the result."""
    return normalize(np.hstack([part * part.shape[1] for part in parts]))


def added(master: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the normalized sum of two unit vectors; shorter `rows` are padded with zeros."""
    missing = master.shape[1] - rows.shape[1]
    if missing < 0:
        raise ValueError(TOO_LONG.format('--dim', rows.shape[1], master.shape[1]))
    return normalize(master + np.pad(rows, ((0, 0), (0, missing))))


def fit_all(combination: Combination, sources: list[SavedMaps], dim: int | None = None,
            flag: str = '--dim', **options) -> list:
    """Fit the PCAs of a combination.

    Parameters
    ----------
    combination : Combination
    sources : list of SavedMaps
        The maps that the PCAs are fitted to, all together.
    dim : int, optional
        Maximum number of components of each PCA; by default all of them or, for vectors that are
        added to the net's descriptor, the descriptor's dimension.
    flag : str
        Name of the flag of `dim`, for messages.
    **options
        `incremental` and `fewer`, see `pca.fit`.

    Raises
    ------
    ValueError
        The vectors do not allow `dim` components.
    """
    if combination.fitted is None:
        return []
    first = next(sources[0].blocks())
    widths = [part.shape[1] for part in combination.vectors(first)]
    if combination.adds:
        master = master_of(first).shape[1]
        if dim and dim > master:
            raise ValueError(TOO_LONG.format(flag, dim, master))
        dim = dim or min(master, *widths)
    count = count_of(combination.fitted, sources)

    def blocks(number):
        return lambda: (combination.vectors(block)[number]
                        for source in sources for block in source.blocks())
    return [pca.fit(blocks(number), count,
                    dim if combination.adds or not dim else min(dim, width),
                    combination.fitted, flag, **options) for number, width in enumerate(widths)]


def fit_last(combination: Combination, sources: list[SavedMaps], pcas: list, dim: int,
             flag: str = '--dim', **options) -> Whitening:
    """Fit another PCA with `dim` components to the descriptors themselves; see `fit_all`."""
    def blocks():
        return (combination.descriptors(block, pcas)
                for source in sources for block in source.blocks())
    return pca.fit(blocks, count_of('images', sources), dim, 'images', flag, **options)


def count_of(what: str, sources: list[SavedMaps]) -> int:
    """Return the total number of 'images' or 'regions' of several SavedMaps."""
    images, regions = np.sum([source.count() for source in sources], axis=0)
    return int({'images': images, 'regions': regions}[what])


def describe(combination: Combination, maps: SavedMaps, pcas: list,
             last: Whitening | None = None) -> np.ndarray:
    """Return the descriptors of all images: N x D float32, NaN for images that were skipped.

    last : a PCA of the descriptors, or None
    """
    rows = None
    for block in maps.blocks():
        part = combination.descriptors(block, pcas)
        if last:
            part = normalize(last(part))
        if rows is None:
            rows = np.full((len(maps.names), part.shape[1]), np.nan, np.float32)
        rows[block.rows] = part
    return rows
