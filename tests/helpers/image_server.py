"""A server on this machine that behaves as badly as a test says."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves `files` (path -> bytes), with the faults of `faults` (path -> list of faults).

    Each request of a path takes its next fault; without one it succeeds. `asked` lists the
    requests: (path, Range or None).
    """

    daemon_threads = True
    ranges = True       # whether it supports Range
    tagged = True       # whether it sends an ETag

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.files, self.faults, self.asked = {}, {}, []
        self.url = f'http://127.0.0.1:{self.server_port}'

    def handle_error(self, request, client_address):
        pass    # clients that hang up are part of the tests


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def do_GET(self):
        server, self.close_connection = self.server, True
        server.asked.append((self.path, self.headers.get('Range')))
        faults = server.faults.get(self.path, [])
        fault = faults.pop(0) if faults else None
        if callable(fault):
            return fault(self)
        data = server.files.get(self.path)
        if isinstance(fault, int):
            return self.answer(fault, b'fault')
        if data is None:
            return self.answer(404, b'nothing')
        start, tag = 0, f'"{hash(data)}"'
        wanted = self.headers.get('Range')
        if wanted and server.ranges and self.headers.get('If-Range', tag) == tag:
            start = int(wanted.removeprefix('bytes=').rstrip('-'))
        headers = {'ETag': tag} if server.tagged else {}
        if start:
            headers['Content-Range'] = f'bytes {start}-{len(data) - 1}/{len(data)}'
        self.answer(206 if start else 200, data[start:], headers, fault)

    def answer(self, status, data, headers=None, fault=None):
        """Send an answer; with the fault ('cut', n) only the first n bytes of those announced."""
        self.send_response(status)
        for name, value in {'Content-Length': len(data), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[:fault[1]] if fault else data)


@contextmanager
def serving():
    """A running Server."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
