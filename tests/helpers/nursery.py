"""Scripts run in forks of a process that has imported everything.

    done = Nursery().run(['test.py', '--help'], cwd=ROOT)

An interpreter takes seconds to import PyTorch and the rest, and a fork of one milliseconds. What a
script does, prints and returns is that of `python test.py --help`; what it imports is not.
"""

import atexit
import contextlib
import importlib
import json
import os
import pkgutil
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import weakref

HEAVY = ('torch', 'sympy', 'caffe', 'cv2', 'lmdb', 'h5py', 'faiss', 'sklearn.decomposition',
         'matplotlib.figure', 'matplotlib.backends.backend_agg', 'PIL.JpegImagePlugin',
         'custom_layers')       # sympy: PyTorch imports it when a solver is made
MESSAGE = 1 << 20               # bytes; a message has the arguments and the environment


def preload() -> None:
    """Import everything that scripts import."""
    os.environ['OMP_NUM_THREADS'] = '1'     # a fork has none of the threads of its parent
    import deep_retrieval
    for name in HEAVY:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(deep_retrieval.__path__, 'deep_retrieval.'):
        if not module.name.endswith('__main__'):
            importlib.import_module(module.name)
    import cv2
    import torch
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def become(words: list) -> None:
    """Do in this process what `python *words` does, and end it: -m MODULE, -c CODE or a script."""
    weakref.finalize._registry.clear()      # temporary folders of the parent stay
    status = 1
    try:
        if words[0] == '-m':
            sys.argv = words[1:]
            sys.path.insert(0, os.getcwd())
            runpy.run_module(words[1], run_name='__main__', alter_sys=True)
        elif words[0] == '-c':
            sys.argv = ['-c', *words[2:]]
            exec(compile(words[1], '<string>', 'exec'), sys.modules['__main__'].__dict__)
        else:
            sys.argv = words
            sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))
            runpy.run_path(words[0], run_name='__main__')
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            threading._shutdown()
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


class Nursery:
    """A process to be forked, which ends with this one; it starts at once and is ready later."""

    def __init__(self):
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen([sys.executable, __file__], stdin=theirs)

    def run(self, words: list, cwd) -> subprocess.CompletedProcess:
        """Run a script in a fork; `stdout` and `stderr` of the result are text."""
        words = [str(word) for word in words]
        request = json.dumps({'words': words, 'cwd': os.path.abspath(cwd),
                              'environment': dict(os.environ)})
        with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
            socket.send_fds(self._socket, [request.encode()], [out.fileno(), err.fileno()])
            status = json.loads(self._socket.recv(MESSAGE))
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(words, status, out.read(), err.read())


def _serve(connection):
    while True:
        message, files, *_ = socket.recv_fds(connection, MESSAGE, 2)
        if not message:
            return
        pid = os.fork()
        if not pid:
            try:
                connection.close()
                _answer(json.loads(message), files)
            finally:
                os._exit(1)
        for file in files:
            os.close(file)
        _, status = os.waitpid(pid, 0)
        connection.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())


def _answer(request, files):
    for number, file in enumerate([os.open(os.devnull, os.O_RDONLY), *files]):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request['environment'])
    os.chdir(request['cwd'])
    become(request['words'])


if __name__ == '__main__':
    del sys.path[0]     # the folder of this file
    preload()
    _serve(socket.socket(fileno=os.dup(0)))
