#!/usr/bin/env python3
"""Download images by id from a news service: id -> JSON -> URL of the cover -> image.

    python myPython/dataset_helper/download_helper.py download --ids ids.txt \\
        --service 'http://HOST/article?id={id}' --cover_field data.cover

To resume an interrupted command, run it again; partial files are continued if the server supports
it. In the output folder, finished.txt lists the ids that were fetched, and broken.txt those that
failed, with the reason.
"""

import os

from deep_retrieval import cli, paths, subcommands
from deep_retrieval.subcommands import FETCH_FLAGS, FETCHING, SERVICE, TRYING, fetcher, say_made


def download(args, items, service=None):
    """Fetch items into the output folder of a command with the flags FETCHING, and print counts."""
    from deep_retrieval.making.downloads import download_set
    result = download_set(args.output, {'command': args.mode}, items, fetcher(args), args.jobs,
                          service, args.overwrite)
    say_made(args.output, result.fetched, f'images fetched, {result.there} were there')


def download_covers(args):
    """Download the cover of each id in a file, one id per line, as ID.jpg."""
    from deep_retrieval.duplicates import mapped_files
    from deep_retrieval.making.downloads import Download, check_id
    source = subcommands.service(args)
    download(args, [Download(id, f'{check_id(id)}.jpg', source.url(id))
                    for id in mapped_files.read_names(args.ids)], source)


def fetch(args):
    """Fetch one file, and check its size or hash."""
    from deep_retrieval.making.fetching import fetch_with_bar
    if os.path.exists(args.output) and not args.overwrite:
        raise ValueError(f'{args.output}: exists already; --overwrite replaces it')
    os.makedirs(os.path.dirname(args.output) or '.', exist_ok=True)
    fetch_with_bar(fetcher(args), args.url, args.output, size=args.size, sha256=args.sha256)
    say_made(args.output, os.path.getsize(args.output), 'bytes')


FLAGS = {
    **FETCH_FLAGS,
    'ids': dict(default=paths.DATASETS / 'cover/ids.txt', metavar='FILE',
                help='file with one id per line'),
    'output': dict(help='file or folder to write'),
    'url': dict(required=True, help='URL of the file to fetch'),
    'size': dict(type=cli.natural, metavar='BYTES', help='expected size of the file'),
    'sha256': dict(metavar='HEX', help='expected SHA-256 of the file'),
}

MODES = {
    'download': (download_covers, f'ids {SERVICE} output {FETCHING}',
                 {'output': paths.DATASETS / 'cover/download'}),
    'fetch': (fetch, f'url output size sha256 {TRYING} overwrite',
              {'output': paths.TEMP / 'fetched'}),
}

if __name__ == '__main__':
    subcommands.run(__doc__, MODES, FLAGS)
