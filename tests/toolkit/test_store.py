"""Files of the toolkit: whole or not at all, and never used for what they were not made from."""

import json
import logging
import multiprocessing
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib

import numpy as np
import pytest
from deep_retrieval import store
from deep_retrieval.store import StoreError

OLD, NEW = {'weights': 'old', 'S': 800}, {'weights': 'new', 'S': 800}
root = pytest.mark.skipif(os.geteuid() != 0, reason='only root makes device nodes')
not_root = pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')


def run(code, *args, **kwargs):
    """Run Python code in a process of its own."""
    return subprocess.Popen([sys.executable, '-c', code, *map(str, args)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)


def finish(process):
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, ''), err
    return out


# write: what stands at the path

@pytest.mark.parametrize('content', ['\xe9\udce9', b'\xc3\xa9\xe9',
                                     lambda file: file.write(b'\xc3\xa9\xe9')])
def test_write_makes_folders_and_takes_text_bytes_or_a_function(tmp_path, content):
    path = tmp_path / 'a' / 'b' / 'c.txt'
    store.write(path, content)
    assert path.read_bytes() == b'\xc3\xa9\xe9'
    assert os.listdir(path.parent) == ['c.txt']


def test_write_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store.write('x', 'a')
    store.write('x', 'b')
    assert (tmp_path / 'x').read_text() == 'b' and os.listdir() == ['x']


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        store.write(tmp_path / 'x', 'x')
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / 'x').stat().st_mode) == 0o640


@pytest.mark.parametrize('mode', [0o600, 0o444, 0o755, 0o666, 0o4711])
def test_an_existing_file_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / 'x'
    path.write_text('old')
    path.chmod(mode)
    store.write(path, 'new')
    assert stat.S_IMODE(path.stat().st_mode) == mode
    path.chmod(0o600)
    assert path.read_text() == 'new'


@root
def test_an_existing_file_keeps_its_owner(tmp_path):
    path = tmp_path / 'x'
    path.write_text('old')
    os.chown(path, 1234, 2345)
    store.write(path, 'new')
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_other_names_of_a_replaced_file_keep_the_old_content(tmp_path):
    (tmp_path / 'x').write_text('old')
    os.link(tmp_path / 'x', tmp_path / 'second')
    store.write(tmp_path / 'x', 'new')
    assert (tmp_path / 'second').read_text() == 'old'


@pytest.mark.parametrize('exists', [True, False])
def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path, exists):
    target, link = tmp_path / 'far' / 'target', tmp_path / 'link'
    target.parent.mkdir()
    if exists:
        target.write_text('old')
    link.symlink_to('far/target')
    store.write(link, 'new')
    assert os.readlink(link) == 'far/target'
    assert target.read_text() == 'new' and not target.is_symlink()
    assert os.listdir(target.parent) == ['target'] and os.listdir(tmp_path) != []


def test_links_in_a_circle_are_an_error_that_names_the_path(tmp_path):
    (tmp_path / 'a').symlink_to('b')
    (tmp_path / 'b').symlink_to('a')
    with pytest.raises(OSError, match='symbolic links') as caught:
        store.write(tmp_path / 'a', 'x')
    assert caught.value.filename == str(tmp_path / 'a')


@root
@pytest.mark.parametrize('content', ['text', lambda file: np.save(file, [1.0])])
def test_a_null_device_is_written_to_and_stays(tmp_path, content):
    path = tmp_path / 'null'
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    inode = path.stat().st_ino
    store.write(path, content)
    assert stat.S_ISCHR(path.stat().st_mode) and path.stat().st_ino == inode
    assert os.listdir(tmp_path) == ['null']


def test_dev_null_itself_stays_a_device():
    store.write('/dev/null', 'x')
    assert stat.S_ISCHR(os.stat('/dev/null').st_mode) and not os.path.exists('/dev/null.aside')


def test_a_link_to_a_device_stays(tmp_path):
    (tmp_path / 'x').symlink_to('/dev/null')
    store.write(tmp_path / 'x', 'x')
    assert (tmp_path / 'x').is_symlink() and stat.S_ISCHR(os.stat('/dev/null').st_mode)


@pytest.mark.parametrize('content', [b'x' * 100, lambda file: np.save(file, np.zeros(100000))])
def test_a_full_disk_is_named(content):
    with pytest.raises(OSError, match='No space left') as caught:
        store.write('/dev/full', content)
    assert caught.value.filename == '/dev/full' and stat.S_ISCHR(os.stat('/dev/full').st_mode)


def test_a_file_that_becomes_too_large_leaves_the_old_one(tmp_path):
    (tmp_path / 'x').write_text('old')
    out = finish(run('''
import resource, signal, sys
import numpy as np
from deep_retrieval import store
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
rows = np.zeros(10000)
for write in (rows.tofile, lambda file: np.save(file, rows), b'x' * 5000):
    try:
        store.write(sys.argv[1], write)
    except OSError as error:
        print(error.filename, bool(error.errno), bool(error.strerror))
''', tmp_path / 'x'))
    assert out == f'{tmp_path / "x"} True True\n' * 3
    assert (tmp_path / 'x').read_text() == 'old' and os.listdir(tmp_path) == ['x']


