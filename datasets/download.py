#!/usr/bin/env python3
"""Download Oxford 5k or Paris 6k from the Visual Geometry Group, and lay it out for test.py.

    python datasets/download.py oxford
    python datasets/download.py paris --archive ~/paris_1-v1.tgz ~/paris_2-v1.tgz

Images go into jpg/, the ground truth into lab/. To resume an interrupted command, run it again.
Please read the terms of use first, on the datasets' home pages:
https://www.robots.ox.ac.uk/~vgg/data/oxbuildings/ and .../parisbuildings/.
"""

from deep_retrieval import subcommands
from deep_retrieval.paths import DATASETS


def oxford(args):
    """Oxford 5k: oxbuild_images-v1.tgz, gt_files_170407.tgz."""
    download(args, 'Oxford')


def paris(args):
    """Paris 6k: paris_1-v1.tgz, paris_2-v1.tgz, paris_120310.tgz."""
    download(args, 'Paris')


def download(args, name):
    """Download a dataset according to the flags, and print its size."""
    from deep_retrieval.making.archives import download_dataset
    dataset = download_dataset(name, args.output, subcommands.fetcher(args), args.home,
                               args.archive, args.delete, args.overwrite)
    ignored = f' without the {len(dataset.ignored)} damaged ones' if dataset.ignored else ''
    print(f'{args.output}: {len(dataset.images)} images{ignored}, {len(dataset.queries)} queries')


FLAGS = {
    **subcommands.FETCH_FLAGS,
    'output': dict(help='folder to make'),
    'archive': dict(nargs='+', default=(), metavar='FILE',
                    help='archives that you already have, under their own names with or without '
                         '-v1; the others are downloaded'),
    'home': dict(metavar='URL', help="where the archives are; by default the group's website"),
    'delete': dict(action='store_true',
                   help='delete downloaded archives when everything is unpacked'),
    'overwrite': dict(action='store_true', help='replace existing files with other contents'),
}

NAMES = f'output archive home delete overwrite {subcommands.TRYING}'
MODES = {
    'oxford': (oxford, NAMES, {'output': DATASETS / 'Oxford'}),
    'paris': (paris, NAMES, {'output': DATASETS / 'Paris'}),
}

if __name__ == '__main__':
    subcommands.run(__doc__, MODES, FLAGS)
