"""The nets for distilling: teachers with three resolutions, and students with one.

A student learns the teacher's descriptors of its images with the Euclidean loss.
"""

from functools import partial

import heads
from blocks import (
    FROZEN,
    Branch,
    default_param,
    frozen,
    normalize,
    params,
    python_layer,
    shared,
    stage,
    stem,
)
from caffe import NetSpec
from caffe import layers as L
from data_layers import COVER, LANDMARK, OXFORD, PARIS, grid, images_with_features
from frames import IMAGE, SQUARE, deploy, merge_phases, named, solver


def teacher(size, dim):
    """The normalized sum of the net's descriptors at three resolutions of `data`."""
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=IMAGE))
    prefixes = ('l_', 'm_', 'h_')
    for prefix, (h, w) in zip(prefixes, size.sides, strict=True):
        param_str = {'h': h, 'w': w, 'mean': size.mean}
        n[f'{prefix}resize'] = python_layer('ResizeLayer', param_str, n.data)
    for prefix in prefixes:
        grid(n, size, 'other', f'{prefix}resize', f'{prefix}rois')
    head = heads.whole if dim == size.dim else heads.reduced
    learned = dict(heads.frozen_by_name(), pca_param=params(FROZEN, FROZEN))
    tops = []
    for branch in (Branch(n, prefix) for prefix in prefixes):
        size.trunk.build(branch, branch['resize'], param=shared)
        tops.append(head(branch, size.trunk, branch['rois'], dim, **learned))
    n['rmac/eltwise'] = L.Eltwise(*tops)
    normalize(n, 'rmac/eltwise/normalized', n['rmac/eltwise'])
    return named(size.name, n)


def frozen_trunk(n, trunk):
    trunk.build(n, n.data, param=frozen)


def last_stage_learns(n, trunk):
    """Stage 5 learns, and its BatchNorms use the statistics of the batch."""
    top = stem(n, n.data, trunk, param=frozen)
    for number in range(2, 5):
        top = stage(n, top, trunk, number, param=frozen)
    stage(n, top, trunk, 5, param=default_param, use_global_stats=False)


def whole_trunk_learns(n, trunk):
    trunk.build(n, n.data, eltwise=dict(operation='SUM'), use_global_stats=False,
                weight_filler=dict(type='msra'))


def student(size, head, train, test, trunk_layers=frozen_trunk, trunk=None, name=None, apart=()):
    """The net that learns features with head(n, trunk, rois, train) on a trunk of `trunk_layers`.

    `train` and `test` are pairs of a Source and a batch size.
    """
    trunk = trunk or size.trunk

    def phase(source, batch_size):
        n = NetSpec()
        rois = images_with_features(n, size, source, batch_size)
        trunk_layers(n, trunk)
        n.loss = L.EuclideanLoss(n.features, head(n, trunk, rois, train=True))
        return named(name or size.name, n)

    return merge_phases(phase(*train), phase(*test), apart)


def eltwise_student(size, source=COVER, trunk_layers=frozen_trunk):
    return student(size, partial(heads.eltwise, dim=size.dim), (source, 16), (OXFORD, 4),
                   trunk_layers, apart=['rois'])


def concat_student(size, relu=False):
    return student(size, partial(heads.concat, dim=size.dim, relu=relu), (PARIS, 16), (OXFORD, 4))


def pca_concat_pca_student(size):
    return student(size, partial(heads.pca_concat_pca, dim=size.dim), (PARIS, 16), (OXFORD, 4),
                   apart=['loss'])


def reduced_student(size, **trunk):
    head = partial(heads.reduced, dim=size.reduced, **heads.rates_by_name())
    return student(size, head, (LANDMARK, 8), (LANDMARK, 1), apart=['features'], **trunk)


def resnet50_student(size):
    return reduced_student(size, trunk_layers=whole_trunk_learns, trunk=size.trunk50,
                           name=size.name50)


def deploy_eltwise(size):
    return deploy(size, partial(heads.eltwise, dim=size.dim), data=SQUARE)


def deploy_concat(size):
    return deploy(size, partial(heads.concat, dim=size.dim))


def deploy_pca_concat_pca(size):
    return deploy(size, partial(heads.pca_concat_pca, dim=size.dim))


def deploy_resnet50(size):
    # the original calls it ResNet-101
    return deploy(size, partial(heads.reduced, dim=size.reduced), trunk=size.trunk50)


def deploy_reduced(size):
    return deploy(size, partial(heads.reduced, dim=size.reduced))


def distilling_solver(size):
    return solver(size, 'distilling/pca{reduced}/train_{file}_student_pca{reduced}.prototxt',
                  'distilling', base_lr=0.00005, tiny_lr=0.001, lr_policy='multistep', gamma=0.5,
                  stepvalue=[7928, 15856, 23784, 31712], max_iter=39640, snapshot=10000)


NETS = {
    'distilling/deploy_{file}_teacher_pca{dim}.prototxt': lambda size: teacher(size, size.dim),
    'distilling/deploy_{file}_teacher_pca{reduced}.prototxt':
        lambda size: teacher(size, size.reduced),
    'distilling/1x1conv-eltwise-pca/deploy_{file}_student.prototxt': deploy_eltwise,
    'distilling/1x1conv-eltwise-pca/train_{file}_student.prototxt': eltwise_student,
    'distilling/1x1conv-eltwise-pca/train_{file}_student_sum.prototxt':
        partial(eltwise_student, source=PARIS, trunk_layers=last_stage_learns),
    'distilling/ResNet-50-pca{reduced}/deploy_{file50}_pca{reduced}.prototxt': deploy_resnet50,
    'distilling/ResNet-50-pca{reduced}/train_{file50}_student_pca{reduced}.prototxt':
        resnet50_student,
    'distilling/concat-pca/non-relu/deploy_{file}_student.prototxt': deploy_concat,
    'distilling/concat-pca/non-relu/train_{file}_student.prototxt': concat_student,
    'distilling/concat-pca/relu/deploy_{file}_student.prototxt': deploy_concat,
    'distilling/concat-pca/relu/train_{file}_student.prototxt': partial(concat_student, relu=True),
    'distilling/pca-concat-pca/deploy_{file}_student.prototxt': deploy_pca_concat_pca,
    'distilling/pca-concat-pca/train_{file}_student.prototxt': pca_concat_pca_student,
    'distilling/pca{reduced}/deploy_{file}_pca{reduced}.prototxt': deploy_reduced,
    'distilling/pca{reduced}/train_{file}_student_pca{reduced}.prototxt': reduced_student,
    'distilling/train_{file}_distilling_solver.prototxt': distilling_solver,
}