@pytest.mark.parametrize('make', [os.mkfifo, lambda path: os.symlink('/dev/null', path)])
def test_what_is_read_back_is_a_regular_file(make, tmp_path):
    """Reading a FIFO would wait for ever, and what a device got is lost."""
    store.save_array(tmp_path / 'x.npy', np.zeros((2, 3)), {'S': 8})
    for name in ('x.json', 'x.npy'):
        os.rename(tmp_path / name, tmp_path / 'kept')
        make(tmp_path / name)
        with pytest.raises(StoreError, match=f'{name}: is not a regular file'):
            store.load_array(tmp_path / 'x.npy')
        os.replace(tmp_path / 'kept', tmp_path / name)
    os.unlink(tmp_path / 'x.npy')
    os.symlink('/dev/null', tmp_path / 'x.npy')
    with pytest.raises(StoreError, match='x.npy: is not a regular file'):
        store.save_array(tmp_path / 'x.npy', np.zeros((2, 3)), {'S': 8})


def test_a_fifo_gets_the_bytes(tmp_path):
    path, got = tmp_path / 'fifo', []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    store.write(path, lambda file: np.save(file, np.arange(30000)))
    reader.join(10)
    assert stat.S_ISFIFO(path.stat().st_mode) and os.listdir(tmp_path) == ['fifo']
    (tmp_path / 'x').write_bytes(got[0])
    np.testing.assert_array_equal(np.load(tmp_path / 'x'), np.arange(30000))


def test_standard_output_into_a_file_is_written_in_order(tmp_path):
    code = '''
import sys
from deep_retrieval import store
print('first', flush=True)
store.write('/dev/stdout', 'second\\n')
print('third', flush=True)
'''
    with open(tmp_path / 'out', 'a') as file:
        subprocess.run([sys.executable, '-c', code], stdout=file, check=True)
    assert (tmp_path / 'out').read_text() == 'first\nsecond\nthird\n'


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)     # names of sockets are short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind('s')
        with pytest.raises(StoreError, match='^s: is a socket; give a file$'):
            store.write('s', 'x')
        assert stat.S_ISSOCK(os.stat('s').st_mode)


def test_a_folder_is_refused(tmp_path):
    (tmp_path / 'full').mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        store.write(tmp_path / 'full', 'x')
    assert caught.value.filename == str(tmp_path / 'full')


def test_a_file_where_a_folder_must_be_is_an_error_of_the_path(tmp_path):
    (tmp_path / 'file').write_text('x')
    with pytest.raises(OSError) as caught:
        store.write(tmp_path / 'file' / 'x', 'x')
    assert caught.value.filename == str(tmp_path / 'file' / 'x')
    assert (tmp_path / 'file').read_text() == 'x'


@not_root
def test_a_folder_that_must_not_be_written_is_an_error_of_the_path(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError) as caught:
        store.write(tmp_path / 'x', 'x')
    assert caught.value.filename == str(tmp_path / 'x')


@pytest.mark.parametrize('error', [ValueError('x'), KeyboardInterrupt()])
def test_a_function_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, error):
    (tmp_path / 'x').write_text('old')

    def fail(file):
        file.write(b'half')
        raise error

    with pytest.raises(type(error)):
        store.write(tmp_path / 'x', fail)
    assert (tmp_path / 'x').read_text() == 'old' and os.listdir(tmp_path) == ['x']


