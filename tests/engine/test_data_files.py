"""Databases, Datums and the commands that make them, against what genuine Caffe made."""

import gc
import re
import shutil
import threading
import time

import caffe
import cv2
import lmdb
import numpy as np
import pytest
import torch
from caffe.database import Database, Prefetch, cycle, write_database
from caffe.proto import caffe_pb2
from caffe.tools import compute_image_mean, convert_imageset
from conftest import ROOT, assert_one_line, run_script

DATA = ROOT / 'tests/data/genuine/data'


@pytest.fixture(autouse=True)
def in_data(monkeypatch):
    monkeypatch.chdir(DATA)


def content(path):
    with lmdb.open(str(path), readonly=True, lock=False) as environment:
        with environment.begin() as transaction:
            return list(transaction.cursor())


def data_net(make_net, path, batch_size=1):
    return make_net('layer { name: "d" type: "Data" top: "data" top: "label" data_param { '
                    f'source: "{path}" batch_size: {batch_size} backend: LMDB }} }}')


def failure(capsys, command, *args):
    """The one line of stderr, but for the log's, with which `command` ends in status 1."""
    with pytest.raises(SystemExit) as end:
        command.main([str(arg) for arg in args])
    lines = [line for line in capsys.readouterr().err.splitlines()
             if not re.match('[IW][0-9]', line)]
    assert end.value.code == 1 and len(lines) == 1
    return lines[0]


@pytest.mark.parametrize('flags, name', [
    ([], 'plain_lmdb'),
    (['--nogray', '--encoded=false'], 'plain_lmdb'),
    (['--encoded'], 'encoded_lmdb'),
    (['-encoded=true', '-encode_type', 'png'], 'encoded_lmdb'),
    (['--encode_type=PNG'], 'encoded_lmdb'),
    (['-gray', '--backend', 'lmdb'], 'gray_lmdb'),
    (['--nogray', '-gray=1', '--encoded=0', '--'], 'gray_lmdb'),
    (['--backend=lmdb', '-gray'], 'gray_lmdb'),     # not with the folder that follows as its value
    (['--check_size', '-resize_height=16', '--resize_width', '12'], 'resized_lmdb'),
    (['--resize_height=16'], 'plain_lmdb'),     # both or none
])
def test_converts_as_genuine(tmp_path, flags, name):
    """The same keys and the same bytes."""
    assert convert_imageset.main([*flags, 'img/', 'list.txt', str(tmp_path / 'db')]) == 0
    assert content(tmp_path / 'db') == content(name)
    assert [path.name for path in tmp_path.iterdir()] == ['db']


