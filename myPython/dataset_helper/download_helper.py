#!/usr/bin/env python3
"""Download images by id from a news service: an id -> its JSON -> the cover's URL -> the image.

    python myPython/dataset_helper/download_helper.py download --ids ids.txt \\
        --service 'http://HOST/article?id={id}' --cover_field data.cover

An interrupted command goes on when it is given again, inside a file where the server can. In the
output folder, finished.txt has the ids that are there, broken.txt those that are not and why.
"""

import os

from tqdm import tqdm

import cli
from dataset_helper import subcommands
from dataset_helper.downloads import BROKEN, Download, Service, check_id, download_all
from dataset_helper.fetching import Fetcher
from dataset_helper.making import prepare
from dataset_helper.subcommands import DATASETS, say_made
from pairs import mapped_files


def download(args, items, service=None):
    """Fetch `items`, each path once, into the folder of a command, by its flags FETCHING."""
    items = list({item.path: item for item in items}.values())
    if not items:
        raise ValueError(f'{args.output}: there is nothing to download for it')
    prepare(args.output, {'command': args.mode}, args.overwrite)
    result = download_all(items, str(args.output), fetcher(args), args.jobs, service, cli.warn)
    if result.broken:
        cli.warn(f'{result.broken} of {len(items)} images are broken: see '
                 f'{os.path.join(args.output, BROKEN)}; the same command tries them again')
    if result.broken == len(items):
        raise ValueError(f'{args.output}: none of the {len(items)} images could be fetched')
    say_made(args.output, result.fetched, f'images fetched, {result.there} were there')


def fetcher(args):
    """A Fetcher by the flags of a command."""
    return Fetcher(args.timeout, args.tries, args.pause, args.largest)


def service(args):
    """The Service of a command; ValueError without --service."""
    if not args.service:
        raise ValueError('--service is wanted: the URL that gives the JSON of an id, as '
                         'http://HOST/article?id={id}')
    return Service(args.service, args.cover_field)


def download_covers(args):
    """Download the cover of each id in a file, an id a line, as ID.jpg."""
    source = service(args)
    ids = mapped_files.read_names(args.ids)
    download(args, [Download(id, f'{check_id(id)}.jpg', source.url(id)) for id in ids], source)


def fetch(args):
    """Fetch one file, and check its size or hash."""
    os.makedirs(os.path.dirname(args.output) or '.', exist_ok=True)
    if os.path.exists(args.output) and not args.overwrite:
        raise ValueError(f'{args.output}: is there already; --overwrite replaces it')
    fetch_with_bar(Fetcher(args.timeout, args.tries, args.pause), args.url, args.output,
                   size=args.size, sha256=args.sha256)
    say_made(args.output, os.path.getsize(args.output), 'bytes')


def fetch_with_bar(fetcher, url, path, **checks):
    """Fetch a file with a progress bar."""
    with tqdm(unit='B', unit_scale=True, disable=None, desc=os.path.basename(path)) as bar:
        def progress(there, total):
            bar.total = total
            bar.update(there - bar.n)
        fetcher.fetch(url, path, progress=progress, **checks)


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
TRYING = 'timeout tries pause'
FETCHING = f'{TRYING} largest jobs overwrite'   # the flags of `download`
SERVICE = 'service cover_field'                 # and of `service`

FLAGS = {
    **FETCH_FLAGS,
    'ids': dict(default='ids.txt', metavar='FILE', help='file with an id a line'),
    'output': dict(help='what to make'),
    'url': dict(required=True, help='what to fetch'),
    'size': dict(type=cli.natural, metavar='BYTES', help='that the file must have'),
    'sha256': dict(metavar='HEX', help='hash that the file must have'),
}

MODES = {
    'download': (download_covers, f'ids {SERVICE} output {FETCHING}',
                 {'output': DATASETS / 'cover/download'}),
    'fetch': (fetch, f'url output size sha256 {TRYING} overwrite', {'output': 'tmp/fetched'}),
}

if __name__ == '__main__':
    subcommands.run(__doc__, MODES, FLAGS)