def test_an_error_about_another_file_names_that_one(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        store.write(tmp_path / 'x', lambda file: open(tmp_path / 'source'))
    assert caught.value.filename == str(tmp_path / 'source') and os.listdir(tmp_path) == []


# several processes, killed processes

WRITER = '''
import sys
from deep_retrieval import store
for i in range(40):
    store.write(sys.argv[1], sys.argv[2].encode() * (50_000 + i))
'''


def test_processes_that_write_one_path_leave_one_whole_file(tmp_path):
    path = tmp_path / 'x'
    processes = [run(WRITER, path, letter) for letter in 'abcd']
    while any(process.poll() is None for process in processes):
        if path.exists():
            data = path.read_bytes()
            assert len(set(data)) == 1 and 50_000 <= len(data) < 50_040
        time.sleep(0.002)
    for process in processes:
        finish(process)
    assert os.listdir(tmp_path) == ['x'] and len(path.read_bytes()) == 50_039


def test_threads_that_write_one_path(tmp_path):
    threads = [threading.Thread(target=lambda i=i: [store.write(tmp_path / 'x', str(i) * 1000)
                                                    for _ in range(50)]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set((tmp_path / 'x').read_text())) == 1 and os.listdir(tmp_path) == ['x']


HOLDER = '''
import os, signal, sys, time
from deep_retrieval import store
def half(file):
    file.write(b'half')
    file.flush()
    print('writing', flush=True)
    sys.stdin.readline()
    file.write(b' whole')
store.write(sys.argv[1], half)
'''


def test_a_killed_run_leaves_a_known_name_that_the_next_one_takes_over(tmp_path):
    (tmp_path / 'x').write_text('old')
    process = run(HOLDER, tmp_path / 'x', stdin=subprocess.PIPE)
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert sorted(os.listdir(tmp_path)) == ['x', 'x.aside']
    assert (tmp_path / 'x').read_text() == 'old'
    store.write(tmp_path / 'x', 'new')
    assert (tmp_path / 'x').read_text() == 'new' and os.listdir(tmp_path) == ['x']


def test_clean_removes_leftovers_but_not_what_is_being_written(tmp_path):
    for name in ('dead.aside', 'mine', '.folder.aside'):
        (tmp_path / name).write_text('x')
    (tmp_path / '.gone.aside').mkdir()
    (tmp_path / '.gone.aside' / 'x').write_text('x')
    (tmp_path / 'link.aside').symlink_to('mine')
    process = run(HOLDER, tmp_path / 'x', stdin=subprocess.PIPE)
    process.stdout.readline()
    store.clean(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ['mine', 'x.aside']
    process.communicate('\n', timeout=10)
    assert sorted(os.listdir(tmp_path)) == ['mine', 'x']
    assert (tmp_path / 'x').read_text() == 'half whole' and (tmp_path / 'mine').read_text() == 'x'


@pytest.mark.parametrize('make', ['link', 'hard link', 'read-only'])
def test_a_leftover_is_never_written_through(tmp_path, make):
    precious, aside = tmp_path / 'precious', tmp_path / 'x.aside'
    precious.write_text('precious')
    if make == 'link':
        aside.symlink_to(precious)
    else:
        os.link(precious, aside)
        precious.chmod(0o400 if make == 'read-only' else 0o644)
    store.write(tmp_path / 'x', 'new')
    assert precious.read_text() == 'precious' and (tmp_path / 'x').read_text() == 'new'
    assert sorted(os.listdir(tmp_path)) == ['precious', 'x']


# JSON, hashes, input files

@pytest.mark.parametrize('text', ['', '{', '[]', '3', '\xff', '[' * 100_000])
def test_damaged_json_is_told_in_one_line(tmp_path, text):
    path = tmp_path / 'x.json'
    path.write_bytes(text.encode('latin-1'))
    with pytest.raises(ValueError) as caught:
        store.read_json(path)
    assert str(caught.value) == f'{path}: is damaged: not a JSON object'


def test_json_is_read_as_it_was_written(tmp_path):
    value = {'b': [1, 2.5, None], 'a': {'name': '\xe9\udce9'}}
    store.write_json(tmp_path / 'x.json', value)
    found = store.read_json(tmp_path / 'x.json')
    assert found == value and list(found) == ['b', 'a']
    with pytest.raises(FileNotFoundError):
        store.read_json(tmp_path / 'y.json')


def test_sha256_is_the_published_hash_of_abc(tmp_path):
    (tmp_path / 'x').write_bytes(b'abc')    # FIPS 180-2, appendix B.1
    assert store.sha256(tmp_path / 'x') == (
        'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')


class DecodeError(Exception):
    """As protobuf's: of no useful base class."""


@pytest.mark.parametrize('error, reason', [
    (DecodeError('Error parsing message'), 'Error parsing message'),
    (ValueError('first\nsecond'), 'first'), (EOFError(), 'EOFError'),
    (zipfile.BadZipFile('File is not a zip file'), 'File is not a zip file'),
    (zlib.error('Error -3'), 'Error -3'), (struct.error('unpack'), 'unpack'),
    (UnicodeDecodeError('utf-8', b'\xff', 0, 1, 'bad'),
     "'utf-8' codec can't decode byte 0xff in position 0: bad"),
    (KeyError('names'), "'names' is missing"), (IndexError('range'), 'range'),
    (TypeError('None'), 'None'), (AttributeError('no x'), 'no x'), (MemoryError(), 'MemoryError'),
    (OverflowError('too\t large'), 'too large'), (RecursionError('deep'), 'deep'),
    (OSError('\n  file signature not found'), 'file signature not found'),
    (StopIteration(), 'StopIteration'), (ValueError('other.npy: x'), 'other.npy: x'),
    (RuntimeError('y' * 1000), 'y' * 300)])
def test_whatever_a_library_raises_over_an_input_becomes_one_line(error, reason):
    with pytest.raises(ValueError) as caught, store.reading('a/x.bin', 'a caffemodel'):
        raise error
    assert str(caught.value) == f'a/x.bin: is damaged or is not a caffemodel ({reason})'
    assert caught.value.__cause__ is error


def test_reading_without_a_kind():
    with pytest.raises(ValueError, match=re.escape('x: is damaged (no)')), store.reading('x'):
        raise ValueError('no')


@pytest.mark.parametrize('error', [
    ValueError('a/x.bin: has no rows'), StoreError('a/x.bin: is damaged'),
    FileNotFoundError(2, 'No such file or directory', 'a/y.bin'),
    PermissionError(13, 'Permission denied', 'a/x.bin'), OSError(5, 'I/O error', 'a/x.bin'),
    KeyboardInterrupt(), SystemExit(1), NameError('x'), UnboundLocalError('x'),
    ImportError('faiss'), ModuleNotFoundError('h5py'), AssertionError('x')])
def test_errors_that_need_no_file_or_name_theirs_pass_unchanged(error):
    with pytest.raises(type(error)) as caught, store.reading('a/x.bin', 'a caffemodel'):
        raise error
    assert caught.value is error


def test_a_missing_file_that_the_library_does_not_name_is_named():
    with pytest.raises(FileNotFoundError) as caught, store.reading('a/x.h5'):
        raise FileNotFoundError(2, 'Unable to open file')
    assert caught.value.filename == 'a/x.h5'


@pytest.mark.parametrize('damage', [lambda data: b'', lambda data: data[:50],
                                    lambda data: data[:-1], lambda data: b'\x80' + data])
def test_reading_a_damaged_array(tmp_path, damage):
    path = tmp_path / 'x.npy'
    np.save(path, np.zeros(9))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f'^{path}: is damaged or is not an .npy file \\('):
        with store.reading(path, 'an .npy file'):
            np.load(path, allow_pickle=False)


def test_reading_returns_what_is_read(tmp_path):
    with store.reading(tmp_path / 'x'):
        value = 3
    assert value == 3


# manifests

def test_a_note_records_hash_shape_and_dtype(tmp_path):
    np.save(tmp_path / 'x.npy', np.zeros((2, 3), np.float32))
    (tmp_path / 'sub').mkdir()
    (tmp_path / 'sub' / 'y.bin').write_bytes(b'abc')
    note = store.Manifest.inside(tmp_path)
    note.write(OLD, [tmp_path / 'x.npy', tmp_path / 'sub' / 'y.bin'], names=['a'])
    found = json.loads((tmp_path / 'manifest.json').read_text())
    assert found == {'made_from': OLD, 'names': ['a'], 'files': {
        'x.npy': {'sha256': store.sha256(tmp_path / 'x.npy'), 'shape': [2, 3], 'dtype': '<f4'},
        'sub/y.bin': {'sha256': store.sha256(tmp_path / 'sub' / 'y.bin')}}}
    assert note.read() == OLD and note.note() == found
    note.verify(tmp_path / 'x.npy')
    (tmp_path / 'other').write_bytes(b'')
    with pytest.raises(StoreError, match='other: is not described by .*manifest.json$'):
        note.verify(tmp_path / 'other')


def test_differences_are_named_and_sorted(tmp_path):
    note = store.Manifest(tmp_path / 'note.json')
    assert note.read() is None and note.differences(OLD) == ['S', 'weights']
    note.write({'b': 1, 'a': (1, 2), 'same': None, 'gone': None})
    assert note.differences({'b': 2, 'a': (1, 2), 'same': None, 'more': None}) == [
        'b', 'gone', 'more']
    assert note.differences({'b': 1, 'a': [1, 2], 'same': None, 'gone': None}) == []


def test_the_one_policy(tmp_path, caplog):
    path = tmp_path / 'x.npy'
    note = store.Manifest.beside(path)
    assert note.path == str(tmp_path / 'x.json')
    assert note.state(OLD) == 'absent' and note.check(OLD) is False
    store.save_array(path, np.zeros(3), OLD)
    assert note.state(OLD) == 'same' and note.check(OLD) is True
    assert note.check(OLD, 'redo') is True and caplog.messages == []
    other = {'weights': 'new', 'S': 500}
    assert note.state(other) == 'other'
    with pytest.raises(StoreError) as caught:
        note.check(other)
    assert str(caught.value) == (f'{path}: was made with another S, weights; give another folder, '
                                 'or --overwrite')
    with caplog.at_level(logging.WARNING):
        assert note.check(other, 'redo') is False
    assert caplog.messages == [f'{path}: was made with another S, weights; recomputing it']
    with pytest.raises(ValueError, match='otherwise'):
        note.check(OLD, 'resume')


@pytest.mark.parametrize('text', ['', '[]', '{}', '{"made_from": {}, "files": []}',
                                  '{"made_from": 3, "files": {}}',
                                  '{"made_from": {"weights": "old", "S": 800}, "files": {}}',
                                  '{"made_from": {"weights": "old", "S": 800}, '
                                  '"files": {"x.npy": 3}}'])
def test_a_damaged_note_is_no_note(tmp_path, text, caplog):
    path = tmp_path / 'x.npy'
    store.save_array(path, np.zeros(3), OLD)
    (tmp_path / 'x.json').write_text(text)
    note = store.Manifest.beside(path)
    assert note.state(OLD) == 'damaged'
    with pytest.raises(StoreError, match='^[^\n]*; give another folder, or --overwrite$'):
        note.check(OLD)
    assert note.check(OLD, 'redo') is False and len(caplog.messages) == 1
    with pytest.raises(StoreError):
        store.load_array(path, OLD)


def test_a_described_file_that_was_changed_or_removed(tmp_path):
    note, file = store.Manifest.inside(tmp_path), tmp_path / 'y.bin'
    file.write_bytes(b'abc')
    note.write(OLD, [file])
    assert note.state(OLD) == 'same'
    file.write_bytes(b'abd')
    os.utime(file, ns=(0, 0))
    assert note.state(OLD) == 'damaged'
    with pytest.raises(StoreError, match='y.bin: is damaged, or is not the file that .* describes'):
        note.check(OLD)
    file.unlink()
    assert note.state(OLD) == 'absent'
    with pytest.raises(StoreError, match='y.bin: there is no such file$'):
        note.verify(file)


def test_a_file_is_hashed_once_per_process(tmp_path, monkeypatch):
    path = tmp_path / 'x.npy'
    store.save_array(path, np.zeros(3), OLD)
    calls = []
    monkeypatch.setattr(store.manifest.hashlib, 'sha256',
                        lambda real=store.manifest.hashlib.sha256: calls.append(1) or real())
    store.load_array(path, OLD)
    store.load_array(path, OLD)
    assert calls == []
    os.utime(path, ns=(1, 1))
    store.load_array(path, OLD)
    store.load_array(path, OLD)
    assert calls == [1]


@pytest.mark.parametrize('mmap', [False, True])
@pytest.mark.parametrize('array', [
    np.arange(6, dtype='<f4').reshape(2, 3), np.zeros((0, 4)), np.array(3.0),
    np.array([(1, 2.0)], [('number', '<u4'), ('\xe9', '<f8')]), np.arange(6).reshape(2, 3).T])
def test_an_array_is_read_as_it_was_saved(tmp_path, array, mmap):
    store.save_array(tmp_path / 'x.npy', array, OLD, names=['a', 'b'])
    found, note = store.load_array(tmp_path / 'x.npy', OLD, mmap)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype and isinstance(found, np.memmap) == mmap
    assert note['made_from'] == OLD and note['names'] == ['a', 'b']
    assert sorted(os.listdir(tmp_path)) == ['x.json', 'x.npy']


def test_arrays_of_objects_are_refused(tmp_path):
    with pytest.raises(ValueError):
        store.save_array(tmp_path / 'x.npy', np.array([None]), OLD)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('mmap', [False, True])
def test_an_array_that_does_not_belong_is_refused(tmp_path, mmap):
    path = tmp_path / 'x.npy'
    with pytest.raises(StoreError, match='x.npy: there is no such file$'):
        store.load_array(path, OLD, mmap)
    np.save(path, np.zeros((2, 3)))
    with pytest.raises(StoreError, match='x.npy: nothing says what it was made from'):
        store.load_array(path, OLD, mmap)
    store.save_array(path, np.zeros((2, 3)), OLD)
    with pytest.raises(StoreError, match='x.npy: was made with another weights;'):
        store.load_array(path, NEW, mmap)
    for array, told in [(np.ones((2, 3)), 'x.json describes$'),
                        (np.zeros((3, 3)), r'; its shape is \[3, 3\], not \[2, 3\]$'),
                        (np.zeros((2, 3), np.int64), '; its dtype is <i8, not <f8$')]:
        np.save(path, array)
        os.utime(path, ns=(7, 7))
        with pytest.raises(StoreError, match=told):
            store.load_array(path, OLD, mmap)
        with pytest.raises(StoreError, match=told):
            store.load_array(path, mmap=mmap)


KILLED = '''
import os, signal, sys
import numpy as np
from deep_retrieval import store
moment, when, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]
calls = 0
def killing(function):
    def replace(*args):
        global calls
        calls += 1
        if calls == moment and when == 'before':
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args)
        if calls == moment and when == 'after':
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return replace
if when == 'hashed':
    store.manifest._describe = killing(store.manifest._describe)
    when = 'after'
else:
    os.replace = killing(os.replace)
store.save_array(path, np.full((2, 3), 2.0), {'weights': 'new', 'S': 800})
'''


@pytest.mark.parametrize('there', [True, False])
@pytest.mark.parametrize('moment, when', [(1, 'before'), (1, 'after'), (1, 'hashed'),
                                          (2, 'before'), (2, 'after')])
def test_a_run_killed_anywhere_never_hands_its_rows_to_another(tmp_path, there, moment, when):
    path, values = tmp_path / 'x.npy', {'old': 1.0, 'new': 2.0}
    if there:
        store.save_array(path, np.full((2, 3), 1.0), OLD)
    process = run(KILLED, moment, when, path)
    assert process.wait(60) == -signal.SIGKILL, process.stderr.read()
    process.communicate()
    for made_from in (OLD, NEW, None):
        try:
            rows, note = store.load_array(path, made_from)
        except StoreError:
            continue
        assert (rows == values[note['made_from']['weights']]).all()
        assert made_from in (None, note['made_from'])
    whole = (moment, when) == (2, 'after')
    assert (store.Manifest.beside(path).state(NEW) == 'same') == whole
    if moment == 1 and when == 'before' and there:
        assert store.Manifest.beside(path).state(OLD) == 'same'
    # the next run works, and nothing is left over
    if not store.Manifest.beside(path).check(OLD, otherwise='redo'):
        store.save_array(path, np.full((2, 3), 1.0), OLD)
    assert (store.load_array(path, OLD)[0] == 1).all()
    assert sorted(os.listdir(tmp_path)) == ['x.json', 'x.npy']


def test_processes_that_save_one_array_leave_a_pair(tmp_path):
    code = '''
import sys
import numpy as np
from deep_retrieval import store
for _ in range(30):
    store.save_array(sys.argv[1], np.full(1000, float(sys.argv[2])), {'value': float(sys.argv[2])})
'''
    path, good = tmp_path / 'x.npy', 0
    processes = [run(code, path, value) for value in (1, 2, 3)]
    while any(process.poll() is None for process in processes):
        try:
            rows, note = store.load_array(path)
        except StoreError:
            continue
        assert (rows == note['made_from']['value']).all()
        good += 1
    for process in processes:
        finish(process)
    rows, note = store.load_array(path)
    assert good and (rows == note['made_from']['value']).all()
    assert sorted(os.listdir(tmp_path)) == ['x.json', 'x.npy']


# journals and locks

def test_a_journal_cut_anywhere_in_its_last_batch_loses_that_alone(tmp_path):
    path, first, second = tmp_path / 'x.part', np.eye(3, 2), np.full((2, 2), 7.0)
    with store.Journal(path, OLD) as journal:
        journal.append([4, 0, 2], first)
        begin = path.stat().st_size
        journal.append([1, 3], second)
    data = path.read_bytes()
    assert len(data) == begin + 20 + 2 * 8 + 4 * 4
    for end in range(begin, len(data) + 1):
        path.write_bytes(data[:end])
        with store.Journal(path, OLD) as journal:
            whole = end == len(data)
            assert sorted(journal.rows) == ([0, 1, 2, 3, 4] if whole else [0, 2, 4])
            matrix = journal.matrix(6)
            assert matrix.dtype == np.float32 and matrix.shape == (6, 2)
            np.testing.assert_array_equal(matrix[[4, 0, 2]], first)
            np.testing.assert_array_equal(matrix[[1, 3]], second if whole else np.full((2, 2),
                                                                                       np.nan))
            assert np.isnan(matrix[5]).all()
            journal.append([5], [[8, 9]])
        with store.Journal(path, OLD) as journal:
            np.testing.assert_array_equal(journal.rows[5], [8, 9])


@pytest.mark.parametrize('place', range(56))
def test_a_journal_with_a_changed_byte_loses_that_batch(tmp_path, place):
    path = tmp_path / 'x.part'
    with store.Journal(path, OLD) as journal:
        journal.append([0], [[1, 2]])
        begin = path.stat().st_size
        journal.append([1, 3], np.full((2, 2), 7.0))
    data = bytearray(path.read_bytes())
    if begin + place < len(data):
        data[begin + place] ^= 0x81
        path.write_bytes(data)
        with store.Journal(path, OLD) as journal:
            assert list(journal.rows) == [0]
        assert path.stat().st_size == begin


@pytest.mark.parametrize('text', [b'', b'{"S": 1}', b'{"S": 1}\nrubbish', b'\xff' * 100])
def test_a_journal_of_something_else_is_emptied(tmp_path, text):
    (tmp_path / 'x.part').write_bytes(text)
    with store.Journal(tmp_path / 'x.part', OLD) as journal:
        assert journal.rows == {} and journal.matrix(3).shape == (3, 0)
        journal.append([1], [[2.0]])
        journal.remove()
    assert os.listdir(tmp_path) == []


def test_a_journal_has_one_writer(tmp_path):
    with store.Journal(tmp_path / 'new' / 'x.part', OLD):
        with pytest.raises(StoreError, match='x.part: another process is writing it'):
            store.Journal(tmp_path / 'new' / 'x.part', OLD).__enter__()
    with store.Journal(tmp_path / 'new' / 'x.part', OLD):
        pass


def test_a_journal_that_becomes_too_large_is_named_and_keeps_its_batches(tmp_path):
    path = tmp_path / 'x.part'
    out = finish(run('''
import resource, sys
import numpy as np
from deep_retrieval import store
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with store.Journal(sys.argv[1], {}) as journal:
        journal.append([0], np.ones((1, 8)))
        journal.append([1], np.ones((1, 4000)))
except OSError as error:
    print(error.filename, error.strerror)
''', path))
    assert out == f'{path} File too large\n'
    with store.Journal(path, {}) as journal:
        assert list(journal.rows) == [0] and (journal.rows[0] == 1).all()


def test_locks_hold_between_processes_and_end_with_them(tmp_path):
    code = '''
import sys
from deep_retrieval import store
with store.Locks(sys.argv[1]) as locks, locks.held(1) as held:
    print(held, flush=True)
    sys.stdin.readline()
'''
    folder = tmp_path / 'new'
    process = run(code, folder, stdin=subprocess.PIPE)
    assert process.stdout.readline() == 'True\n'
    with store.Locks(folder) as locks:
        with locks.held(1, wait=False) as held:
            assert not held
        with locks.held(2, wait=False) as held:
            assert held
        process.kill()
        process.communicate()
        with locks.held(1) as held:
            assert held
    assert os.listdir(folder) == ['.lock']


# folders and copies

@pytest.mark.parametrize('link', [False, True])
@pytest.mark.parametrize('there', ['nothing', 'file', 'leftover', 'itself'])
def test_place(tmp_path, link, there):
    source, path = tmp_path / 'source', tmp_path / 'sub' / 'x'
    source.write_text('precious')
    path.parent.mkdir()
    if there == 'file':
        path.write_text('old')
    if there == 'itself':
        os.link(source, path)
    if there == 'leftover':
        os.link(source, path.parent / 'x.aside')
        os.link(source, path.parent / 'x.link.aside')
    store.place(source, path, link)
    assert path.read_text() == source.read_text() == 'precious'
    assert os.path.samefile(source, path) == link and os.listdir(path.parent) == ['x']


def test_place_on_a_link_writes_its_target(tmp_path):
    (tmp_path / 'source').write_text('new')
    (tmp_path / 'x').symlink_to('target')
    store.place(tmp_path / 'source', tmp_path / 'x', link=True)
    assert (tmp_path / 'x').is_symlink() and (tmp_path / 'target').read_text() == 'new'


@pytest.mark.parametrize('link', [False, True])
def test_a_source_that_is_missing_is_named(tmp_path, link):
    with pytest.raises(FileNotFoundError) as caught:
        store.place(tmp_path / 'source', tmp_path / 'x', link)
    assert str(caught.value.filename) == str(tmp_path / 'source') and os.listdir(tmp_path) == []


def test_place_copies_where_no_link_can_be(tmp_path, monkeypatch):
    def link(*args):
        raise OSError(18, 'Invalid cross-device link')

    (tmp_path / 'source').write_text('x')
    monkeypatch.setattr(os, 'link', link)
    store.place(tmp_path / 'source', tmp_path / 'x', link=True)
    assert (tmp_path / 'x').read_text() == 'x' and len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize('there', [True, False])
def test_a_folder_is_replaced_when_it_is_whole(tmp_path, there):
    folder = tmp_path / 'far' / 'f'
    if there:
        folder.mkdir(parents=True)
        folder.chmod(0o750)
        (folder / 'old').write_text('old')
    with store.replace_folder(folder) as new:
        assert os.path.basename(new) == '.f.aside' and os.listdir(new) == []
        store.write(os.path.join(new, 'new'), 'new')
        assert os.path.exists(folder) == there
    assert os.listdir(folder) == ['new'] and os.listdir(folder.parent) == ['f']
    if there:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o750


def test_a_folder_stays_when_its_making_fails(tmp_path):
    (tmp_path / 'f').mkdir()
    (tmp_path / 'f' / 'old').write_text('old')
    with pytest.raises(KeyboardInterrupt), store.replace_folder(tmp_path / 'f') as new:
        store.write(os.path.join(new, 'new'), 'new')
        raise KeyboardInterrupt
    assert os.listdir(tmp_path / 'f') == ['old'] and os.listdir(tmp_path) == ['f']


def test_a_folder_stays_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    def rename(old, new, real=os.rename):
        if os.path.basename(old) == '.f.aside' and os.path.basename(new) == 'f':
            raise OSError(28, 'No space left on device')
        real(old, new)

    (tmp_path / 'f').mkdir()
    (tmp_path / 'f' / 'old').write_text('old')
    monkeypatch.setattr(os, 'rename', rename)
    with pytest.raises(OSError) as caught, store.replace_folder(tmp_path / 'f'):
        pass
    assert caught.value.filename == str(tmp_path / 'f')
    assert os.listdir(tmp_path / 'f') == ['old'] and os.listdir(tmp_path) == ['f']


REPLACER = '''
import os, signal, sys
from deep_retrieval import store
moment, folder, calls = int(sys.argv[1]), sys.argv[2], 0
def rename(old, new, real=os.rename):
    global calls
    calls += 1
    if calls == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    real(old, new)
    if calls == 2 and moment == 3:
        os.kill(os.getpid(), signal.SIGKILL)
os.rename = rename
with store.replace_folder(folder) as new:
    for name in 'abc':
        store.write(os.path.join(new, name), 'new')
'''


@pytest.mark.parametrize('then', ['clean', 'replace', 'fail'])
@pytest.mark.parametrize('moment, left', [(1, ['old']), (2, ['old']), (3, ['a', 'b', 'c'])])
def test_a_replacement_killed_at_each_rename_loses_nothing(tmp_path, moment, left, then):
    folder = tmp_path / 'f'
    folder.mkdir()
    (folder / 'old').write_text('old')
    process = run(REPLACER, moment, folder)
    assert process.wait(60) == -signal.SIGKILL, process.stderr.read()
    process.communicate()
    assert all(name == 'f' or name.endswith('.aside') for name in os.listdir(tmp_path))
    if then == 'clean':
        store.clean(tmp_path)
    elif then == 'fail':
        with pytest.raises(ValueError), store.replace_folder(folder):
            raise ValueError
    else:
        with store.replace_folder(folder) as new:
            assert os.listdir(new) == []
        left = []
    assert sorted(os.listdir(folder)) == left and os.listdir(tmp_path) == ['f']


def test_a_folder_has_one_maker(tmp_path):
    with store.replace_folder(tmp_path / 'f') as new:
        store.clean(tmp_path)
        with pytest.raises(StoreError, match='f.aside: another process is writing it'):
            with store.replace_folder(tmp_path / 'f'):
                pass
        assert os.path.isdir(new)
    assert os.listdir(tmp_path) == ['f']


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / 'f').write_text('x')
    with pytest.raises(StoreError, match='f: is a file; give another folder$'):
        with store.replace_folder(tmp_path / 'f'):
            pass
    assert (tmp_path / 'f').read_text() == 'x'


def test_a_link_to_a_folder_stays(tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'f').symlink_to('real')
    with store.replace_folder(tmp_path / 'f') as new:
        store.write(os.path.join(new, 'x'), 'x')
    assert (tmp_path / 'f').is_symlink() and os.listdir(tmp_path / 'real') == ['x']


def test_check_folder(tmp_path):
    ours = re.compile(r'manifest\.json|shard_\d+\.npy')
    store.check_folder(tmp_path / 'absent', ours)
    for name in ('manifest.json', 'shard_1.npy', 'anything.aside'):
        (tmp_path / name).write_text('x')
    store.check_folder(tmp_path, ours)
    for name in ('z.txt', 'shard_1.npy.txt'):
        (tmp_path / name).write_text('x')
    told = f'{tmp_path}: contains other files (shard_1.npy.txt); give another folder'
    # the option is offered by those who have it
    for overwrite, offer in ((None, ''), (False, ', or --overwrite')):
        with pytest.raises(StoreError) as caught:
            store.check_folder(tmp_path, ours, overwrite)
        assert str(caught.value) == told + offer
    store.check_folder(tmp_path, ours, overwrite=True)
    with pytest.raises(StoreError, match='z.txt: is a file, where the features should go'):
        store.check_folder(tmp_path / 'z.txt', ours, overwrite=True, what='the features')


def test_find_lists_files_by_their_endings(tmp_path, caplog):
    for name in ('b.JPG', 'a/c.jpg', 'a/.hidden.jpg', '.git/x.jpg', 'a/d.txt', 'a/e/f.png'):
        store.write(tmp_path / name, '')
    (tmp_path / 'a' / 'loop').symlink_to(tmp_path)
    (tmp_path / 'linked').symlink_to('a/e')
    assert store.find(tmp_path, ['.jpg', '.png']) == ['a/c.jpg', 'a/e/f.png', 'b.JPG',
                                                      'linked/f.png']
    assert caplog.messages == []
    with pytest.raises(FileNotFoundError):
        store.find(tmp_path / 'absent', ['.jpg'])


def test_a_folder_below_that_cannot_be_read_is_left_out(tmp_path, monkeypatch, caplog):
    def scandir(path, real=os.scandir):
        if os.path.basename(path) == 'shut':
            raise PermissionError(13, 'Permission denied', path)
        return real(path)

    for name in ('a.jpg', 'shut/b.jpg'):
        store.write(tmp_path / name, '')
    monkeypatch.setattr(os, 'scandir', scandir)
    assert store.find(tmp_path, ['.jpg']) == ['a.jpg']
    assert caplog.messages == [f'{tmp_path}/shut: left out: Permission denied']


@pytest.mark.parametrize('name, out', [('a/b', False), ('..a/b..', False), ('/a', True),
                                       ('..', True), ('a/../b', True), ('a/..', True)])
def test_leads_out(name, out):
    assert store.leads_out(name) == out


# workers

PARENT = '''
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from deep_retrieval import store
from deep_retrieval.store import workers

def start():
    if sys.argv[3] == 'watch':
        workers._signal_at_death = lambda: False
    store.end_with_parent()

def work(_):
    os.write(1, b'%d\\n' % os.getpid())     # one line, whatever the other one writes
    time.sleep(60)

if __name__ == '__main__':
    context = multiprocessing.get_context(sys.argv[2])
    try:
        if sys.argv[1] == 'Pool':
            with context.Pool(2, start) as pool:
                pool.map(work, range(2), chunksize=1)
        else:
            with ProcessPoolExecutor(2, context, start) as pool:
                list(pool.map(work, range(2)))
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
'''


def started(tmp_path, *args):
    """A process with two workers, and their ids."""
    (tmp_path / 'parent.py').write_text(PARENT)     # spawned workers import it
    process = subprocess.Popen([sys.executable, tmp_path / 'parent.py', *args], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True)
    return process, [int(process.stdout.readline()) for _ in range(2)]


def lives(pid):
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rpartition(')')[2].split()[0] not in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not os.path.exists('/proc/self/stat'), reason='reads /proc')
@pytest.mark.parametrize('pool', ['ProcessPoolExecutor', 'Pool'])
@pytest.mark.parametrize('method, how', [(method, 'signal') for method
                                         in multiprocessing.get_all_start_methods()]
                         + [('fork', 'watch')])
