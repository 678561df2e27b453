"""Fetch files over HTTP: with resuming, retries after errors, and checks.

    Fetcher(timeout=30, tries=10).fetch('https://.../paris_1-v1.tgz', 'paris_1-v1.tgz')

An incomplete file is called `PATH.part`; the note `PATH.part.json` beside it describes the whole
file. The next call for the same URL resumes it. `PATH` exists only when it is complete.
"""

import contextlib
import http.client
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable

from deep_retrieval.making.part_file import Part
from deep_retrieval.progress import bar

CHUNK = 1 << 16
LONGEST_PAUSE = 60      # seconds between two tries
PASSING = {408, 425, 429}       # temporary errors, in addition to statuses >= 500
KEPT = "!#$%&'()*+,/:;=?@[]~"   # not quoted in a URL


class FetchError(ValueError):
    """A file cannot be fetched; the one-line message names the URL.

    passing : whether trying again may help
    pause : seconds to wait before that, as the server asks, or None
    """

    def __init__(self, message: str, passing: bool = False, pause: int | None = None):
        super().__init__(message)
        self.passing, self.pause = passing, pause


class Stopped(Exception):
    """Fetching was stopped; the parts are kept for the next call."""


class Fetcher:
    """Fetches files.

    Parameters
    ----------
    timeout : float
        Seconds without an answer after which a try fails.
    tries : int
        Number of consecutive tries without progress before giving up.
    pause : float
        Seconds before the second try; doubled for each further try.
    largest : int, optional
        Maximum size of a file in bytes.
    """

    def __init__(self, timeout: float = 30, tries: int = 10, pause: float = 0.5,
                 largest: int | None = None):
        self.timeout, self.tries, self.pause, self.largest = timeout, tries, pause, largest
        self._stop = threading.Event()
        # only HTTP: a list of URLs must not read local files
        self._opener = urllib.request.OpenerDirector()
        for handler in (urllib.request.ProxyHandler, urllib.request.HTTPHandler,
                        urllib.request.HTTPSHandler, urllib.request.HTTPDefaultErrorHandler,
                        urllib.request.HTTPRedirectHandler, urllib.request.HTTPErrorProcessor,
                        urllib.request.UnknownHandler):
            self._opener.add_handler(handler())

    def stop(self) -> None:
        """Stop all fetching, called from another thread; it raises Stopped at the next bytes."""
        self._stop.set()

    def fetch(self, url: str, path: str, check: Callable | None = None, size: int | None = None,
              sha256: str | None = None, progress: Callable | None = None) -> None:
        """Fetch a URL into a file.

        A file that fails its checks is fetched again from the start. If it has the same bytes the
        second time, the error is final.

        Parameters
        ----------
        url, path : str
        check : called with the path of the fetched file; raises ValueError if it is wrong
        size, sha256 : expected size in bytes, and expected hash in hex
        progress : called with the number of bytes so far, and the total number or None

        Raises
        ------
        FetchError
            The file cannot be fetched, or fails its checks.
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

    def read(self, url: str) -> bytes:
        """Return the bytes of a URL; FetchError if there are more than `largest`."""
        data = []

        def once():
            with self._open(url, {}) as answer:
                data[:] = [b''.join(self._chunks(answer, url, 0))]
            _check_length(url, len(data[0]), _number(answer.headers.get('Content-Length')))

        self._try(once, lambda: 0)
        return data[0]

    def _try(self, once, reached):
        """Call once() until it succeeds; the count of tries restarts when reached() increases."""
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
        """Fetch the rest of a part."""
        note, start = part.note, part.length
        if note.get('url') != url or not (note.get('validator') or note.get('total')):
            start = 0       # the part is of another file, or of one that may have changed
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
        """Yield the bytes of an answer as they arrive."""
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
        """Return the answer to a request; FetchError for every failure except 416."""
        if self._stop.is_set():
            raise Stopped
        with _named(url):
            request = urllib.request.Request(
                urllib.parse.quote(url, safe=KEPT),
                headers={'User-Agent': 'my-deep-retrieval', 'Accept-Encoding': 'identity',
                         **headers})
            if request.type not in ('http', 'https'):
                raise FetchError(f'{url}: is not an http or https URL')
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
    """Turn errors of a connection into FetchErrors that name the URL."""
    try:
        yield
    except FetchError:
        raise
    except urllib.error.URLError as error:
        # a broken connection may recover, but not a bad certificate (also a ValueError)
        passing = isinstance(error.reason, OSError) and not isinstance(error.reason, ValueError)
        raise FetchError(f'{url}: {error.reason}', passing) from None
    except (OSError, http.client.HTTPException) as error:
        # an invalid address stays invalid
        passing = not isinstance(error, http.client.InvalidURL)
        raise FetchError(f'{url}: {error or type(error).__name__}', passing) from None
    except ValueError as error:
        raise FetchError(f'{url}: {error}') from None


def _begin(url, part, start, answer):
    """Return the position to write an answer's bytes to, and the length of the file or None."""
    if start and answer.status == 206:
        first, total = _content_range(answer.headers.get('Content-Range'))
        if first == start and total == part.note.get('total'):
            return start, total
        part.forget()
        raise FetchError(f'{url}: the file has changed on the server', True)
    # the answer is the whole file: the server does not support ranges, or the file has changed
    if answer.headers.get('Content-Encoding', 'identity') != 'identity':
        raise FetchError(f'{url}: is sent compressed, which was not requested')
    validator = answer.headers.get('ETag') or answer.headers.get('Last-Modified')
    if validator and validator.startswith('W/'):    # weak: not allowed in If-Range
        validator = None
    total = _number(answer.headers.get('Content-Length'))
    part.begin(url=url, validator=validator, total=total)
    return 0, total


def _check_length(url, length, total):
    if total is not None and length != total:
        raise FetchError(f'{url}: broke off after {length} of {total} bytes', True)


def _content_range(text):
    """Parse a Content-Range: (first byte, total length or None), or (None, None)."""
    try:
        unit, _, spans = (text or '').partition(' ')
        span, _, total = spans.partition('/')
        return int(span.partition('-')[0]), None if total == '*' else int(total)
    except ValueError:
        return None, None


def _number(text):
    return int(text) if text is not None and text.strip().isdecimal() else None


def fetch_with_bar(fetcher: Fetcher, url: str, path: str, **checks) -> None:
    """Fetch a file with a progress bar; checks : see `Fetcher.fetch`."""
    with bar(unit='B', unit_scale=True, desc=os.path.basename(path)) as shown:
        def progress(done, total):
            shown.total = total
            shown.update(done - shown.n)
        fetcher.fetch(url, path, progress=progress, **checks)
