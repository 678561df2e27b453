#!/usr/bin/env python3
"""Download images by id from a news service: an id -> its JSON -> the cover's URL -> the image.

    python myPython/dataset_helper/download_helper.py download --ids ids.txt \\
        --service 'http://HOST/article?id={id}' --cover_field data.cover

An interrupted command goes on when it is given again, inside a file where the server can. In the
output folder, finished.txt has the ids that are there, broken.txt those that are not and why.
"""

import os

from deep_retrieval import cli, subcommands
from deep_retrieval.duplicates import mapped_files
from deep_retrieval.making.downloads import BROKEN, Download, Service, check_id, download_all
from deep_retrieval.making.fetching import Fetcher, fetch_with_bar
from deep_retrieval.making.folders import prepare
from deep_retrieval.paths import DATASETS
from deep_retrieval.subcommands import FETCH_FLAGS, say_made


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
