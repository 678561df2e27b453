"""Scripts with subcommands: a table of functions, and the flags that they share.

    def count_items(args):
        \"\"\"Print how many groups there are.\"\"\"        # the subcommand's help
        ...

    FLAGS = {'groups': dict(default='groups.txt', help='file of groups')}
    MODES = {'count_items': (count_items, 'groups')}

    if __name__ == '__main__':
        subcommands.run(__doc__, MODES, FLAGS)

An entry of MODES is (function, 'names of its flags'[, {flag: default}]), where the flags are
defined in FLAGS or SHARED; `args.mode` is the subcommand's name. A name of two words, such as
'import resnet', is a subcommand of a subcommand. Every subcommand also has --debug. Only scripts
import this module. It imports nothing heavy, so `--help` is fast; functions import what they need.
"""

import argparse
import os
from typing import TYPE_CHECKING

from deep_retrieval import cli

if TYPE_CHECKING:
    from deep_retrieval.making.downloads import Service
    from deep_retrieval.making.fetching import Fetcher
    from deep_retrieval.making.folders import How

# flag -> its arguments for argparse
SHARED = {
    'link': dict(action='store_true',
                 help='make hard links instead of copies, if the file system supports it'),
    'overwrite': dict(action='store_true',
                      help='replace everything in an output folder that has other contents'),
    'skip_bad': dict(action='store_true', help='leave out damaged images, with a warning'),
    'jobs': dict(type=cli.positive, default=os.cpu_count() or 1, help='number of threads'),
    'seed': dict(type=cli.natural, default=0, help='random seed'),
    'height': dict(type=cli.positive, help='height of the new images in pixels'),
    'width': dict(type=cli.positive, help='width of the new images in pixels'),
    'delete': dict(action='store_true', help='delete, instead of listing what would be deleted'),
}
FETCH_FLAGS = {
    'timeout': dict(type=float, default=30,
                    help='seconds without an answer after which a try fails'),
    'tries': dict(type=cli.positive, default=10,
                  help='consecutive tries without progress before a file counts as broken'),
    'pause': dict(type=float, default=0.5, metavar='SECONDS',
                  help='pause before the second try; doubled for each further try'),
    'largest': dict(type=cli.positive, default=100_000_000, metavar='BYTES',
                    help='maximum size of an image'),
    'jobs': dict(type=cli.positive, default=8, help='number of parallel downloads'),
    'service': dict(metavar='URL', help='URL that returns JSON for an id, with {id} in its place'),
    'cover_field': dict(default='cover', metavar='NAME',
                        help="path of the cover's URL in the JSON: keys, or indices of lists, "
                             'separated by dots'),
}
MAKING = 'overwrite skip_bad jobs'              # flags of commands that make a folder of images
COPYING = f'link {MAKING}'                      # flags of commands that copy images
TRYING = 'timeout tries pause'                  # flags of `fetcher`
FETCHING = f'{TRYING} largest jobs overwrite'   # flags of commands that fetch a folder of images
SERVICE = 'service cover_field'                 # flags of commands that get URLs from a service


def parse(doc: str, modes: dict, flags: dict, argv: list[str] | None = None) -> argparse.Namespace:
    """Parse a command line.

    Parameters
    ----------
    doc : docstring of the script
    modes : subcommand -> (function, names of its flags[, defaults])
    flags : flag -> its arguments for argparse; they extend or replace those of SHARED
    argv : command line; by default that of the process

    Returns
    -------
    Namespace
        The flags, `mode`, and `function`, to be called with them.
    """
    flags = {**SHARED, **flags}
    parser = cli.parser(doc)
    subparsers = {'': parser.add_subparsers(dest='mode', required=True, metavar='SUBCOMMAND')}
    for mode, (function, names, *defaults) in modes.items():
        group, _, word = mode.rpartition(' ')
        if group not in subparsers:
            subparsers[group] = _add_group(subparsers[''], group, modes)
        text = ' '.join(function.__doc__.split())
        sub = subparsers[group].add_parser(word, help=text.replace('%', '%%'), description=text,
                                           formatter_class=cli.HelpFormatter)
        for name in names.split():
            sub.add_argument(f'--{name}', **flags[name])
        cli.add_debug(sub)
        sub.set_defaults(function=function, mode=mode, **(defaults[0] if defaults else {}))
    return parser.parse_args(argv)


def _add_group(subparsers, group, modes):
    """Add the first word of names of two words; return the subparsers of the second."""
    words = ', '.join(mode.split()[1] for mode in modes if mode.startswith(f'{group} '))
    parser = subparsers.add_parser(group, help=f'One of {words}.', description=f'One of {words}.',
                                   formatter_class=cli.HelpFormatter)
    cli.add_debug(parser)
    return parser.add_subparsers(dest='mode', required=True, metavar='SUBCOMMAND')


def run(doc: str, modes: dict, flags: dict, argv: list[str] | None = None) -> None:
    """Parse a command line and call its function; user errors end in one line and exit status 1.

    Parameters are those of `parse`.
    """
    cli.run(lambda: parse(doc, modes, flags, argv), lambda args: args.function(args))


def how(args: argparse.Namespace) -> 'How':
    """Return the `making.folders.How` for the flags COPYING or MAKING."""
    from deep_retrieval.making.folders import How
    return How(getattr(args, 'link', False), args.overwrite, args.skip_bad, args.jobs)


def fetcher(args: argparse.Namespace) -> 'Fetcher':
    """Return the Fetcher for the flags TRYING, and --largest if the command has it."""
    from deep_retrieval.making.fetching import Fetcher
    return Fetcher(args.timeout, args.tries, args.pause, getattr(args, 'largest', None))


def service(args: argparse.Namespace) -> 'Service':
    """Return the Service for the flags SERVICE; ValueError without --service."""
    from deep_retrieval.making.downloads import Service
    if not args.service:
        raise ValueError('--service is required: the URL that returns JSON for an id, such as '
                         'http://HOST/article?id={id}')
    return Service(args.service, args.cover_field)


def size(args: argparse.Namespace) -> tuple[int, int]:
    """Return the height and width of the images to make."""
    return args.height, args.width


def share(text: str) -> float:
    """Argparse type: a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{text} is not from 0 to 1')
    return value


def say_made(folder: str | os.PathLike, count: int, unit: str = 'images') -> None:
    """Print what was made."""
    print(f'{folder}: {count} {unit}')
