"""The heads of the learning nets: from a trunk's maps to the descriptor.

A head adds layers to `n`, which has the layers of `trunk`, and returns its last top: one descriptor
of `dim` dimensions per image. With `train`, its blobs have learning rates, and it sums every
NUM_ROIS regions, because all training images have the same size. Deploy nets accept images of any
size.
"""

from blocks import FROZEN, Features, aggregate, conv_bn, params, pca, region_vectors, rmac
from caffe import layers as L
from frames import NUM_ROIS


def sums(train):
    """Return the arguments of `rmac` that define how regions are summed."""
    return dict(rois_to_aggregate=not train, param_str={'num_rois': NUM_ROIS})


def rates(train):
    """Return the learning rates of mean and projection; biases learn twice as fast."""
    return dict(centred_param=params(FROZEN, (2, None)),
                pca_param=params((1, None), (2, None))) if train else {}


def rates_by_name(bias_decay=0):
    """Return the same rates for named blobs, which branches share."""
    return dict(centred_param=params(FROZEN, (2, bias_decay), name='pooled_rois/centered'),
                pca_param=params((1, 1), (2, bias_decay), name='pooled_rois/pca'))


def frozen_by_name():
    """Return rates of 0 for named blobs."""
    return dict(centred_param=params(FROZEN, FROZEN, name='pooled_rois/centered'),
                pca_param=params(FROZEN, FROZEN, name='pooled_rois/pca'))


def whole(n, trunk, rois, dim, train=False, **learned):
    """The head of the released net."""
    return rmac(n, trunk.features(n, 5), rois, dim, **sums(train), **learned)


def whole_in_python(n, trunk, rois, dim):
    """The same head without layers that only forks of Caffe have."""
    return rmac(n, trunk.features(n, 5), rois, dim, python=True)


def reduced(n, trunk, rois, dim, train=False, **learned):
    """The released net's head with fewer dimensions, in a layer with another name: pca_512."""
    return whole(n, trunk, rois, dim, train, layer=f'pooled_rois/pca_{dim}', **learned)


def eltwise(n, trunk, rois, dim, train=False):
    """The regions of stage 5 plus those of stage 4, expanded to the same number of channels."""
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
    """One projection of the concatenated regions of stages 4 and 5; with `relu`, rectified."""
    branch = region_vectors(n, 'pooled_rois_branch_1', trunk.features(n, 4), rois)
    master = region_vectors(n, 'pooled_rois', trunk.features(n, 5), rois)
    n['pooled_rois/concat'] = L.Concat(master, branch, axis=1)
    top = pca(n, 'pooled_rois/concat', n['pooled_rois/concat'], dim, dim=(0, dim, 1, 1), relu=relu,
              **rates(train))
    return aggregate(n, 'rmac', top, None if train else rois, num_rois=NUM_ROIS)


def pca_concat_pca(n, trunk, rois, dim, train=False):
    """The R-MACs of stage 4 (with half the dimensions) and stage 5, projected together."""
    how = dict(sums(train), **rates(train))
    if not train:
        how['param_str'] = {'batch_size': 1, **how['param_str']}
    branch = rmac(n, trunk.features(n, 4), rois, dim // 2, suffix='_branch_1',
                  dim=(0, dim // 2, 1, 1), **how)
    master = rmac(n, trunk.features(n, 5), rois, dim, dim=(0, dim, 1, 1), **how)
    n['rmac/concat'] = L.Concat(branch, master, axis=1)
    return pca(n, 'rmac', n['rmac/concat'], dim, dim=(0, dim, 1, 1), **rates(train))
