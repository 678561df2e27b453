"""The nets that learn distances: triplet and lifted losses, and reductions to fewer dimensions."""

from functools import partial

import heads
from blocks import (
    FROZEN,
    Branch,
    aggregate,
    centre,
    params,
    project,
    python_layer,
    region_vectors,
    shared,
)
from caffe import NetSpec
from caffe import layers as L
from data_layers import (
    LANDMARK_CLASSES,
    LANDMARK_TEST_CLASSES,
    PARIS_TRIPLETS,
    grid,
    images_of_classes,
)
from distilling_nets import deploy_reduced, reduced_student
from frames import NUM_ROIS, deploy, merge_phases, named, solver

LEARNS = (1, 1), (2, 0)     # rates of a projection with named blobs


def lifted(size):
    """Lifted structured similarity, on batches of several images of one class and of others."""
    def phase(batch_size):
        n = NetSpec()
        images_of_classes(n, 'BinDataLayer', size, LANDMARK_CLASSES, batch_size,
                          tops=('data', 'label'), dataset=size.grid('landmark'))
        rois = grid(n, size, 'landmark')
        size.trunk.build(n, n.data, param=shared)
        top = heads.reduced(n, size.trunk, rois, size.reduced, train=True,
                            **heads.rates_by_name())
        n.loss = L.LiftedStructSimilaritySoftmaxLoss(
            top, n.label, lifted_struct_sim_softmax_loss_param=dict(margin=1))
        return named(f'{size.name}-Lifted', n)

    return merge_phases(phase(12), phase(1), apart=['rois'])


def triplet(size):
    """Three branches with shared weights: an image, one of its class, and one of another class."""
    def phase(batch_size):
        n = NetSpec()
        images_of_classes(n, 'TripletDataLayer', size, PARIS_TRIPLETS, batch_size,
                          tops=('data', 'p_data', 'n_data'))
        rois = grid(n, size, 'paris')
        tops = []
        for branch in (Branch(n, prefix) for prefix in ('', 'p_', 'n_')):
            size.trunk.build(branch, branch['data'], param=shared)
            tops.append(heads.reduced(branch, size.trunk, rois, size.reduced, train=True,
                                      **heads.rates_by_name(bias_decay=1)))
        n.loss = L.TripletLoss(*tops, margin=1)
        return named(size.name, n)

    return merge_phases(phase(2), phase(1))


def in_parallel(n, trunk, rois, size, train=False):
    """A shorter projection of the regions; the training net also has the full one, as target."""
    frozen = heads.frozen_by_name() if train else dict(centred_param=(), pca_param=())
    regions = region_vectors(n, 'pooled_rois', trunk.features(n, 5), rois)
    regions = centre(n, 'pooled_rois/centered', regions, frozen['centred_param'])
    name = f'pooled_rois_{size.reduced}/pca'
    top = project(n, name, regions, size.reduced,
                  param=params(*LEARNS, name=name) if train else ())
    short = aggregate(n, f'rmac_{size.reduced}', top, None if train else rois, num_rois=NUM_ROIS)
    if not train:
        return short
    top = project(n, 'pooled_rois/pca', regions, size.dim, param=frozen['pca_param'])
    return short, aggregate(n, 'rmac', top, num_rois=NUM_ROIS)


def in_series(n, trunk, rois, size, train=False):
    """A projection of the full descriptor; the deploy net has learning rates too."""
    whole = heads.whole(n, trunk, rois, size.dim, train, **heads.frozen_by_name())
    name = 'pooled_rois/shift'
    top = centre(n, name, whole, params(FROZEN, (2, 0), name=name))
    name = 'pooled_rois/reduce'
    return project(n, name, top, size.reduced, param=params(*LEARNS, name=name)), whole


def reduction(size, head):
    """A net whose `head` learns a short descriptor with the same distances as the full one."""
    def phase(folder):
        n = NetSpec()
        images_of_classes(n, 'BinDataWithoutLabelLayer', size, folder, 15,
                          dataset=size.grid('landmark'))
        rois = grid(n, size, 'landmark')
        size.trunk.build(n, n.data, param=shared)
        short, whole = head(n, size.trunk, rois, size, train=True)
        n.loss = python_layer('PairL2LossLayer', {}, short, whole, loss_weight=1)
        return named(f'{size.name}-Reduced', n)

    return merge_phases(phase(LANDMARK_CLASSES), phase(LANDMARK_TEST_CLASSES), apart=['rois'])


def deploy_reduction(size, head):
    return deploy(size, partial(head, size=size))


def deploy_half(size):
    return deploy(size, partial(heads.reduced, dim=size.reduced // 2))


def lifted_solver(size):
    return solver(size, 'triplet/pca{reduced}/train_{file}_lifted_pca{reduced}.prototxt',
                  # with ten times this rate, all descriptors of the tiny net become equal
                  'lifted', base_lr=0.0002, tiny_lr=0.0002, lr_policy='multistep', gamma=0.25,
                  stepvalue=[4166, 8332], max_iter=16664, snapshot=3000)


def reduction_solver(size, folder, **test):
    return solver(size, f'reduce/{folder}/' + 'train_{file}_reduce_pca{reduced}.prototxt',
                  f'reduce_{folder}', base_lr=0.00001, tiny_lr=0.001, lr_policy='fixed',
                  max_iter=51695, snapshot=5170, **test)


NETS = {
    'triplet/pca{reduced}/deploy_{file}_pca{half}.prototxt': deploy_half,
    'triplet/pca{reduced}/deploy_{file}_pca{reduced}.prototxt': deploy_reduced,
    'triplet/pca{reduced}/train_{file}_lifted_pca{reduced}.prototxt': lifted,
    'triplet/pca{reduced}/train_{file}_student_pca{reduced}.prototxt': reduced_student,
    'triplet/pca{reduced}/train_{file}_triplet_pca{reduced}.prototxt': triplet,
    'triplet/train_{file}_triplet_solver.prototxt': lifted_solver,
    'reduce/parallel/deploy_{file}_pca{reduced}.prototxt':
        partial(deploy_reduction, head=in_parallel),
    'reduce/parallel/train_{file}_reduce_pca{reduced}.prototxt':
        partial(reduction, head=in_parallel),
    'reduce/parallel/train_{file}_reduce_solver.prototxt':
        partial(reduction_solver, folder='parallel'),
    'reduce/serial/deploy_{file}_pca{reduced}.prototxt':
        partial(deploy_reduction, head=in_series),
    'reduce/serial/train_{file}_reduce_pca{reduced}.prototxt': partial(reduction, head=in_series),
    'reduce/serial/train_{file}_reduce_solver.prototxt':
        partial(reduction_solver, folder='serial', test_iter=80, test_interval=5170),
}