def test_encodes_anew_what_is_of_another_kind(tmp_path):
    convert_imageset.main(['--encode_type', 'bmp', '--gray', 'img/', 'list.txt',
                           str(tmp_path / 'db')])
    for (_, value), (_, gray) in zip(content(tmp_path / 'db'), content('gray_lmdb')):
        datum, raw = caffe_pb2.Datum.FromString(value), caffe_pb2.Datum.FromString(gray)
        image = cv2.imdecode(np.frombuffer(datum.data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert datum.encoded and image.tobytes() == raw.data and datum.label == raw.label


@pytest.mark.parametrize('flags, words', [
    (['--grey'], 'unrecognized arguments: --grey'),
    (['--gray=maybe'], "--gray: 'maybe' is neither true nor false"),
    (['--resize_width=wide'], "--resize_width: invalid int value: 'wide'"),
    (['too', 'many'], 'unrecognized arguments: '),
])
def test_wrong_flags(capsys, flags, words):
    with pytest.raises(SystemExit) as end:
        convert_imageset.main([*flags, 'img/', 'list.txt', 'new'])
    err = capsys.readouterr().err
    assert end.value.code == 2 and err.startswith('usage: ') and words in err.splitlines()[-1]


def test_shuffle_by_seed(tmp_path):
    def shuffled(name, *flags):
        convert_imageset.main(['-shuffle', *flags, 'img/', 'list.txt', str(tmp_path / name)])
        return content(tmp_path / name)
    first = shuffled('a')
    assert [key[:9] for key, _ in first] == [b'%08d_' % i for i in range(7)]
    plain = {key[9:]: value for key, value in content('plain_lmdb')}
    assert {key[9:]: value for key, value in first} == plain
    assert shuffled('b') == first != shuffled('c', '--seed=5')


def test_leaves_out_unreadable_images(tmp_path, capsys):
    """They are named, and keep their number, as in genuine Caffe."""
    (tmp_path / 'list').write_text('gone.png 1\n3.png 2\n../list.txt 3\n0 copy.png -4\n')
    convert_imageset.main(['img/', str(tmp_path / 'list'), str(tmp_path / 'db')])
    keys = [key for key, _ in content(tmp_path / 'db')]
    assert keys == [b'00000001_3.png', b'00000003_0 copy.png']
    log = capsys.readouterr().err
    assert 'img/gone.png: No such file' in log and 'img/../list.txt: is not an image' in log
    assert 'Processed 2 files' in log


def test_convert_refuses(tmp_path, capsys):
    (tmp_path / 'db').mkdir()
    (tmp_path / 'sizes').write_text('0.png 1\nsmall.png 2\n')
    (tmp_path / 'nothing').write_text('gone.png 1\n')
    (tmp_path / 'label').write_text('0.png 1\n1.png one\n')
    (tmp_path / 'blank').write_text('\n')
    shutil.copy('img/0.png', tmp_path / '0.png')
    cv2.imwrite(str(tmp_path / 'small.png'), np.zeros((4, 5, 3), np.uint8))
    new, root = tmp_path / 'new', f'{tmp_path}/'
    for args, words in [
        (['img/', 'list.txt', tmp_path / 'db'], 'db: exists already'),
        (['img/', 'list.txt', tmp_path / 'no/folder'], 'no/folder: No such file'),
        (['img/', 'nofile', new], 'nofile: No such file'),
        (['--check_size', root, tmp_path / 'sizes', new], 'small.png: has shape (3, 4, 5)'),
        (['--check_size', '--encoded', root, tmp_path / 'sizes', new], 'small.png: has shape'),
        ([root, tmp_path / 'nothing', new], 'nothing: none of its 1 images'),
        ([root, tmp_path / 'label', new], "label:2: expected a file name"),
        ([root, tmp_path / 'blank', new], 'blank: lists no image'),
        (['--backend=leveldb', 'img/', 'list.txt', new], 'backend leveldb'),
        (['--encode_type=doc', 'img/', 'list.txt', new], "'doc'"),
    ]:
        assert words in failure(capsys, convert_imageset, *args)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(('new', 'db.'))]


def test_mean_as_genuine(tmp_path, capsys):
    for source in ('plain_lmdb', 'encoded_lmdb'):
        path = tmp_path / source
        assert compute_image_mean.main([source, str(path)]) == 0
        assert path.read_bytes() == (DATA / 'mean.binaryproto').read_bytes()
        assert capsys.readouterr().out == (     # the figures that genuine Caffe printed
            'Number of channels: 3\nmean_value channel [0]: 127.329\n'
            'mean_value channel [1]: 127.326\nmean_value channel [2]: 128.093\n')
    compute_image_mean.main(['-backend=lmdb', 'float_lmdb'])
    values = np.array([caffe_pb2.Datum.FromString(value).float_data
                       for _, value in content('float_lmdb')]).reshape(5, 2, 30).mean((0, 2))
    printed = re.findall(r'\]: (.*)\n', capsys.readouterr().out)
    np.testing.assert_allclose([float(value) for value in printed], values, rtol=1e-4)


def test_mean_refuses(tmp_path, capsys):
    for args, words in [
        (['sizes_lmdb'], 'sizes_lmdb: 00000001_1: has shape (1, 9, 12), but the first image'),
        (['nowhere'], 'nowhere: cannot be read as an LMDB'),
        (['plain_lmdb', 'mean.binaryproto'], 'exists already'),
        (['plain_lmdb', tmp_path / 'no/folder'], 'No such file'),
    ]:
        assert words in failure(capsys, compute_image_mean, *args)


def test_commands_run_as_modules(tmp_path):
    done = run_script('-m', 'caffe.tools.compute_image_mean', '--backend', 'leveldb', 'x')
    assert_one_line(done, 'compute_image_mean: ', 'leveldb')


@pytest.mark.parametrize('value, words', [
    (content(DATA / 'plain_lmdb')[0][1][:-700], 'not a Datum'),
    (caffe_pb2.Datum(channels=3, height=4, width=5, data=b'x' * 59), '59 values'),
    (caffe_pb2.Datum(channels=1, height=1, width=2, float_data=[1]), '1 values'),
    (caffe_pb2.Datum(label=1), '0 values'),
    (caffe_pb2.Datum(encoded=True, data=b'no image'), 'OpenCV'),
    (caffe_pb2.Datum(encoded=True), 'OpenCV'),
    (caffe_pb2.Datum(encoded=True, data=cv2.imencode('.png', np.zeros((2, 2), 'u2'))[1].tobytes()),
     'uint16'),
])
def test_broken_datums(make_net, tmp_path, value, words):
    """The error names database and key; records before the broken one are delivered."""
    value = value if isinstance(value, bytes) else value.SerializeToString()
    write_database(tmp_path / 'db', [content('plain_lmdb')[0], (b'00000001_bad', value)])
    net = data_net(make_net, tmp_path / 'db')
    net.forward()
    with pytest.raises(caffe.CaffeError, match=f'{tmp_path}/db: 00000001_bad: .*{words}'):
        net.forward()
    with pytest.raises(caffe.CaffeError, match='00000001_bad'):
        data_net(make_net, tmp_path / 'db', 2).forward()


def test_writes_many_records(tmp_path):
    records = [(b'%08d' % i, bytes([i % 251]) * (i % 7 * 1000)) for i in range(250)]
    assert write_database(f'{tmp_path}/db/', records) == 250
    assert content(tmp_path / 'db') == records
    assert len(Database(tmp_path / 'db')) == 250


def test_a_failed_writing_leaves_nothing(tmp_path):
    def records():
        yield b'a', b'b'
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        write_database(tmp_path / 'db', records())
    with pytest.raises(caffe.CaffeError, match='cannot be written'):
        write_database(tmp_path / 'db', [(b'k' * 1000, b'')])
    assert not list(tmp_path.iterdir())


def test_cycles():
    """In the order of the keys, or each key once a round in a new order."""
    values = dict(content('plain_lmdb'))
    database = Database('plain_lmdb')
    keys = [bytes(key) for key, _ in database]
    assert keys == [b'%08d_%d.png' % (i, i) for i in range(7)]
    endless = database.cycle()
    assert [bytes(next(endless)[0]) for _ in range(16)] == (keys * 3)[:16]
    shuffled = database.cycle(torch.Generator().manual_seed(1))
    rounds = []
    for _ in range(3):
        pairs = [tuple(map(bytes, next(shuffled))) for _ in range(7)]
        assert dict(pairs) == values
        rounds.append([key for key, _ in pairs])
    assert rounds[0] != rounds[1] != rounds[2]
    endless = cycle('abc', start=2)
    assert ''.join(next(endless) for _ in range(5)) == 'cabca'


def test_prefetch_keeps_order_and_depth():
    """A slow reader finds `depth` items waiting, and one more begun."""
    made = []

    def items():
        for number in range(100):
            made.append(number)
            yield number

    ahead = Prefetch(items(), 3)
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert made == [0, 1, 2, 3]
    assert [ahead.next() for _ in range(50)] == list(range(50))
    count = threading.active_count()
    del ahead
    gc.collect()
    assert threading.active_count() == count - 1


def test_prefetch_raises_what_its_thread_raised():
    def items():
        yield 1
        raise ZeroDivisionError('in the thread')
    ahead = Prefetch(items(), 1)
    assert ahead.next() == 1
    for _ in range(3):
        with pytest.raises(ZeroDivisionError, match='in the thread'):
            ahead.next()
