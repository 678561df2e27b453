"""Write the nets of this folder.

    python proto/make_nets.py            # write all of them
    python proto/make_nets.py --check    # is each as this script writes it?

To add a net, write a function of its Size that returns it, in distilling_nets.py, metric_nets.py,
offline_nets.py or class_nets.py, and a line in the NETS there; blocks.py and heads.py are what nets
are made of.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import class_nets
import distilling_nets
import heads
import metric_nets
import offline_nets
from frames import FULL, SQUARE, TINY, deploy
from google.protobuf import text_format

FOLDER = Path(__file__).resolve().parent
FIRST_LINE = '# written by proto/make_nets.py\n'


def deploy_whole(size):
    """The released net."""
    return deploy(size, partial(heads.whole, dim=size.dim), data=SQUARE)


def deploy_whole_normpython(size):
    return deploy(size, partial(heads.whole_in_python, dim=size.dim), data=[1, 3, 512, 512],
                  rois=[1, 1, 1, 5])


WHOLE = {
    'deploy_{file}.prototxt': deploy_whole,
    'deploy_{file}_normpython.prototxt': deploy_whole_normpython,
}
FAMILIES = [distilling_nets.NETS, metric_nets.NETS, offline_nets.NETS]

# path below this folder -> function that returns the NetParameter or SolverParameter
NETS = {template.format(file=size.file): partial(net, size)
        for size in (FULL, TINY) for template, net in WHOLE.items()}
NETS.update({size.path(template): partial(net, size) for size in (FULL, TINY)
             for family in FAMILIES for template, net in family.items()})
NETS.update({TINY.path(template): partial(net, TINY)
             for template, net in class_nets.NETS.items()})


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
