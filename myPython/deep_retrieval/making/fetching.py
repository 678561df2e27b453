"""Files fetched over HTTP: resumed where they broke off, tried again, and checked.

    Fetcher(timeout=30, tries=10).fetch('https://.../paris_1-v1.tgz', 'paris_1-v1.tgz')

While a file is under way it is `PATH.part`, beside a note `PATH.part.json` of what it is a part of;
`PATH` appears whole.
"""

import contextlib
import http.client
import os
import threading
import urllib.error
import urllib.parse
import urllib.request

from tqdm import tqdm

from deep_retrieval.making.part_file import Part

CHUNK = 1 << 16
LONGEST_PAUSE = 60      # seconds between two tries
PASSING = {408, 425, 429}       # statuses that may pass, besides those from 500 on
KEPT = "!#$%&'()*+,/:;=?@[]~"   # what stands in a URL as it is


class FetchError(ValueError):
    """What keeps a file from being fetched, in one line that names the URL.

    passing : trying again may help
    pause : seconds that the server asks to wait before, or None
    """

    def __init__(self, message, passing=False, pause=None):
        super().__init__(message)
        self.passing, self.pause = passing, pause


class Stopped(Exception):
    """Fetching was told to stop; the parts stay for the next time."""


class Fetcher:
    """Fetches files.

    timeout : seconds without an answer that end a try
    tries : how often in a row without getting any further
    pause : seconds before the second try; they double from one to the next
    largest : bytes that a file may have at most, or None
    """

    def __init__(self, timeout=30, tries=10, pause=0.5, largest=None):
        self.timeout, self.tries, self.pause, self.largest = timeout, tries, pause, largest
        self._stop = threading.Event()
        # http alone: a list of URLs must not read files of this machine
        self._opener = urllib.request.OpenerDirector()
        for handler in (urllib.request.ProxyHandler, urllib.request.HTTPHandler,
                        urllib.request.HTTPSHandler, urllib.request.HTTPDefaultErrorHandler,
                        urllib.request.HTTPRedirectHandler, urllib.request.HTTPErrorProcessor,
                        urllib.request.UnknownHandler):
            self._opener.add_handler(handler())

    def stop(self):
        """End all fetching, from another thread: each ends with Stopped at its next bytes."""
        self._stop.set()

    def fetch(self, url, path, check=None, size=None, sha256=None, progress=None):
        """Fetch a URL into a file.

        check : called with the path of the whole file; a ValueError of it means another try
        size, sha256 : bytes and hash (in hex) that the file must have
        progress : called with (bytes that are there, bytes in all or None)
        FetchError where that cannot be. A file whose check fails is fetched again from the start;
        the same bytes twice are what the server has.
        """
        part, seen = Part(path), set()

        def once():
            self._continue(url, part, progress)
            try:
                part.check(check, size, sha256)
            except ValueError as error:
                digest = part.sha256()
                part.forget()
                passing = digest not in seen
                seen.add(digest)
                raise FetchError(f'{url}: {error}', passing) from None
            part.finish()

        self._try(once, lambda: part.length)

    def read(self, url):
        """The bytes that a URL has; at most `largest`."""
        data = []

        def once():
            with self._open(url, {}) as answer:
                data[:] = [b''.join(self._chunks(answer, url, 0))]
            _check_length(url, len(data[0]), _number(answer.headers.get('Content-Length')))

        self._try(once, lambda: 0)
        return data[0]

    def _try(self, once, reached):
        """Call once() until it ends well; tries are counted anew when `reached()` has grown."""
        farthest, failed = reached(), 0
        while True:
            try:
                return once()
            except FetchError as error:
                if not error.passing:
                    raise
                failed = 0 if reached() > farthest else failed
                farthest = max(farthest, reached())
                failed += 1
                if failed >= self.tries:
                    raise FetchError(f'{error} ({self.tries} tries)') from None
                pause = self.pause * 2 ** (failed - 1) if error.pause is None else error.pause
            if self._stop.wait(min(pause, LONGEST_PAUSE)):
                raise Stopped

    def _continue(self, url, part, progress):
        """Fetch what a part lacks."""
        note, start = part.note, part.length
        if note.get('url') != url or not (note.get('validator') or note.get('total')):
            start = 0       # of another file, or one that may have changed unseen
        if start and start == note.get('total'):
            return
        headers = {'Range': f'bytes={start}-'} if start else {}
        if start and note.get('validator'):
            headers['If-Range'] = note['validator']
        with self._open(url, headers) as answer:
            if answer.status == 416:
                part.forget()
                raise FetchError(f'{url}: the server has no bytes from {start} on', True)
            start, total = _begin(url, part, start, answer)
            with part.open(start) as file:
                for chunk in self._chunks(answer, url, start):
                    file.write(chunk)
                    if progress is not None:
                        progress(file.tell(), total)
        _check_length(url, part.length, total)

    def _chunks(self, answer, url, start):
        """The bytes of an answer, as they come."""
        while True:
            if self._stop.is_set():
                raise Stopped
            with _named(url):
                chunk = answer.read1(CHUNK)
            if not chunk:
                return
            start += len(chunk)
            if self.largest is not None and start > self.largest:
                raise FetchError(f'{url}: has more than {self.largest} bytes')
            yield chunk

    def _open(self, url, headers):
        """The answer to a request; FetchError for one that is no success, but for 416."""
        if self._stop.is_set():
            raise Stopped
        with _named(url):
            request = urllib.request.Request(
                urllib.parse.quote(url, safe=KEPT),
                headers={'User-Agent': 'my-deep-retrieval', 'Accept-Encoding': 'identity',
                         **headers})
            if request.type not in ('http', 'https'):
                raise FetchError(f'{url}: is no http or https URL')
            try:
                return self._opener.open(request, timeout=self.timeout)
            except urllib.error.HTTPError as error:
                if error.code == 416 and headers:
                    return error
                error.close()
                passing = error.code in PASSING or error.code >= 500
                raise FetchError(f'{url}: status {error.code} {error.reason}', passing,
                                 _number(error.headers.get('Retry-After'))) from None


