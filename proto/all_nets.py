"""The table of all nets and solvers, NETS: path relative to proto/ -> function that returns it."""

from functools import partial

import class_nets
import distilling_nets
import heads
import lite_nets
import metric_nets
import offline_nets
from frames import FULL, SQUARE, TINY, deploy


def deploy_whole(size):
    """The released net."""
    return deploy(size, partial(heads.whole, dim=size.dim), data=SQUARE)


def deploy_whole_normpython(size):
    """The released net without layers that only forks of Caffe have."""
    return deploy(size, partial(heads.whole_in_python, dim=size.dim), data=[1, 3, 512, 512],
                  rois=[1, 1, 1, 5])


WHOLE = {
    'deploy_{file}.prototxt': deploy_whole,
    'deploy_{file}_normpython.prototxt': deploy_whole_normpython,
}
FAMILIES = [distilling_nets.NETS, metric_nets.NETS, offline_nets.NETS]

NETS = {template.format(file=size.file): partial(net, size)
        for size in (FULL, TINY) for template, net in WHOLE.items()}
NETS.update({size.path(template): partial(net, size) for size in (FULL, TINY)
             for family in FAMILIES for template, net in family.items()})
NETS.update({TINY.path(template): partial(net, TINY)
             for template, net in class_nets.NETS.items()})
NETS.update({size.path(template): partial(net, size) for size in lite_nets.SIZES.values()
             for template, net in lite_nets.NETS.items()})
# trunk -> the nets of the families on it; only those on Lite0 are in the repository
LITE = {file: {size.path(template): partial(net, size)
               for template, net in lite_nets.FAMILIES.items()}
        for file, size in lite_nets.SIZES.items()}
NETS.update(LITE['lite0'])
