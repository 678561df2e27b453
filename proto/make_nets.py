"""Write the nets of this folder.

    python proto/make_nets.py            # write all of them
    python proto/make_nets.py --check    # is each as this script writes it?

To add a net, write a function that returns it and a line in NETS.
"""

import argparse
import sys
from pathlib import Path

from blocks import RESNET101, RESNET_TINY, resnet, rmac
from caffe import NetSpec
from caffe import layers as L
from google.protobuf import text_format

FOLDER = Path(__file__).resolve().parent
FIRST_LINE = '# written by proto/make_nets.py\n'


def named(name, n):
    """The net of a NetSpec, with a name of its own."""
    net = n.to_proto()
    net.name = name
    return net


def deploy(name, trunk, num_output, data, rois, **head):
    """A net from `data` and `rois` of these shapes to `rmac/normalized`, by rmac(**head)."""
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=data))
    n.rois = L.Input(shape=dict(dim=rois))
    features = resnet(n, n.data, trunk)
    rmac(n, features, n.rois, 4 * trunk.widths[-1], num_output, **head)
    return named(name, n)


def deploy_resnet101():
    return deploy('ResNet-101', RESNET101, 2048, [1, 3, 224, 224], [8, 5], num_rois=8)


def deploy_resnet101_normpython():
    return deploy('ResNet-101', RESNET101, 2048, [1, 3, 512, 512], [1, 1, 1, 5], python=True)


def deploy_resnet_tiny():
    return deploy('ResNet-tiny', RESNET_TINY, 64, [1, 3, 224, 224], [8, 5], num_rois=8)


def deploy_resnet_tiny_normpython():
    return deploy('ResNet-tiny', RESNET_TINY, 64, [1, 3, 512, 512], [1, 1, 1, 5], python=True)


NETS = {
    'deploy_resnet101.prototxt': deploy_resnet101,
    'deploy_resnet101_normpython.prototxt': deploy_resnet101_normpython,
    'deploy_resnet_tiny.prototxt': deploy_resnet_tiny,
    'deploy_resnet_tiny_normpython.prototxt': deploy_resnet_tiny_normpython,
}


def net_text(net):
    """The prototxt of a net."""
    return FIRST_LINE + text_format.MessageToString(net)


def write(folder):
    """Write every net of NETS below `folder`."""
    for path, net in NETS.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(net_text(net()))
        print(path)


def check(folder):
    """The paths of the nets that are missing below `folder` or not as they would be written."""
    return [path for path, net in NETS.items()
            if not (folder / path).is_file() or (folder / path).read_text() != net_text(net())]


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Write the nets of the folder proto.')
    parser.add_argument('--check', action='store_true',
                        help='write nothing; exit with 1 and the names of the nets that differ')
    return parser.parse_args(argv)


def main(args):
    try:
        if not args.check:
            write(FOLDER)
            return 0
        differing = check(FOLDER)
    except OSError as error:
        sys.exit(f'make_nets.py: {error}')
    for path in differing:
        print(f'{path} is not as make_nets.py writes it', file=sys.stderr)
    return 1 if differing else 0


if __name__ == '__main__':
    sys.exit(main(parse_args()))
