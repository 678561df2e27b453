"""Describe, search, group and evaluate images from the command line.

    python -m deep_retrieval groups holiday_photos/
    python -m deep_retrieval search query.jpg holiday_photos/
    python -m deep_retrieval describe holiday_photos/
    python -m deep_retrieval evaluate datasets/Oxford --multires

Descriptors are cached, so a second command on the same folder only describes new images.
`python -m deep_retrieval COMMAND -h` lists the flags of a command.
"""

import argparse
import hashlib
import os
import re
from collections.abc import Callable

import deep_retrieval as dr
from deep_retrieval import cli, paths

COMMANDS = {}


def command(function: Callable) -> Callable:
    """Register a command; its docstring is its help."""
    COMMANDS[function.__name__] = function
    return function


@command
def describe(args: argparse.Namespace) -> None:
    """describe the images of a folder, and cache the descriptors"""
    photos = _photos(args)
    print(f'{photos.path}: {len(photos)} x {photos.dim}{_bad(photos)}')


@command
def search(args: argparse.Namespace) -> None:
    """print the images of a folder that are most similar to a picture"""
    model = cli.load_model(args)
    query = dr.describe(model, [args.picture], multires=args.multires)
    if not len(query):
        raise ValueError(f'{args.picture}: {query.bad[args.picture]}')
    for hit in dr.search(_photos(args, model), query, top=args.top)[0]:
        print(f'{hit.similarity:.4f}  {hit.name}')


@command
def groups(args: argparse.Namespace) -> None:
    """find groups of near-duplicate images in a folder, and make a gallery of them"""
    from deep_retrieval.duplicates.groups import default_threshold
    photos = _photos(args)
    threshold = default_threshold(photos) if args.threshold is None else args.threshold
    found = dr.find_groups(photos, threshold, components=args.components)
    count = sum(1 + len(group.hits) for group in found)
    for group in found[:args.show]:
        hits = ', '.join(f'{hit.name} ({hit.similarity:.3f})' for hit in group.hits[:4])
        more = f' and {len(group.hits) - 4} more' if len(group.hits) > 4 else ''
        print(f'{group.anchor}: {hits}{more}')
    if len(found) > args.show:
        print(f'... and {_count(len(found) - args.show, "more group")} (--show)')
    print(f'{_count(len(found), "group")} at a similarity of at least {threshold:g}; '
          f'{count} of {_count(len(photos), "image")}{_bad(photos)}')
    if found:
        output = args.output or os.path.join(photos.path, 'gallery')
        dr.gallery(found, photos, output, overwrite=args.overwrite)
        print(f'gallery: {os.path.join(output, "index.html")}')


@command
def evaluate(args: argparse.Namespace) -> None:
    """score the model on a dataset"""
    dataset = dr.open_dataset(args.dataset, args.dataset_name, gnd=args.gnd)
    result = dr.evaluate(cli.load_model(args), dataset, multires=args.multires, aqe=args.aqe,
                         dbe=args.dbe, query_crop=args.query_crop, cache=args.cache)
    print(*result.lines(), sep='\n')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='deep_retrieval', description=__doc__.splitlines()[0])
    modes = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    made = {}
    for name, function in COMMANDS.items():
        made[name] = sub = modes.add_parser(
            name, help=function.__doc__, description=function.__doc__,
            formatter_class=cli.HelpFormatter)
        sub.set_defaults(function=function)
    made['search'].add_argument('picture', help='the picture to search for')
    for name in ('describe', 'search', 'groups'):
        made[name].add_argument('folder', help='folder of images, searched recursively')
    made['evaluate'].add_argument('dataset', help='folder of the dataset, or nothing for Oxford',
                                  nargs='?', default=paths.OXFORD)
    for sub in made.values():
        _add_model_flags(sub)
    for name, more in (('describe', ''), ('search', ''),
                       ('groups', ', and what --output holds, even if it is not a gallery')):
        made[name].add_argument('--overwrite', action='store_true', help='discard what --cache '
                                f'holds if it was made from something else{more}')
    made['search'].add_argument('--top', type=cli.positive, default=10, help='images to print')
    _add_groups_flags(made['groups'])
    _add_evaluate_flags(made['evaluate'])
    return parser.parse_args(argv)


def _add_model_flags(parser):
    cli.add_model_flags(parser, weights=None)
    cli.add_multires(parser, 'papers')
    parser.add_argument('--cache', type=cli.path,
                        help='folder for the descriptors; by default one in '
                        f'{paths.shown(paths.TEMP)}, named after the folder and the model')
    cli.add_debug(parser)


def _add_groups_flags(parser):
    parser.add_argument('--threshold', type=float,
                        help='minimum similarity (cosine) of an image to its group; by default the '
                             "one in the weights' json for a precision of 95 %%, or 0.75")
    parser.add_argument('--components', action='store_true',
                        help='group all images that are connected by chains of similar images')
    parser.add_argument('--output', type=cli.path,
                        help="folder of the gallery; by default `gallery` in the "
                        "descriptors' folder")
    parser.add_argument('--show', type=cli.natural, default=20, help='number of groups to print')


def _add_evaluate_flags(parser):
    from deep_retrieval.datasets import DATASETS
    parser.add_argument('--dataset_name', choices=sorted(DATASETS),
                        help='how the folder is read; by default its layout decides. Paris has '
                             "Oxford's layout, and damaged images to ignore")
    parser.add_argument('--gnd', metavar='FILE', help='score with the revisited protocols and this '
                        'gnd_*.json')
    parser.add_argument('--aqe', type=cli.positive, metavar='K',
                        help='average each query with its K nearest images')
    parser.add_argument('--dbe', type=cli.positive, metavar='K',
                        help='average each image with its K nearest images')
    parser.add_argument('--query_crop', choices=('roi', 'full'), default='roi',
                        help="the query's box (the published protocol) or its full image")


def _photos(args, model=None):
    """Return the described images of the folder, from the cache if possible."""
    if not os.path.isdir(args.folder):
        raise ValueError(f'{args.folder}: is not a folder')
    model = model or cli.load_model(args)
    cache = args.cache or _cache_of(args.folder, model, args.multires)
    return dr.describe(model, args.folder, multires=args.multires, cache=cache,
                       overwrite=args.overwrite)


def _cache_of(folder, model, multires):
    """Return a cache folder, different for each folder of images, model, S and set of scales."""
    folder = os.path.realpath(folder)
    key = [folder, sorted(model.made_from.items()), model.S, multires]
    digest = hashlib.sha256(repr(key).encode('utf-8', 'surrogateescape')).hexdigest()[:8]
    name = re.sub(r'[^\w-]+', '_', os.path.basename(folder)) or 'root'
    return os.path.join(paths.TEMP, 'described', f'{name}-{digest}')


def _bad(photos):
    return (f'; {_count(len(photos.bad), "damaged image")} left out, see bad.txt' if photos.bad
            else '')


def _count(number, noun):
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def main(argv: list[str] | None = None) -> None:
    cli.run(lambda: parse_args(argv), lambda args: args.function(args))


if __name__ == '__main__':
    main()
