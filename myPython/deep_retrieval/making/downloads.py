"""Many images fetched by threads into a folder, with logs of those that are broken and finished.

    items = [Download('123', 'a/123.jpg', 'https://...'), ...]
    download_all(items, 'datasets/landmark/download', Fetcher(), jobs=8)

`finished.txt` has an id a line, `broken.txt` a line `ID<TAB>URL<TAB>REASON`. The same call again
fetches what is missing, and tries the broken ones once more.
"""

import json
import os
import urllib.parse
from typing import NamedTuple

from tqdm import tqdm

from deep_retrieval.duplicates.mapped_files import decode, encode
from deep_retrieval.files import write_aside
from deep_retrieval.images import ImageError, read_image
from deep_retrieval.making.fetching import FetchError
from deep_retrieval.making.parallel import parallel

FINISHED, BROKEN = 'finished.txt', 'broken.txt'
FORBIDDEN = {'/', '\\', '\0', '\n', '\r'}    # in an id that becomes a file's name


class Download(NamedTuple):
    """An image to fetch: its id, its path below the folder, and its URL."""

    id: str
    path: str
    url: str


class Result(NamedTuple):
    """How many images were fetched, were there already, and could not be fetched."""

    fetched: int
    there: int
    broken: int


class Service:
    """A service that gives JSON for an id, in which the URL of its cover stands.

    template : its URL, with {id} where the id belongs
    field : names (or numbers, in lists) that lead to the cover's URL, with dots between
    """

    def __init__(self, template, field):
        if '{id}' not in template:
            raise ValueError(f'the service {template!r} has no {{id}} where the id belongs')
        self.template, self.field = template, field

    def url(self, id):
        """The URL that tells of an id."""
        return self.template.replace('{id}', urllib.parse.quote(id, safe=''))

    def cover(self, fetcher, url):
        """The URL of the cover that the JSON at `url` names."""
        try:
            value = json.loads(fetcher.read(url))
        except ValueError as error:
            if isinstance(error, FetchError):
                raise
            raise FetchError(f'{url}: gives no JSON: {error}') from None
        for name in self.field.split('.'):
            try:
                value = value[int(name) if isinstance(value, list) else name]
            except (LookupError, TypeError, ValueError):
                raise FetchError(f'{url}: its JSON has no {self.field!r}') from None
        if not isinstance(value, str) or not value:
            raise FetchError(f'{url}: {self.field!r} of its JSON is no URL')
        return urllib.parse.urljoin(url, value)


def check_id(id):
    """The id, unless it cannot be a file's name: then ValueError."""
    if not id or id.startswith('.') or FORBIDDEN & set(id):
        raise ValueError(f'the id {id!r} cannot be the name of a file')
    return id


def download_all(items, folder, fetcher, jobs, service=None, say=print):
    """Fetch the images that are not there yet; each is decoded before it counts as there.

    service : a Service, where the items' URLs are of its JSON and not of the images
    say : called with a line for each image that is broken
    Returns a Result. The logs have the order of the items, however the work was interrupted.
    """
    for name in {os.path.dirname(item.path) for item in items}:
        os.makedirs(os.path.join(folder, name), exist_ok=True)
    finished, broken = _read_log(folder, FINISHED), {}
    fetched = 0

    def work(item):
        path = os.path.join(folder, item.path)
        if os.path.exists(path) and (item.id in finished or _is_whole(path)):
            return False
        try:
            url = service.cover(fetcher, item.url) if service else item.url
            fetcher.fetch(url, path, check=read_image)
        except FetchError as error:
            return error
        return True

    with _open_log(folder, FINISHED) as done, _open_log(folder, BROKEN) as faults, \
            tqdm(total=len(items), unit='image', disable=None) as bar:
        for number, result in parallel(work, items, jobs, fetcher.stop):
            item = items[number]
            if isinstance(result, FetchError):
                broken[number] = result
                _log(faults, _broken_line(item, result))
                say(f'broken: {item.id}: {result}')
            else:
                fetched += result
                if item.id not in finished:
                    finished[item.id] = None
                    _log(done, f'{encode(item.id)}\n')
            bar.update()
    _write_logs(folder, items, finished, broken)
    return Result(fetched, len(items) - fetched - len(broken), len(broken))


def _is_whole(path):
    """Whether an image that no log tells of can be read."""
    try:
        read_image(path)
    except ImageError:
        return False
    return True


def _read_log(folder, name):
    """The first column of a log, decoded; a dict for its order."""
    try:
        with open(os.path.join(folder, name), encoding='utf-8', errors='surrogateescape') as file:
            lines = file.read().split('\n')
    except FileNotFoundError:
        return {}
    # what stands behind the last line break was being written
    return {decode(line.split('\t')[0]): None for line in lines[:-1]}


def _open_log(folder, name):
    """A log to add to, without a line that broke off."""
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
    """Both logs anew, in the order of the items; ids of earlier lists come first."""
    listed = {item.id for item in items}
    ids = [id for id in finished if id not in listed]
    ids += [item.id for item in items if item.id in finished]
    for name, lines in (
            (FINISHED, [f'{encode(id)}\n' for id in ids]),
            (BROKEN, [_broken_line(items[number], broken[number]) for number in sorted(broken)])):
        data = os.fsencode(''.join(lines))
        write_aside(os.path.join(folder, name), lambda file: file.write(data))
