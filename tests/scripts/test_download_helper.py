"""Downloads, from a server on this machine that drops, truncates, refuses and changes files."""

import hashlib
import json
import os
import re
import socket
import struct
import threading
import time

import cv2
import download_helper
import numpy as np
import pytest
from deep_retrieval import subcommands
from deep_retrieval.images import read_image
from deep_retrieval.making.downloads import Download, Service, check_id, download_all
from deep_retrieval.making.fetching import Fetcher, FetchError, Stopped
from image_server import serving

DATA = np.random.default_rng(0).bytes(100_000)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')


@pytest.fixture
def server():
    with serving() as running:
        running.files['/a'] = DATA
        yield running


@pytest.fixture
def fetcher():
    return Fetcher(timeout=2, tries=4, pause=0.001)


def jpeg(value, size=(8, 12)):
    return cv2.imencode('.jpg', np.full((*size, 3), value, np.uint8))[1].tobytes()


def drop(handler):
    """Break the connection without an answer, by a reset."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    handler.connection.close()


def sent_whole(path, folder):
    """The file has its bytes, and nothing is left beside it."""
    return path.read_bytes() == DATA and os.listdir(folder) == [path.name]


def test_a_file(server, fetcher, tmp_path):
    seen = []
    fetcher.fetch(f'{server.url}/a', tmp_path / 'a', size=len(DATA),
                  sha256=hashlib.sha256(DATA).hexdigest().upper(),
                  progress=lambda *state: seen.append(state))
    assert sent_whole(tmp_path / 'a', tmp_path) and server.asked == [('/a', None)]
    assert seen[-1] == (len(DATA), len(DATA)) and seen == sorted(seen)


def test_a_file_that_breaks_off_goes_on(server, fetcher, tmp_path):
    """Each of more breaks than there are tries brings it further."""
    server.faults['/a'] = [('cut', 10_000)] * 6
    fetcher.fetch(f'{server.url}/a', tmp_path / 'a')
    assert sent_whole(tmp_path / 'a', tmp_path)
    assert server.asked == [('/a', None)] + [('/a', f'bytes={10_000 * i}-') for i in range(1, 7)]


def test_a_server_without_ranges(server, fetcher, tmp_path):
    server.ranges = False
    server.faults['/a'] = [('cut', 10_000), ('cut', 10_000), 500]
    fetcher.fetch(f'{server.url}/a', tmp_path / 'a')
    assert sent_whole(tmp_path / 'a', tmp_path) and len(server.asked) == 4
    server.faults['/a'] = [('cut', 10_000)] * 9
    with pytest.raises(FetchError, match=r'broke off after 10000 of 100000 bytes \(4 tries\)'):
        fetcher.fetch(f'{server.url}/a', tmp_path / 'b')
    assert not (tmp_path / 'b').exists()


def test_a_file_that_changes_meanwhile_is_fetched_again(server, fetcher, tmp_path):
    for tagged, other in ((True, DATA[::-1]), (False, DATA[:-7])):
        server.tagged = tagged
        server.files['/a'] = other

        def change(handler, tagged=tagged, other=other):
            handler.answer(200, other, {'ETag': f'"{hash(other)}"'} if tagged else {},
                           ('cut', 30_000))
            server.files['/a'] = DATA
        server.faults['/a'] = [change]
        fetcher.fetch(f'{server.url}/a', tmp_path / 'a')
        assert sent_whole(tmp_path / 'a', tmp_path)


def test_without_a_version_it_starts_again(server, fetcher, tmp_path):
    def endless(handler):
        handler.send_response(200)
        handler.send_header('Transfer-Encoding', 'chunked')
        handler.end_headers()
        handler.wfile.write(b'4\r\nabcd\r\n')      # and no last chunk
    server.faults['/a'] = [endless]
    server.tagged = False
    fetcher.fetch(f'{server.url}/a', tmp_path / 'a')
    assert sent_whole(tmp_path / 'a', tmp_path) and server.asked[1] == ('/a', None)


def test_what_passes_is_tried_again(server, fetcher, tmp_path):
    server.faults['/a'] = [500, drop, 503]
    fetcher.fetch(f'{server.url}/a', tmp_path / 'a')
    assert sent_whole(tmp_path / 'a', tmp_path) and len(server.asked) == 4
    server.faults['/a'] = [429] * 4
    with pytest.raises(FetchError, match=r'/a: status 429 .*\(4 tries\)'):
        fetcher.fetch(f'{server.url}/a', tmp_path / 'b')


def test_what_does_not_pass_is_not(server, fetcher, tmp_path):
    for status in (404, 403, 410):
        server.asked.clear()
        server.faults['/a'] = [status]
        with pytest.raises(FetchError, match=f'/a: status {status}'):
            fetcher.fetch(f'{server.url}/a', tmp_path / 'a')
        assert len(server.asked) == 1
    for url, words in (('file:///etc/hostname', 'not an http'),
                       ('ftp://127.0.0.1/x', 'not an http'),
                       ('nonsense', 'unknown url type'), ('http://', 'no host given'),
                       ('http://127.0.0.1:port/', 'nonnumeric port')):
        with pytest.raises(FetchError, match=words):
            fetcher.fetch(url, tmp_path / 'a')
    assert os.listdir(tmp_path) == []


def test_pauses_double(server, tmp_path):
    times = []
    server.faults['/a'] = [lambda handler: (times.append(time.monotonic()),
                                            handler.answer(500, b''))] * 4
    with pytest.raises(FetchError):
        Fetcher(tries=4, pause=0.05).fetch(f'{server.url}/a', tmp_path / 'a')
    first, second, third = np.diff(times)
    assert first >= 0.05 and second >= 0.1 and third >= 0.2


def test_the_server_may_say_how_long_to_wait(server, tmp_path):
    server.faults['/a'] = [lambda handler: handler.answer(503, b'', {'Retry-After': '0'})]
    start = time.monotonic()
    Fetcher(pause=60).fetch(f'{server.url}/a', tmp_path / 'a')
    assert time.monotonic() - start < 10


def test_a_redirect_keeps_the_range(server, fetcher, tmp_path):
    def move(handler):
        handler.answer(302, b'', {'Location': '/a'})
    server.faults['/moved'] = [move, move]
    server.faults['/a'] = [('cut', 60_000)]
    fetcher.fetch(f'{server.url}/moved', tmp_path / 'a')
    assert sent_whole(tmp_path / 'a', tmp_path)
    assert server.asked[-1] == ('/a', 'bytes=60000-')


def test_a_silent_server_ends_in_a_timeout(server, tmp_path):
    server.faults['/a'] = [lambda handler: time.sleep(1)] * 2
    with pytest.raises(FetchError, match='timed out'):
        Fetcher(timeout=0.1, tries=2, pause=0.001).fetch(f'{server.url}/a', tmp_path / 'a')


def test_checks(server, fetcher, tmp_path):
    """A file that is wrong is fetched again; the same bytes twice are what the server has."""
    image = jpeg(90)
    server.files['/i'] = image
    server.faults['/i'] = [lambda handler: handler.answer(200, image[:-60])]
    fetcher.fetch(f'{server.url}/i', tmp_path / 'i.jpg', check=read_image)
    assert (tmp_path / 'i.jpg').read_bytes() == image
    server.asked.clear()
    for options, words in (({'check': read_image}, 'is not an image that OpenCV can read'),
                           ({'size': 5}, 'has 100000 bytes, not 5'),
                           ({'sha256': '00'}, 'has another SHA-256 than 00')):
        server.asked.clear()
        with pytest.raises(FetchError, match=f'{re.escape(server.url)}/a: {words}$'):
            fetcher.fetch(f'{server.url}/a', tmp_path / 'a', **options)
        assert len(server.asked) == 2
    assert os.listdir(tmp_path) == ['i.jpg']


def test_a_file_may_be_too_large(server, tmp_path):
    with pytest.raises(FetchError, match='has more than 70000 bytes'):
        Fetcher(largest=70_000).fetch(f'{server.url}/a', tmp_path / 'a')


def test_stop(server, tmp_path):
    fetcher = Fetcher(pause=60)
    server.faults['/a'] = [('cut', 100), 500]
    threading.Timer(0.3, fetcher.stop).start()
    with pytest.raises(Stopped):
        fetcher.fetch(f'{server.url}/a', tmp_path / 'a')
    assert (tmp_path / 'a.part').read_bytes() == DATA[:100]
    Fetcher().fetch(f'{server.url}/a', tmp_path / 'a')
    assert sent_whole(tmp_path / 'a', tmp_path) and server.asked[-1] == ('/a', 'bytes=100-')


def test_service(server, fetcher):
    server.files['/1'] = json.dumps({'data': [{'cover': '/c.jpg'}], 'n': 3}).encode()
    server.files['/2'] = b'<html>'
    service = Service('http://h/x?id={id}&v=1', 'c')
    assert service.url('ä b/&') == 'http://h/x?id=%C3%A4%20b%2F%26&v=1'
    assert Service('{id}', 'data.0.cover').cover(
        fetcher, f'{server.url}/1') == f'{server.url}/c.jpg'
    for field, page, words in (('data.1.cover', '/1', "has no 'data.1.cover'"),
                               ('data.x', '/1', "no 'data.x'"), ('n.m', '/1', "no 'n.m'"),
                               ('n', '/1', "'n' of its JSON is not a URL"),
                               ('n', '/2', 'not return JSON')):
        with pytest.raises(FetchError, match=words):
            Service('{id}', field).cover(fetcher, server.url + page)
    with pytest.raises(ValueError, match='no {id}'):
        Service('http://host/', 'cover')


def test_ids_that_are_no_file_names():
    assert check_id('a b:ü_1') == 'a b:ü_1'
    for id in ('', '.', '..', '../a', '/etc', 'a/b', 'a\0', 'a\nb', '.hidden'):
        with pytest.raises(ValueError, match='cannot be the name of a file'):
            check_id(id)


def items_of(server, names):
    for number in range(len(names)):
        server.files[f'/{number}'] = jpeg(10 * number)
    return [Download(name, f'{name}.jpg', f'{server.url}/{number}')
            for number, name in enumerate(names)]


def test_many(server, tmp_path, caplog):
    """Logs are in the items' order; a second call fetches what is missing, no more."""
    items = items_of(server, ['b', 'a b', 'ü:1_%', 'gone', 'bad', 'z'])
    del server.files['/3']
    server.files['/4'] = b'no image'
    server.faults['/0'] = [lambda handler: (time.sleep(0.1), drop(handler))]
    fetcher = Fetcher(tries=3, pause=0.001)
    assert download_all(items, str(tmp_path), fetcher, 3) == (4, 0, 2)
    for number in (0, 1, 2, 5):
        assert (tmp_path / items[number].path).read_bytes() == server.files[f'/{number}']
    assert (tmp_path / 'finished.txt').read_text().split('\n') == [
        'b', 'a%20b', 'ü:1_%25', 'z', '']
    gone, bad = (tmp_path / 'broken.txt').read_text().splitlines()
    assert gone.split('\t')[:2] == ['gone', f'{server.url}/3'] and '404' in gone
    assert bad.startswith('bad\t') and 'not an image' in bad
    assert len(caplog.messages) == 2
    server.asked.clear()
    server.files['/3'] = jpeg(77)
    (tmp_path / 'z.jpg').unlink()
    assert download_all(items, str(tmp_path), Fetcher(pause=0.001), 3) == (2, 3, 1)
    assert {path for path, _ in server.asked} == {'/3', '/4', '/5'}
    assert (tmp_path / 'finished.txt').read_text().split('\n') == [
        'b', 'a%20b', 'ü:1_%25', 'gone', 'z', '']