def test_workers_end_when_their_parent_is_killed(tmp_path, pool, method, how):
    process, pids = started(tmp_path, pool, method, how)
    try:
        assert all(map(lives, pids))
        process.kill()
        end = time.monotonic() + 2
        while any(map(lives, pids)) and time.monotonic() < end:
            time.sleep(0.05)
        assert not any(map(lives, pids))
    finally:
        for pid in filter(lives, pids):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_control_c_is_left_to_the_parent(tmp_path, method):
    process, _ = started(tmp_path, 'Pool', method, 'signal')
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=20)[1] == 'interrupted\n'


def test_a_worker_whose_parent_is_gone_ends_at_once(tmp_path):
    out = finish(run('''
import multiprocessing, os
from deep_retrieval import store

class Gone:
    pid = -1
    def is_alive(self):
        return False

multiprocessing.parent_process = Gone
if os.fork() == 0:
    store.end_with_parent()
    print('goes on', flush=True)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.wait()[1]))
'''))
    assert out == '1\n'


def test_importing_the_store_imports_nothing_heavy():
    out = finish(run('''
import sys
from deep_retrieval import store
print(sorted({'numpy', 'torch', 'caffe', 'cv2', 'tqdm'} & set(sys.modules)))
'''))
    assert out == '[]\n'
