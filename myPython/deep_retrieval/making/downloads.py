"""Download many images into a folder with threads, and log finished and broken ones.

    items = [Download('123', 'a/123.jpg', 'https://...'), ...]
    download_set('datasets/landmark/download', {'command': 'download_image'}, items, Fetcher())

`finished.txt` has one id per line, `broken.txt` one line `ID<TAB>URL<TAB>REASON` per image. The
same call again fetches the missing images, and tries the broken ones again.
"""

import json
import logging
import os
import urllib.parse
from collections.abc import Mapping
from typing import NamedTuple

from deep_retrieval import store
from deep_retrieval.duplicates.mapped_files import decode, encode
from deep_retrieval.images import ImageError, read_image
from deep_retrieval.making.fetching import Fetcher, FetchError
from deep_retrieval.making.folders import prepare
from deep_retrieval.making.parallel import parallel
from deep_retrieval.making.part_file import Part
from deep_retrieval.progress import bar

FINISHED, BROKEN = 'finished.txt', 'broken.txt'
FORBIDDEN = {'/', '\\', '\0', '\n', '\r'}    # in an id that becomes a file name

logger = logging.getLogger(__name__)


class Download(NamedTuple):
    """An image to fetch: its id, its path relative to the folder, and its URL."""

    id: str
    path: str
    url: str


class Result(NamedTuple):
    """Numbers of images that were fetched, existed already, and could not be fetched."""

    fetched: int
    there: int
    broken: int


class Service:
    """A service that returns JSON for an id, with the URL of its cover.

    Parameters
    ----------
    template : str
        URL of the service, with {id} in place of the id.
    field : str
        Path of the cover's URL in the JSON: keys, or indices of lists, separated by dots.
    """

    def __init__(self, template: str, field: str):
        if '{id}' not in template:
            raise ValueError(f'the service {template!r} has no {{id}} in place of the id')
        self.template, self.field = template, field

    def url(self, id: str) -> str:
        """Return the URL of an id's JSON."""
        return self.template.replace('{id}', urllib.parse.quote(id, safe=''))

    def cover(self, fetcher: Fetcher, url: str) -> str:
        """Return the URL of the cover, from the JSON at `url`; FetchError if it has none."""
        try:
            value = json.loads(fetcher.read(url))
        except ValueError as error:
            if isinstance(error, FetchError):
                raise
            raise FetchError(f'{url}: does not return JSON: {error}') from None
        for name in self.field.split('.'):
            try:
                value = value[int(name) if isinstance(value, list) else name]
            except (LookupError, TypeError, ValueError):
                raise FetchError(f'{url}: its JSON has no {self.field!r}') from None
        if not isinstance(value, str) or not value:
            raise FetchError(f'{url}: {self.field!r} of its JSON is not a URL')
        return urllib.parse.urljoin(url, value)


def check_id(id: str) -> str:
    """Return an id if it can be a file name; otherwise raise ValueError."""
    if not id or id.startswith('.') or FORBIDDEN & set(id):
        raise ValueError(f'the id {id!r} cannot be the name of a file')
    return id


def download_set(folder: str | os.PathLike, about: Mapping, items: list[Download],
                 fetcher: Fetcher, jobs: int = 8, service: Service | None = None,
                 overwrite: bool = False) -> Result:
    """Fetch images into a separate folder; repeated paths are fetched once.

    Parameters
    ----------
    folder : path
        A folder that was made for something else is refused, or replaced with `overwrite`.
    about : dict for the folder's manifest
    items, fetcher, jobs, service : see `download_all`
    overwrite : bool

    Raises
    ------
    ValueError
        There is nothing to fetch, nothing could be fetched, or the folder was made for something
        else.
    """
    items = list({item.path: item for item in items}.values())
    if not items:
        raise ValueError(f'{folder}: there is nothing to download for it')
    prepare(folder, about, overwrite)
    result = download_all(items, os.fspath(folder), fetcher, jobs, service)
    if result.broken:
        logger.warning('%d of %d images are broken: see %s; the same command tries them again',
                       result.broken, len(items), os.path.join(folder, BROKEN))
    if result.broken == len(items):
        raise ValueError(f'{folder}: none of the {len(items)} images could be fetched')
    return result


def download_all(items: list[Download], folder: str, fetcher: Fetcher, jobs: int,
                 service: Service | None = None) -> Result:
    """Fetch missing images. An image is finished when it was fetched and can be decoded.

    Images that cannot be fetched are logged. At the end both logs are in the order of the items,
    no matter how often the work was interrupted.

    Parameters
    ----------
    items : list of Download
    folder : str
    fetcher : Fetcher
    jobs : number of parallel downloads
    service : Service, if the items' URLs lead to its JSON instead of images
    """
    for part in {folder, *(os.path.join(folder, os.path.dirname(item.path)) for item in items)}:
        os.makedirs(part, exist_ok=True)
        store.clean(part)
    finished, broken = _read_log(folder, FINISHED), {}
    fetched = 0

    def work(item):
        path = os.path.join(folder, item.path)
        if os.path.exists(path) and (item.id in finished or _is_whole(path)):
            Part(path).forget()     # a run that was killed at its end leaves a note
            return False
        try:
            url = service.cover(fetcher, item.url) if service else item.url
            fetcher.fetch(url, path, check=read_image)
        except FetchError as error:
            return error
        return True

    with _open_log(folder, FINISHED) as done, _open_log(folder, BROKEN) as faults, \
            bar(total=len(items), desc='download', unit='image') as shown:
        for index, result in parallel(work, items, jobs, fetcher.stop):
            item = items[index]
            if isinstance(result, FetchError):
                broken[index] = result
                _log(faults, _broken_line(item, result))
                logger.warning('broken: %s: %s', item.id, result)
            else:
                fetched += result
                if item.id not in finished:
                    finished[item.id] = None
                    _log(done, f'{encode(item.id)}\n')
            shown.update()
    _write_logs(folder, items, finished, broken)
    return Result(fetched, len(items) - fetched - len(broken), len(broken))


def _is_whole(path):
    """Whether an image that is not in a log can be read."""
    try:
        read_image(path)
    except ImageError:
        return False
    return True


def _read_log(folder, name):
    """Return the first column of a log, decoded, as the keys of a dict, which keeps the order."""
    try:
        with open(os.path.join(folder, name), encoding='utf-8', errors='surrogateescape') as file:
            lines = file.read().split('\n')
    except FileNotFoundError:
        return {}
    # text after the last line break is an incomplete line
    return {decode(line.split('\t')[0]): None for line in lines[:-1]}


def _open_log(folder, name):
    """Open a log to append to; an incomplete last line is removed."""
    path = os.path.join(folder, name)
    file = open(path, 'a+b')
    file.seek(0)
    file.truncate(file.read().rfind(b'\n') + 1)
    return file


def _log(file, line):
    file.write(os.fsencode(line))
    file.flush()


def _broken_line(item, error):
    url, reason = (' '.join(str(text).split()) for text in (item.url, error))
    return f'{encode(item.id)}\t{url}\t{reason}\n'


def _write_logs(folder, items, finished, broken):
    """Write both logs in the order of the items; ids that are not in the items come first."""
    listed = {item.id for item in items}
    ids = [id for id in finished if id not in listed]
    ids += [item.id for item in items if item.id in finished]
    for name, lines in (
            (FINISHED, [f'{encode(id)}\n' for id in ids]),
            (BROKEN, [_broken_line(items[number], broken[number]) for number in sorted(broken)])):
        store.write(os.path.join(folder, name), ''.join(lines))
