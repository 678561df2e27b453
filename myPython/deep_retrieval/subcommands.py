"""What the helpers' commands share: subcommands from tables, and flags that many of them have.

    MODES = {'count_items': (count_items, 'groups'), ...}       # function(args), its flags
    if __name__ == '__main__':
        subcommands.run(__doc__, MODES, FLAGS)
"""

import argparse
import os

from deep_retrieval import cli

# flag -> its arguments for argparse
SHARED = {
    'link': dict(action='store_true',
                 help='make hard links instead of copies, where the disk can'),
    'overwrite': dict(action='store_true',
                      help='replace all that the output folder holds, if it is something else'),
    'skip_bad': dict(action='store_true', help='leave damaged images out, and name them'),
    'jobs': dict(type=cli.positive, default=os.cpu_count() or 1, help='threads that work'),
    'seed': dict(type=cli.natural, default=0, help='seed of everything random'),
    'height': dict(type=cli.positive, help='of the images to make, in pixels'),
    'width': dict(type=cli.positive, help='of the images to make, in pixels'),
    'delete': dict(action='store_true', help='delete, instead of saying what would be deleted'),
}
FETCH_FLAGS = {
    'timeout': dict(type=float, default=30, help='seconds without an answer that end a try'),
    'tries': dict(type=cli.positive, default=10, help='of an image, before it counts as broken'),
    'pause': dict(type=float, default=0.5, metavar='SECONDS',
                  help='before the second try; it doubles from one to the next'),
    'largest': dict(type=cli.positive, default=100_000_000, metavar='BYTES',
                    help='that an image may have'),
    'jobs': dict(type=cli.positive, default=8, help='downloads at once'),
    'service': dict(metavar='URL', help='URL that gives the JSON of an id, with {id} in it'),
    'cover_field': dict(default='cover', metavar='NAME',
                        help="where the JSON has the cover's URL: names with dots between, and "
                             'numbers in lists'),
}
MAKING = 'overwrite skip_bad jobs'      # the flags of what makes a folder of images
COPYING = f'link {MAKING}'              # and of what copies them


def parse(doc, modes, flags, argv=None):
    """The arguments of a helper's command line.

    modes : subcommand -> (function, names of its flags, and optionally a dict of defaults)
    flags : flag -> its arguments for argparse, in addition to SHARED
    """
    flags = {**SHARED, **flags}
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    subparsers = parser.add_subparsers(dest='mode', required=True, metavar='SUBCOMMAND')
    for mode, (function, names, *defaults) in modes.items():
        text = ' '.join(function.__doc__.split()).replace('%', '%%')
        sub = subparsers.add_parser(mode, help=text, description=text,
                                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        for name in names.split():
            sub.add_argument(f'--{name}', **flags[name])
        cli.add_debug(sub)
        sub.set_defaults(function=function, **(defaults[0] if defaults else {}))
    return parser.parse_args(argv)


def run(doc, modes, flags, argv=None):
    """Do what a helper's command line says; errors end in one line and exit status 1."""
    args = parse(doc, modes, flags, argv)
    with cli.user_errors(getattr(args, 'debug', False)):
        args.function(args)


def how(args):
    """The How of a command's flags."""
    from deep_retrieval.making.folders import How
    return How(getattr(args, 'link', False), args.overwrite, args.skip_bad, args.jobs)


def size(args):
    """Height and width of the images to make."""
    return args.height, args.width


def share(text):
    """An argparse type: a part, from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{text} is not from 0 to 1')
    return value


def say_made(folder, count, unit='images'):
    """Print what has been made."""
    print(f'{folder}: {count} {unit}')
