"""Descriptors of several maps of a net: pooled, whitened and combined, without training.

    experiment = EXPERIMENTS['pca_concat'](MAPS['2'])
    pcas = fit_all(experiment, [queries, database])
    rows = describe(experiment, database, pcas)

An experiment says which vectors of a Block (branch_features.py) each of its PCAs (pca.py)
is fitted to, and makes the descriptors of the block's images with them.
"""

import numpy as np

from deep_retrieval.studies.pca import fit
from deep_retrieval.vectors import normalize

TOO_LONG = "{} {}: what is added to the net's descriptor may have its {} numbers at most"


class Experiment:
    """How descriptors are made of maps of some strides.

    fitted    what its PCAs are fitted to: 'regions' or 'images'; None without PCAs
    adds      whether something is added to the master, so that it can be no longer
    """

    fitted, adds = None, False

    def __init__(self, strides):
        self.strides = strides

    def vectors(self, block):
        """The vectors that each PCA is fitted to."""
        return []

    def descriptors(self, block, pcas):
        """The descriptors of the block's images, n x D."""
        raise NotImplementedError


class RawConcat(Experiment):
    """The maps' own R-MACs together."""

    def descriptors(self, block, pcas):
        return concatenated([block.rmac(stride) for stride in self.strides])


class RawMasterConcat(Experiment):
    """The same with the released net's descriptor in place of the last map."""

    def descriptors(self, block, pcas):
        return concatenated([master_of(block) if stride == 32 else block.rmac(stride)
                             for stride in self.strides])


class RmacEltwise(Experiment):
    """The maps' R-MACs together, whitened, and added to the master."""

    fitted, adds = 'images', True

    def vectors(self, block):
        return [np.hstack([block.rmac(stride) for stride in self.strides])]

    def descriptors(self, block, pcas):
        vectors, = self.vectors(block)
        return added(master_of(block), normalize(pcas[0](vectors)))


class PcaEltwise(Experiment):
    """The maps' region vectors together, whitened, summed, and added to the master."""

    fitted, adds = 'regions', True

    def vectors(self, block):
        return [np.hstack([block.regions(stride) for stride in self.strides])]

    def descriptors(self, block, pcas):
        vectors, = self.vectors(block)
        return added(master_of(block), block.pooled(normalize(pcas[0](vectors))))


class PcaConcat(Experiment):
    """Each map's region vectors whitened and summed, together with the master for the last map."""

    fitted = 'regions'

    def vectors(self, block):
        return [block.regions(stride) for stride in self.strides if stride != 32]

    def descriptors(self, block, pcas):
        parts = [block.pooled(normalize(pca(vectors)))
                 for pca, vectors in zip(pcas, self.vectors(block))]
        return concatenated(parts + ([master_of(block)] if 32 in self.strides else []))


EXPERIMENTS = {'raw_concat': RawConcat, 'raw_master_concat': RawMasterConcat,
               'rmac_eltwise': RmacEltwise, 'pca_eltwise': PcaEltwise, 'pca_concat': PcaConcat}


def master_of(block):
    """The released net's descriptors, n x D."""
    if block.master is None:
        raise ValueError("the features lack the released net's descriptor, rmac/normalized: make "
                         'them with a net that has it')
    return block.master


def concatenated(parts):
    """Unit vectors side by side, each times its length, and normalized."""
    return normalize(np.hstack([part * part.shape[1] for part in parts]))


def added(master, rows):
    """The sum of two unit vectors, normalized; shorter `rows` are filled up with zeros."""
    missing = master.shape[1] - rows.shape[1]
    if missing < 0:
        raise ValueError(TOO_LONG.format('--dim', rows.shape[1], master.shape[1]))
    return normalize(master + np.pad(rows, ((0, 0), (0, missing))))


def fit_all(experiment, sources, dim=None, flag='--dim', **options):
    """The experiment's PCAs, fitted to several Branches together; options are those of `fit`.

    dim : components of each, at most; by default all, or, of what is added to the master, as many
        as it has
    """
    if experiment.fitted is None:
        return []
    first = next(sources[0].blocks())
    widths = [part.shape[1] for part in experiment.vectors(first)]
    if experiment.adds:
        master = master_of(first).shape[1]
        if dim and dim > master:
            raise ValueError(TOO_LONG.format(flag, dim, master))
        dim = dim or min(master, *widths)
    count = count_of(experiment.fitted, sources)

    def blocks(number):
        return lambda: (experiment.vectors(block)[number]
                        for source in sources for block in source.blocks())
    return [fit(blocks(number), count, dim if experiment.adds or not dim else min(dim, width),
                experiment.fitted, flag, **options) for number, width in enumerate(widths)]


def fit_last(experiment, sources, pcas, dim, flag='--dim', **options):
    """One more PCA, fitted to the descriptors themselves."""
    def blocks():
        return (experiment.descriptors(block, pcas)
                for source in sources for block in source.blocks())
    return fit(blocks, count_of('images', sources), dim, 'images', flag, **options)


def count_of(what, sources):
    """How many images or regions several Branches have together."""
    images, regions = np.sum([source.count() for source in sources], axis=0)
    return int({'images': images, 'regions': regions}[what])


def describe(experiment, branches, pcas, last=None):
    """The descriptors of all images, N x D float32; those of images that were skipped are NaN.

    last : a PCA of the descriptors, or None
    """
    rows = None
    for block in branches.blocks():
        part = experiment.descriptors(block, pcas)
        if last:
            part = normalize(last(part))
        if rows is None:
            rows = np.full((len(branches.names), part.shape[1]), np.nan, np.float32)
        rows[block.rows] = part
    return rows