def test_an_image_that_is_in_no_log_is_read(server, tmp_path):
    """It may have been killed between the image and its line; half a line is not one."""
    items = items_of(server, ['a', 'b', 'c'])
    (tmp_path / 'a.jpg').write_bytes(jpeg(5))
    (tmp_path / 'b.jpg').write_bytes(b'broken')
    (tmp_path / 'c.jpg').write_bytes(jpeg(6))
    (tmp_path / 'finished.txt').write_text('c\nb')
    assert download_all(items, str(tmp_path), Fetcher(), 2) == (1, 2, 0)
    assert (tmp_path / 'b.jpg').read_bytes() == server.files['/1']
    assert (tmp_path / 'finished.txt').read_text() == 'a\nb\nc\n'


def test_interrupted(server, tmp_path):
    """The same call again: the same folder as in one go."""
    items = items_of(server, list('abcdefgh'))
    server.files['/3'] = b'no image'
    download_all(items, str(tmp_path / 'whole'), Fetcher(pause=0.001), 1)
    wanted = {path.name: path.read_bytes() for path in (tmp_path / 'whole').iterdir()}
    for place in (0, 2, 3, 7):
        folder = tmp_path / str(place)

        fetcher = Fetcher(pause=0.001)

        def interrupt(handler, fetcher=fetcher):
            fetcher.stop()      # as Ctrl-C in the main thread does
            handler.answer(200, server.files[handler.path], {}, ('cut', 50))
        server.faults[f'/{place}'] = [interrupt]
        with pytest.raises(Stopped):
            download_all(items, str(folder), fetcher, 2)
        download_all(items, str(folder), Fetcher(pause=0.001), 2)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == wanted


