"""From a trunk's maps to the descriptor: the heads of the nets that learn.

A head adds layers to `n`, whose `trunk` is there, and returns its last top: a descriptor of `dim`
numbers an image. With `train` its blobs have learning rates, and it sums runs of NUM_ROIS regions:
the images that a net learns from have one size, those that it describes may have any.
"""

from blocks import FROZEN, Features, aggregate, conv_bn, params, pca, region_vectors, rmac
from caffe import layers as L
from frames import NUM_ROIS


def sums(train):
    """How a net's rmac sums."""
    return dict(rois_to_aggregate=not train, param_str={'num_rois': NUM_ROIS})


def rates(train):
    """The mean learns and so does the projection; biases twice as fast."""
    return dict(centred_param=params(FROZEN, (2, None)),
                pca_param=params((1, None), (2, None))) if train else {}


def rates_by_name(bias_decay=0):
    """The same, for blobs that have names, so that branches can share them."""
    return dict(centred_param=params(FROZEN, (2, bias_decay), name='pooled_rois/centered'),
                pca_param=params((1, 1), (2, bias_decay), name='pooled_rois/pca'))


def frozen_by_name():
    """Nothing learns; blobs have names."""
    return dict(centred_param=params(FROZEN, FROZEN, name='pooled_rois/centered'),
                pca_param=params(FROZEN, FROZEN, name='pooled_rois/pca'))


def whole(n, trunk, rois, dim, train=False, **learned):
    """The released net's."""
    return rmac(n, trunk.features(n, 5), rois, dim, **sums(train), **learned)


def whole_in_python(n, trunk, rois, dim):
    """The same without layers of forks."""
    return rmac(n, trunk.features(n, 5), rois, dim, python=True)


def reduced(n, trunk, rois, dim, train=False, **learned):
    """The released net's with fewer numbers, in a layer of another name: pca_512."""
    return whole(n, trunk, rois, dim, train, layer=f'pooled_rois/pca_{dim}', **learned)


def eltwise(n, trunk, rois, dim, train=False):
    """Regions of stage 4, made as wide as those of stage 5, are added to them."""
    last = trunk.features(n, 5)
    widened = conv_bn(n, 'res5a_branch2', trunk.features(n, 4).top, last.channels, 1,
                      use_global_stats=not train)
    branch = region_vectors(n, 'branch/pooled_rois',
                            Features(widened, last.channels, trunk.features(n, 4).stride), rois)
    master = region_vectors(n, 'pooled_rois', last, rois)
    n['pooled_rois/eltwise'] = L.Eltwise(master, branch, operation='SUM')
    top = pca(n, 'pooled_rois', n['pooled_rois/eltwise'], dim, dim=(0, dim, 1, 1), **rates(train))
    return aggregate(n, 'rmac', top, None if train else rois, num_rois=NUM_ROIS)


def concat(n, trunk, rois, dim, train=False, relu=False):
    """One projection of the regions of stages 4 and 5 together, rectified if so wanted."""
    branch = region_vectors(n, 'pooled_rois_branch_1', trunk.features(n, 4), rois)
    master = region_vectors(n, 'pooled_rois', trunk.features(n, 5), rois)
    n['pooled_rois/concat'] = L.Concat(master, branch, axis=1)
    top = pca(n, 'pooled_rois/concat', n['pooled_rois/concat'], dim, dim=(0, dim, 1, 1), relu=relu,
              **rates(train))
    return aggregate(n, 'rmac', top, None if train else rois, num_rois=NUM_ROIS)


def pca_concat_pca(n, trunk, rois, dim, train=False):
    """The rmac of stages 4 (half as long) and 5, projected together."""
    how = dict(sums(train), **rates(train))
    if not train:
        how['param_str'] = {'batch_size': 1, **how['param_str']}
    branch = rmac(n, trunk.features(n, 4), rois, dim // 2, suffix='_branch_1',
                  dim=(0, dim // 2, 1, 1), **how)
    master = rmac(n, trunk.features(n, 5), rois, dim, dim=(0, dim, 1, 1), **how)
    n['rmac/concat'] = L.Concat(branch, master, axis=1)
    return pca(n, 'rmac', n['rmac/concat'], dim, dim=(0, dim, 1, 1), **rates(train))
