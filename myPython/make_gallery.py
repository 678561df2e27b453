#!/usr/bin/env python3
"""Show rankings or groups as a gallery of static HTML pages, or groups as one picture.

    python myPython/make_gallery.py ranking --rankings tmp/demo --dataset datasets/demo \\
        --features tmp/demo/Oxford_S512_L2 --output tmp/gallery
    python myPython/make_gallery.py groups --mapped tmp/mapped.txt \\
        --images datasets/demo_cover/images --truth datasets/demo_cover/groups.txt

`make_gallery.py -h` lists the subcommands, `make_gallery.py SUBCOMMAND -h` the flags of one.
"""

import os

from deep_retrieval import cli, paths, subcommands
from deep_retrieval.datasets import DATASETS


def ranking(args):
    """Show rankings of test.py: each query with its first hits, marked by the ground truth."""
    import deep_retrieval as dr
    from deep_retrieval.gallery import show
    dataset = dr.open_dataset(args.dataset, args.dataset_name)
    tell(args, 'queries', show.rankings(
        args.output, dataset, args.rankings, args.features, **page_options(args)))


def groups(args):
    """Show the groups of a mapped file: each anchor with its items."""
    from deep_retrieval.gallery import show
    tell(args, 'groups', show.groups(
        args.output, args.mapped, args.images, truth=args.truth, most=args.groups,
        anchors=args.anchors, **page_options(args)))


def strip(args):
    """Draw anchors of a mapped file with their first items as one picture, one row per anchor."""
    from deep_retrieval.gallery import show
    done = show.strip(args.output, args.mapped, args.images, truth=args.truth, top=args.top,
                      most=args.groups, anchors=args.anchors)
    print(f'{args.output}: {done.rows} rows')


def page_options(args):
    """Return the values of the flags that all galleries have."""
    return {'top': args.top, 'title': args.title, 'per_page': args.per_page, 'side': args.thumb,
            'overwrite': args.overwrite}


def tell(args, noun, done):
    """Print what was written."""
    print(f'{os.path.join(args.output, "index.html")}: {done.entries} {noun}, {done.pictures} '
          f'pictures, pages: {done.pages}')


# flag -> its arguments for argparse
FLAGS = {
    'rankings': dict(default=paths.TEMP, help='folder of NAME.rnk: the --temp_dir of test.py'),
    'dataset': dict(default=paths.OXFORD, help='folder with jpg/ and lab/'),
    'dataset_name': dict(choices=sorted(DATASETS),
                         help='layout of that folder; by default it is recognized'),
    'features': dict(nargs='+', metavar='STEM',
                     help="show similarities, computed from test.py's features STEM_queries.npy "
                          'and STEM_dataset.npy; those of several STEMs are summed'),
    'mapped': dict(default=paths.TEMP / 'mapped.txt',
                   help='mapped file, one line ANCHOR<TAB>ITEM:SCORE ITEM:SCORE ... per group'),
    'images': dict(default=paths.DATASETS / 'demo_cover/images',
                   help='folder that the names in the mapped file are relative to'),
    'truth': dict(metavar='FILE',
                  help='mark hits by this ground truth, one line ID<TAB>NAME NAME ... per group'),
    'groups': dict(type=cli.positive, default=10000, help='groups to show, in file order'),
    'anchors': dict(nargs='+', metavar='NAME', help='show only the groups of these anchors'),
    'top': dict(type=cli.positive, default=50, help='hits to show per query or group'),
    'output': dict(default=paths.TEMP / 'gallery', help='folder to make'),
    'title': dict(help='heading of the pages'),
    'per_page': dict(type=cli.positive, default=20, help='queries or groups per page'),
    'thumb': dict(type=cli.positive, default=256, help='longest side of a thumbnail in pixels'),
    'overwrite': dict(action='store_true',
                      help='delete the contents of the output folder, even if it is not a gallery'),
}
PAGES = 'top output title per_page thumb overwrite'
MAPPED = 'mapped images truth groups anchors'

# subcommand -> its function, flags, and other defaults
MODES = {
    'ranking': (ranking, f'rankings dataset dataset_name features {PAGES}'),
    'groups': (groups, f'{MAPPED} {PAGES}'),
    'strip': (strip, f'{MAPPED} top output',
              {'groups': 5, 'top': 5, 'output': paths.TEMP / 'strip.png'}),
}


def main(argv=None):
    subcommands.run(__doc__, MODES, FLAGS, argv)


if __name__ == '__main__':
    main()