def run(*flags):
    subcommands.run(download_helper.__doc__, download_helper.MODES, download_helper.FLAGS, flags)


def download(server, folder, *flags):
    (folder / 'ids.txt').write_text('one\ntwo words%20x\none\n')
    run('download', '--ids', str(folder / 'ids.txt'), '--output', str(folder / 'out'),
        '--service', f'{server.url}/api?id={{id}}', '--cover_field', 'data.cover', *flags)


def test_the_command(server, tmp_path, capsys):
    for number, id in enumerate(('one', 'two%20words%20x')):
        server.files[f'/api?id={id}'] = json.dumps({'data': {'cover': f'/{number}'}}).encode()
        server.files[f'/{number}'] = jpeg(50 * number)
    download(server, tmp_path)
    assert capsys.readouterr().out == f'{tmp_path}/out: 2 images fetched, 0 were there\n'
    assert (tmp_path / 'out/two words x.jpg').read_bytes() == server.files['/1']
    download(server, tmp_path)
    assert capsys.readouterr().out == f'{tmp_path}/out: 0 images fetched, 2 were there\n'


def test_all_are_broken(server, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        download(server, tmp_path, '--tries', '1')
    assert ended.value.code == 1
    assert 'none of the 2 images could be fetched' in capsys.readouterr().err


def test_a_folder_of_something_else_is_refused(server, tmp_path, capsys):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/mine.txt').touch()
    with pytest.raises(SystemExit):
        download(server, tmp_path)
    assert 'out: contains something else; choose another folder' in capsys.readouterr().err
    assert not server.asked


def test_fetch(server, tmp_path, capsys):
    flags = ['fetch', '--url', f'{server.url}/a', '--output', str(tmp_path / 'd/a'),
             '--size', '100000']
    run(*flags)
    assert capsys.readouterr().out == f'{tmp_path}/d/a: 100000 bytes\n'
    assert (tmp_path / 'd/a').read_bytes() == DATA
    for more, words in (([], 'exists already; --overwrite'),
                        (['--overwrite', '--size', '1'], 'has 100000 bytes, not 1')):
        with pytest.raises(SystemExit):
            run(*flags, *more)
        told = capsys.readouterr().err
        assert words in told and told.count('\n') == 1
    with pytest.raises(SystemExit):
        run('download', '--ids', 'none')
    assert '--service is required' in capsys.readouterr().err