@contextlib.contextmanager
def _named(url):
    """Errors of a connection as FetchErrors that name the URL."""
    try:
        yield
    except FetchError:
        raise
    except urllib.error.URLError as error:
        # of the connection, which may get better; a bad certificate, a ValueError too, does not
        passing = isinstance(error.reason, OSError) and not isinstance(error.reason, ValueError)
        raise FetchError(f'{url}: {error.reason}', passing) from None
    except (OSError, http.client.HTTPException) as error:
        # an address that is none does not get better
        passing = not isinstance(error, http.client.InvalidURL)
        raise FetchError(f'{url}: {error or type(error).__name__}', passing) from None
    except ValueError as error:
        raise FetchError(f'{url}: {error}') from None


def _begin(url, part, start, answer):
    """Where to write an answer's bytes, and the length of the whole file or None."""
    if start and answer.status == 206:
        first, total = _content_range(answer.headers.get('Content-Range'))
        if first == start and total == part.note.get('total'):
            return start, total
        part.forget()
        raise FetchError(f'{url}: the file has changed on the server', True)
    # all of it: the server knows no ranges, or has another file by now
    if answer.headers.get('Content-Encoding', 'identity') != 'identity':
        raise FetchError(f'{url}: is sent compressed, which was not asked for')
    validator = answer.headers.get('ETag') or answer.headers.get('Last-Modified')
    if validator and validator.startswith('W/'):    # which If-Range does not take
        validator = None
    total = _number(answer.headers.get('Content-Length'))
    part.begin(url=url, validator=validator, total=total)
    return 0, total


def _check_length(url, length, total):
    if total is not None and length != total:
        raise FetchError(f'{url}: broke off at {length} of {total} bytes', True)


def _content_range(text):
    """(first byte, length of the whole or None) of a Content-Range, or (None, None)."""
    try:
        unit, _, spans = (text or '').partition(' ')
        span, _, total = spans.partition('/')
        return int(span.partition('-')[0]), None if total == '*' else int(total)
    except ValueError:
        return None, None


def _number(text):
    return int(text) if text is not None and text.strip().isdecimal() else None


def fetch_with_bar(fetcher, url, path, **checks):
    """Fetch a file with a progress bar."""
    with tqdm(unit='B', unit_scale=True, disable=None, desc=os.path.basename(path)) as bar:
        def progress(there, total):
            bar.total = total
            bar.update(there - bar.n)
        fetcher.fetch(url, path, progress=progress, **checks)
