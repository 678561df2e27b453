"""Files and databases are written aside: whole or not at all, and after a killed process too."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from caffe.database import Database, write_database
from caffe.errors import CaffeError
from caffe.files import aside_of, write_aside

KILLED = '''
import os, signal, sys
from caffe.database import write_database
from caffe.files import write_aside
def chunks(first):
    yield first
    os.kill(os.getpid(), signal.SIGKILL)
kind, path = sys.argv[1:]
write_aside(path, chunks(b'x' * 100_000)) if kind == 'file' else write_database(
    path, chunks((b'a', b'b')))
'''


@pytest.mark.parametrize('kind, aside', [('file', 'x.aside'), ('database', '.x.aside')])
def test_what_a_killed_process_leaves_is_used_again(kind, aside, tmp_path):
    path = tmp_path / 'x'
    done = subprocess.run([sys.executable, '-c', KILLED, kind, path])
    assert done.returncode == -signal.SIGKILL and os.listdir(tmp_path) == [aside]
    if kind == 'file':
        write_aside(path, [b'whole'])
        assert path.read_bytes() == b'whole'
    else:
        write_database(path, [(b'c', b'd')])
        assert [(bytes(key), bytes(value)) for key, value in Database(path)] == [(b'c', b'd')]
        assert os.listdir(path) == ['data.mdb']
    assert os.listdir(tmp_path) == ['x']


@pytest.mark.parametrize('folder', [False, True])
def test_a_second_writer_waits_for_the_first(folder, tmp_path):
    path, order = tmp_path / 'x', []

    def second():
        with aside_of(path, folder) as aside:
            order.append('second')
            assert os.path.exists(aside)
    with aside_of(path, folder) as aside:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.1)
        order.append('first')
        os.rename(aside, path)
    thread.join(10)
    assert order == ['first', 'second'] and os.listdir(tmp_path) == ['x']


def test_a_failed_writing_keeps_the_old_file(tmp_path):
    (tmp_path / 'x').write_bytes(b'old')

    def chunks():
        yield b'new'
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        write_aside(tmp_path / 'x', chunks())
    assert os.listdir(tmp_path) == ['x'] and (tmp_path / 'x').read_bytes() == b'old'


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CaffeError, match='none/x: No such file or directory'):
        write_aside(tmp_path / 'none/x', [b''])
    with pytest.raises(CaffeError, match='none/x: No such file or directory'):
        write_database(tmp_path / 'none/x', [])


@pytest.mark.parametrize('umask, mode', [(0o022, 0o644), (0o027, 0o640)])
def test_others_may_read_as_the_umask_allows(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        write_aside(tmp_path / 'x', [b''])
        write_database(tmp_path / 'db', [(b'a', b'b')])
    finally:
        os.umask(before)
    assert (tmp_path / 'x').stat().st_mode & 0o777 == mode
    assert (tmp_path / 'db').stat().st_mode & 0o777 == mode | 0o111 & ~umask
