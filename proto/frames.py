"""Shared by all nets: the two sizes, deploy nets, training nets and solvers.

Each net is a function of a Size. With FULL it is the original's net; with TINY it is its
counterpart in proto/tiny/: the same layers on a narrow trunk, which trains in minutes on a CPU.
lite_nets.py has the Sizes of the EfficientNet-Lite trunks.
"""

from dataclasses import dataclass

from blocks import RESNET50, RESNET101, RESNET_TINY, Trunk
from caffe import NetSpec
from caffe import layers as L
from caffe.proto import caffe_pb2
from data_layers import MEAN

NUM_ROIS = 8                # regions of a 4:3 image at L = 2
ROIS = [NUM_ROIS, 5]
IMAGE = [1, 3, 384, 512]    # initial shape of deploy nets; callers reshape them
SQUARE = [1, 3, 224, 224]


@dataclass(frozen=True)
class Size:
    """The differences between a net and its tiny counterpart."""
    folder: str         # of its nets, below proto/
    trunk: Trunk
    trunk50: Trunk      # of ResNet-50
    file: str           # the trunk's name in file names
    file50: str
    name: str           # and in names of nets
    name50: str
    dim: int            # of the descriptor
    reduced: int        # of the reduced descriptor
    datasets: str       # folder of the training data
    own_grids: bool     # images and regions have the original's sizes; otherwise any 4:3 size
    sides: tuple        # (h, w) of the teacher's low, middle and high resolution
    hurry: int          # number of the original's iterations that one iteration replaces
    solver_mode: str
    mean: tuple = tuple(MEAN)   # of the input: B, G, R

    def path(self, template):
        """Return a path in proto/ from a template with {file}, {dim}, {reduced} and {half}."""
        return self.folder + template.format(half=self.reduced // 2, **vars(self))

    def grid(self, dataset):
        """Return the `dataset` that defines the images' regions; 'other' for their own size."""
        return dataset if self.own_grids else 'other'


FULL = Size(
    folder='', trunk=RESNET101, trunk50=RESNET50, file='resnet101', file50='resnet50',
    name='ResNet-101', name50='ResNet-50', dim=2048, reduced=512,
    datasets='datasets', own_grids=True, sides=((192, 256), (384, 512), (576, 768)),
    hurry=1, solver_mode='GPU')

TINY = Size(
    folder='tiny/', trunk=RESNET_TINY, trunk50=RESNET_TINY._replace(conv1_bias=True),
    file='resnet_tiny', file50='resnet50_tiny', name='ResNet-tiny', name50='ResNet-50-tiny',
    dim=128, reduced=32,
    datasets='datasets/tiny', own_grids=False, sides=((144, 192), (288, 384), (432, 576)),
    hurry=100, solver_mode='CPU')


def named(name, n):
    """Return the net of a NetSpec with the given name."""
    net = n.to_proto()
    net.name = name
    return net


def deploy(size, head, trunk=None, data=IMAGE, rois=ROIS):
    """Return a net with inputs `data` and `rois` of these shapes and head(n, trunk, rois)."""
    trunk = trunk or size.trunk
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=data))
    n.rois = L.Input(shape=dict(dim=rois))
    trunk.build(n, n.data)
    head(n, trunk, n.rois)
    return named(size.name, n)


def merge_phases(train, test, apart=()):
    """Merge two nets whose layers have the same names in the same order into one.

    Equal layers are written once; different ones, and those in `apart`, once per phase.
    """
    net = caffe_pb2.NetParameter(name=train.name)
    for in_train, in_test in zip(train.layer, test.layer, strict=True):
        if in_train.name != in_test.name:
            raise ValueError(f'{train.name}: layer {in_train.name} of the training net is '
                             f'{in_test.name} in the test net')
        if in_train == in_test and in_train.name not in apart:
            net.layer.append(in_train)
            continue
        for phase, layer in ((caffe_pb2.TRAIN, in_train), (caffe_pb2.TEST, in_test)):
            net.layer.append(layer)
            net.layer[-1].include.add(phase=phase)
    return net


def solver(size, net, snapshot_prefix, base_lr, tiny_lr, max_iter, snapshot, stepvalue=(),
           test_iter=0, test_interval=100000, **fields):
    """Return a SolverParameter for `net`, a path template of `size`; numbers are those of FULL.

    `tiny_lr` is the base_lr of TINY. Snapshots are
    caffemodel/FILE_`snapshot_prefix`_iter_N.caffemodel, where FILE is `file` of the size.
    """
    return caffe_pb2.SolverParameter(
        net=f'proto/{size.path(net)}', base_lr=base_lr if size is FULL else tiny_lr,
        max_iter=max_iter // size.hurry, snapshot=snapshot // size.hurry,
        stepvalue=[step // size.hurry for step in stepvalue],
        test_iter=[test_iter], test_interval=test_interval // size.hurry,
        momentum=0.9, weight_decay=0.0001, display=100 if size is FULL else 10,
        solver_mode=size.solver_mode,
        snapshot_prefix=f'caffemodel/{size.file}_{snapshot_prefix}', **fields)
