#!/usr/bin/env python3
"""Make a gallery of rankings or groups: static HTML pages to open in a browser. Or a strip of them.

    python myPython/make_gallery.py ranking --rankings tmp/demo --dataset datasets/demo \\
        --features tmp/demo/Oxford_S512_L2 --output tmp/gallery
    python myPython/make_gallery.py groups --mapped tmp/mapped.txt \\
        --images datasets/demo_cover/images --truth datasets/demo_cover/groups.txt

`make_gallery.py -h` lists the subcommands, `make_gallery.py SUBCOMMAND -h` the flags of one.
"""

from pathlib import Path

import numpy as np
from deep_retrieval import cli, subcommands
from deep_retrieval.datasets import DATASETS, OXFORD_LAYOUT
from deep_retrieval.gallery import pages, picture, sources
from deep_retrieval.images import ImageError, read_image
from deep_retrieval.paths import ROOT

LOST = np.full((150, 200, 3), 225, np.uint8)    # stands in a strip for what cannot be read
MARKS = {True: 'positive', False: 'negative', None: None}
NAMED = 5       # pictures without an image that are named


def ranking(args):
    """Show rankings of test.py: each query and its first hits, marked by the ground truth."""
    dataset = DATASETS[args.dataset_name](args.dataset)
    known = set(dataset.images)
    similarities = args.features and sources.similarities(dataset, args.features, cli.warn)
    entries = sources.of_rankings(args.rankings, dataset, similarities, args.top, cli.warn)
    write(args, entries, lambda name: dataset.image_path(name) if name in known else None,
          f'Rankings of {Path(dataset.path).name}', 'queries', [args.dataset, args.rankings])


def groups(args):
    """Show the groups of a mapped file: each anchor and its items."""
    write(args, read_groups(args), pages.in_folder(args.images),
          f'Groups of {Path(args.mapped).name}', 'groups', [args.images, args.mapped])


def strip(args):
    """Draw anchors of a mapped file and their first items as one picture, a row an anchor."""
    locate, lost = pages.in_folder(args.images), []

    def read(name):
        try:
            return read_image(locate(name) or '')
        except ImageError:
            lost.append(name)
            return LOST
    rows = [picture.Row(read(entry.query),
                        [picture.Hit(read(hit.name), hit.similarity, hit.name, MARKS[hit.truth])
                         for hit in entry.hits], entry.query)
            for entry in read_groups(args, say=lambda line: None)]
    if not rows:
        raise ValueError(f'{args.mapped}: holds no groups to draw')
    picture.save(args.output, picture.strip(rows))
    print(f'{args.output}: {len(rows)} rows')
    tell_faults({'missing or damaged': lost})


def read_groups(args, say=cli.warn):
    """Entries of the mapped file that the flags name."""
    truth = sources.read_truth(args.truth, say) if args.truth else None
    return sources.of_groups(args.mapped, truth, args.top, args.groups, args.anchors, say)


def write(args, entries, locate, title, noun, inputs):
    """Write the gallery of the flags, and say what came of it."""
    done = pages.write(args.output, entries, locate, args.title or title, noun, args.per_page,
                       args.thumb, args.overwrite, inputs)
    print(f'{Path(args.output, "index.html")}: {done.entries} {noun}, {done.pictures} pictures, '
          f'pages: {done.pages}')
    tell_faults(done.faults)


def tell_faults(faults):
    """Say on stderr which pictures have no image: {what is wrong: names}."""
    for fault, names in faults.items():
        if names:
            some = ', '.join(names[:NAMED]) + (', ...' if len(names) > NAMED else '')
            cli.warn(f'{fault} pictures, shown as placeholders: {len(names)} ({some})')


# flag -> its arguments for argparse
FLAGS = {
    'rankings': dict(default=ROOT / 'tmp', help='folder of NAME.rnk: the --temp_dir of test.py'),
    'dataset': dict(default=ROOT / 'datasets/Oxford', help='folder that holds jpg/ and lab/'),
    'dataset_name': dict(choices=OXFORD_LAYOUT, default='Oxford',
                         help='how the folder is read: Paris has damaged images to ignore'),
    'features': dict(nargs='+', metavar='START',
                     help='show similarities: computed from START_queries.npy and '
                          'START_dataset.npy of test.py, summed where there are several'),
    'mapped': dict(default=ROOT / 'tmp/mapped.txt',
                   help='mapped file, a line ANCHOR<TAB>ITEM:SCORE ITEM:SCORE ... a group'),
    'images': dict(default=ROOT / 'datasets/demo_cover/images',
                   help='folder that the names in it are relative to'),
    'truth': dict(metavar='FILE',
                  help='mark hits by the ground truth, a line ID<TAB>NAME NAME ... a group'),
    'groups': dict(type=cli.positive, default=10000, help='groups to show, the first of the file'),
    'anchors': dict(nargs='+', metavar='NAME', help='show these anchors alone'),
    'top': dict(type=cli.positive, default=50, help='hits to show of each, the first'),
    'output': dict(default=ROOT / 'tmp/gallery', help='folder to make'),
    'title': dict(help='heading of the pages'),
    'per_page': dict(type=cli.positive, default=20, help='queries or groups on a page'),
    'thumb': dict(type=cli.positive, default=256, help='longest side of a thumbnail in pixels'),
    'overwrite': dict(action='store_true',
                      help='delete what the output folder holds, if that is no gallery'),
}
PAGES = 'top output title per_page thumb overwrite'
MAPPED = 'mapped images truth groups anchors'

# subcommand -> its function, flags, and other defaults
MODES = {
    'ranking': (ranking, f'rankings dataset dataset_name features {PAGES}'),
    'groups': (groups, f'{MAPPED} {PAGES}'),
    'strip': (strip, f'{MAPPED} top output',
              {'groups': 5, 'top': 5, 'output': ROOT / 'tmp/strip.png'}),
}


def main(argv=None):
    subcommands.run(__doc__, MODES, FLAGS, argv)


if __name__ == '__main__':
    main()
