"""A damaged LMDB is an error in one line, where liblmdb itself would end the process."""

import gc
import os
import struct
import subprocess

import caffe
import lmdb
import pytest
from caffe.database import Database, write_database
from caffe.proto import caffe_pb2

PAGE, BRANCH, LEAF, OVERFLOW, META = 4096, 1, 2, 4, 8    # of LMDB's file format
OVERFLOW_NODE = 1       # flag of a node whose value has pages of its own
NET = ('layer {{ name: "d" type: "Data" top: "data" data_param {{ source: "{}" batch_size: 1 '
       'backend: LMDB }} }}')


@pytest.fixture
def deep(tmp_path):
    """An LMDB with all kinds of pages: small records, and large ones with pages of their own."""
    write_database(tmp_path / 'db', [(b'%04d' % i, bytes([i]) * (9000 if i % 50 == 7 else 120))
                                     for i in range(100)])
    return tmp_path / 'db'


def pages(data, kind):
    """The numbers of the pages of this kind."""
    found, page = [], 0
    while page * PAGE < len(data):
        flags, count = struct.unpack_from('<HI', data, page * PAGE + 10)
        found += [page] if flags == kind else []
        page += count if flags == OVERFLOW else 1
    return found


def damage(path, kind, content, index=0):
    """Write over the `index`-th page of this kind."""
    file = path / 'data.mdb'
    data = bytearray(file.read_bytes())
    start = pages(data, kind)[index] * PAGE
    data[start:start + len(content)] = content
    file.write_bytes(data)


def assert_damaged(path, words):
    with pytest.raises(caffe.CaffeError) as error:
        Database(path)
    message = str(error.value)
    assert message.startswith(f'{path}: ') and words in message and '\n' not in message


@pytest.mark.parametrize('content', [bytes(PAGE), b'x' * PAGE, bytes(range(256)) * 16])
@pytest.mark.parametrize('kind, index', [(LEAF, 0), (LEAF, 1), (LEAF, -1), (BRANCH, 0)])
def test_damaged_pages(deep, kind, index, content):
    """At such a page liblmdb ends its process: this one goes on."""
    damage(deep, kind, content, index)
    assert_damaged(deep, 'the LMDB is damaged')


def test_no_and_empty_databases(make_net, tmp_path):
    with pytest.raises(caffe.CaffeError, match='nowhere: cannot be read as an LMDB.*No such file'):
        make_net(NET.format(tmp_path / 'nowhere'))
    lmdb.open(str(tmp_path / 'empty')).close()
    with pytest.raises(caffe.CaffeError, match='empty: has no records'):
        make_net(NET.format(tmp_path / 'empty'))


def test_damaged_keys(deep):
    """A leaf in another's place: every page is sound, but not what lies behind it."""
    data = (deep / 'data.mdb').read_bytes()
    leaf = pages(data, LEAF)[1] * PAGE
    damage(deep, LEAF, data[leaf:leaf + PAGE], 2)
    assert_damaged(deep, 'the LMDB is damaged')


@pytest.mark.parametrize('content', [bytes(PAGE), b'x' * PAGE])
def test_damaged_meta_pages(deep, content):
    damage(deep, META, content * 2)
    assert_damaged(deep, 'cannot be read as an LMDB')


@pytest.mark.parametrize('change, words', [
    (lambda data: data[:len(data) // 2], 'truncated'),
    (lambda data: data[:len(data) - PAGE], 'truncated'),
    (lambda data: data[:100], 'cannot be read as an LMDB'),
    (lambda data: b'', 'cannot be read as an LMDB'),
    (lambda data: b'x' * len(data), 'cannot be read as an LMDB'),
])
def test_truncated_databases(deep, change, words):
    file = deep / 'data.mdb'
    file.write_bytes(change(file.read_bytes()))
    assert_damaged(deep, words)


@pytest.mark.parametrize('content', [bytes(PAGE), bytes(16) + b'\xff' * PAGE])
def test_damaged_values(make_net, tmp_path, content):
    """A large value's pages may hold anything: the error names the key."""
    path = tmp_path / 'db'
    value = caffe_pb2.Datum(channels=1, height=90, width=90, data=bytes(8100)).SerializeToString()
    write_database(path, [(b'a', value), (b'b', value)])
    damage(path, OVERFLOW, content, 1)
    net = make_net(NET.format(path))
    net.forward()
    with pytest.raises(caffe.CaffeError, match=f'{path}: b: is not a Datum'):
        net.forward()


def test_damaged_head_of_a_value(deep):
    damage(deep, OVERFLOW, b'x' * PAGE)
    assert_damaged(deep, 'the LMDB is damaged')


def test_a_value_that_ends_behind_the_file(deep):
    """Its length stands in the leaf: reading it would be the end of the process."""
    file = deep / 'data.mdb'
    data = file.read_bytes()
    node, longer = (struct.pack('<IH', size, OVERFLOW_NODE) for size in (9000, 1 << 30))
    assert node in data
    file.write_bytes(data.replace(node, longer))
    assert_damaged(deep, 'the LMDB is damaged')


def test_a_database_is_checked_once_until_it_changes(deep, monkeypatch):
    calls, run = [], subprocess.run
    monkeypatch.setattr(subprocess, 'run', lambda *a, **kw: calls.append(a) or run(*a, **kw))
    for _ in range(3):
        assert len(list(Database(deep))) == 100
        gc.collect()
    assert len(calls) == 1
    os.utime(deep / 'data.mdb', (1, 1))
    Database(deep)
    assert len(calls) == 2
