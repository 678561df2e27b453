#!/usr/bin/env python3
"""Download Oxford 5k or Paris 6k from the Visual Geometry Group, and lay it out for test.py.

    python datasets/download.py oxford
    python datasets/download.py paris --archive ~/paris_1-v1.tgz ~/paris_2-v1.tgz

The images go flat into jpg/, the ground truth into lab/. An interrupted command goes on when it is
given again. Before, read the terms of use at the datasets' home:
https://www.robots.ox.ac.uk/~vgg/data/oxbuildings/ and .../parisbuildings/.
"""

import argparse
import json
import os
from pathlib import Path

from deep_retrieval import cli
from deep_retrieval.datasets import DATASETS
from deep_retrieval.files import write_aside
from deep_retrieval.listing import list_images
from deep_retrieval.making.fetching import Fetcher, fetch_with_bar
from deep_retrieval.making.unpacking import unpack
from deep_retrieval.paths import ROOT
from deep_retrieval.subcommands import FETCH_FLAGS

HOME = 'https://www.robots.ox.ac.uk/~vgg/data/'

# subcommand -> name of the dataset, its folder at HOME, and its archives
ARCHIVES = {
    'oxford': ('Oxford', 'oxbuildings/', ('oxbuild_images-v1.tgz', 'gt_files_170407.tgz')),
    'paris': ('Paris', 'parisbuildings/', ('paris_1-v1.tgz', 'paris_2-v1.tgz',
                                           'paris_120310.tgz')),
}
UNPACKED = 'unpacked.json'      # in archives/: the files that each archive gave


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    modes = parser.add_subparsers(dest='mode', required=True, metavar='DATASET')
    for mode, (name, folder, archives) in ARCHIVES.items():
        text = f'{name}: {", ".join(archives)}'
        sub = modes.add_parser(mode, help=text, description=text,
                               formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        sub.add_argument('--output', default=ROOT / 'datasets' / name, help='folder to make')
        sub.add_argument('--archive', nargs='+', default=(), metavar='FILE',
                         help='archives that are here already, by their names or those without '
                              '-v1; the other ones are downloaded')
        sub.add_argument('--home', default=HOME + folder, metavar='URL',
                         help='folder of the archives, at their home or another place')
        sub.add_argument('--delete', action='store_true',
                         help='delete downloaded archives when all is unpacked')
        sub.add_argument('--overwrite', action='store_true',
                         help='replace files that are there with other bytes')
        for flag in ('timeout', 'tries', 'pause'):
            sub.add_argument(f'--{flag}', **FETCH_FLAGS[flag])
    return parser.parse_args()


def main(args):
    name, _, archives = ARCHIVES[args.mode]
    given = match(args.archive, archives)
    folder = os.path.join(args.output, 'archives')
    os.makedirs(folder, exist_ok=True)
    done = read_unpacked(folder)
    for archive in archives:
        if archive in done and all(os.path.isfile(os.path.join(args.output, path))
                                   for path in done[archive]):
            cli.warn(f'{archive}: is unpacked already')
            continue
        path = given.get(archive) or download(args, archive, os.path.join(folder, archive))
        done[archive] = unpack(path, args.output, args.overwrite)
        text = json.dumps(done, indent=0, sort_keys=True) + '\n'
        write_aside(os.path.join(folder, UNPACKED), lambda file: file.write(os.fsencode(text)))
    tell_others(args.output, done)
    dataset = DATASETS[name](args.output)       # reads and checks all of it
    ignored = f' without the {len(dataset.ignored)} damaged ones' if dataset.ignored else ''
    print(f'{args.output}: {len(dataset.images)} images{ignored}, {len(dataset.queries)} queries')
    if args.delete:
        for archive in archives:
            Path(folder, archive).unlink(missing_ok=True)


def match(files, archives):
    """Archive's name -> the file given for it; ValueError for one that is none of them."""
    found = {}
    for file in files:
        name = os.path.basename(file)
        known = [archive for archive in archives if name in (archive, archive.replace('-v1', ''))]
        if not known:
            raise ValueError(f'{file}: is none of {", ".join(archives)}; give it that name')
        if not os.path.isfile(file):
            raise FileNotFoundError(2, 'there is no such file', file)
        found[known[0]] = file
    return found


def download(args, archive, path):
    """Fetch an archive, or go on with it; returns its path."""
    if not os.path.exists(path):
        fetch_with_bar(Fetcher(args.timeout, args.tries, args.pause), args.home + archive, path)
    return path


def tell_others(folder, done):
    """Warn of images in jpg/ that no archive gave: they would be ranked too."""
    known = {path for paths in done.values() for path in paths}
    others = [name for name in list_images(os.path.join(folder, 'jpg'))
              if f'jpg/{name}' not in known]
    if others:
        cli.warn(f'{folder}/jpg: holds {len(others)} images that are of no archive, as {others[0]}')


def read_unpacked(folder):
    """Archive's name -> paths of the files that it gave."""
    try:
        with open(os.path.join(folder, UNPACKED), encoding='utf-8',
                  errors='surrogateescape') as file:
            return json.load(file)
    except (FileNotFoundError, ValueError):
        return {}


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
