"""The nets whose region features are saved for experiments with PCA.

They pool the maps of stages 2 to 5, whose names end in the stride, and have no layers that only
forks of Caffe have.
"""

from blocks import aggregate, pca, pool_regions, region_vectors, stage, stem
from caffe import NetSpec
from caffe import layers as L
from frames import deploy, named

FRAME = dict(data=[1, 3, 512, 512], rois=[11, 5])


def pool(n, trunk, rois, number):
    features = trunk.features(n, number)
    return pool_regions(n, f'pooled_rois_branch_{features.stride}', features, rois, python=True)


def raw_rmac(n, trunk, rois, number, suffix='_branch'):
    """The sum of the regions of stage `number`, without a projection."""
    features = trunk.features(n, number)
    suffix = f'{suffix}_{features.stride}'
    top = region_vectors(n, f'pooled_rois{suffix}', features, rois, python=True, dim=())
    return aggregate(n, f'rmac{suffix}', top, rois, python=True)


def master_of(n, regions, rois, dim):
    """The released net's descriptor, made from its pooled regions."""
    top = pca(n, 'pooled_rois', regions, dim, dim=None, python=True)
    return aggregate(n, 'rmac', top, rois, python=True)


def master(n, trunk, rois, dim):
    regions = pool_regions(n, 'pooled_rois', trunk.features(n, 5), rois, python=True)
    return master_of(n, regions, rois, dim)


def pca_concat(size):
    def head(n, trunk, rois):
        for number in (4, 3, 2):
            pool(n, trunk, rois, number)
        master(n, trunk, rois, size.dim)
    return deploy(size, head, **FRAME)


def pca_features(size):
    """The layers of pca_concat in another order; the original has both nets."""
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=FRAME['data']))
    n.rois = L.Input(shape=dict(dim=FRAME['rois']))
    top = stem(n, n.data, size.trunk)
    for number in range(2, 5):
        top = stage(n, top, size.trunk, number)
    for number in range(2, 5):
        pool(n, size.trunk, n.rois, number)
    stage(n, top, size.trunk, 5)
    master(n, size.trunk, n.rois, size.dim)
    return named(size.name, n)


def raw_concat(size):
    def head(n, trunk, rois):
        raw_rmac(n, trunk, rois, 5, '_master')
        for number in (4, 3, 2):
            raw_rmac(n, trunk, rois, number)
    return deploy(size, head, **FRAME)


def raw_master_concat(size):
    def head(n, trunk, rois):
        for number in (2, 3, 4):
            raw_rmac(n, trunk, rois, number)
        master(n, trunk, rois, size.dim)
    return deploy(size, head, **FRAME)


def rmac_eltwise(size):
    def head(n, trunk, rois):
        for number in (2, 3, 4, 5):
            raw_rmac(n, trunk, rois, number)
        master_of(n, n['pooled_rois_branch_32/normalized'], rois, size.dim)
    return deploy(size, head, **FRAME)


NETS = {
    'offline/pca/pca_concat_{file}_normpython.prototxt': pca_concat,
    'offline/pca/pca_features_{file}_normpython.prototxt': pca_features,
    'offline/raw/raw_concat_{file}_normpython.prototxt': raw_concat,
    'offline/raw/raw_master_concat_{file}_normpython.prototxt': raw_master_concat,
    'offline/rmac/rmac_eltwise_{file}_normpython.prototxt': rmac_eltwise,
}
