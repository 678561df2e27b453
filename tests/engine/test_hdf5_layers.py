"""HDF5Data and HDF5Output; what genuine Caffe delivers is in test_data_layers.py."""

import caffe
import h5py
import numpy as np
import pytest
from data_nets import DATA, layer


@pytest.fixture(autouse=True)
def in_data(monkeypatch):
    monkeypatch.chdir(DATA)


def hdf5_data(source, *tops, **options):
    rest = ' '.join(f'{name}: {value}' for name, value in options.items())
    return layer('HDF5Data', f'hdf5_data_param {{ source: "{source}" {rest} }}', tops=tops)


def test_hdf5_shuffled(make_net):
    """Files in a new order each round, rows in a new order within each; rows stay together."""
    net = make_net(hdf5_data('h5.txt', 'label', 'count', batch_size=9, shuffle='true'))
    rounds = []
    for _ in range(8):
        out = net.forward()
        np.testing.assert_array_equal(out['count'][:, 0], out['label'] * 3)
        rounds.append(tuple(int(label) for label in out['label']))
    assert all(sorted(rows) == list(range(9)) for rows in rounds) and len(set(rounds)) > 4
    assert {rows[0] < 5 for rows in rounds} == {True, False}
    assert all({row < 5 for row in rows[:4]} != {True, False} for rows in rounds)


@pytest.mark.parametrize('source, options, words', [
    ('nofile', {}, 'nofile: No such file'),
    ('h5.txt', {'batch_size': 0}, 'batch_size'),
    ('gone', {}, 'c.h5: No such file'),
    ('list', {}, 'list.txt: is not an HDF5 file'),
    ('empty', {}, 'lists no HDF5 file'),
])
def test_hdf5_refuses(make_net, tmp_path, source, options, words):
    for name, content in (('gone', 'c.h5'), ('list', 'list.txt'), ('empty', '\n')):
        (tmp_path / name).write_text(content)
    if (tmp_path / source).exists():
        source = tmp_path / source
    with pytest.raises(caffe.CaffeError, match=words):
        make_net(hdf5_data(source, 'data', **{'batch_size': 2, **options}))


def test_hdf5_refuses_wrong_datasets(make_net, tmp_path):
    with pytest.raises(caffe.CaffeError, match="a.h5: has no dataset 'other'; it has count, data"):
        make_net(hdf5_data('h5.txt', 'data', 'other', batch_size=2))
    with pytest.raises(caffe.CaffeError, match='does not transform'):
        make_net(hdf5_data('h5.txt', 'data', batch_size=2).replace(
            'hdf5_data_param', 'transform_param { scale: 2 } hdf5_data_param'))
    with h5py.File(tmp_path / 'short.h5', 'w') as file:
        file['data'], file['label'] = np.zeros((3, 2)), np.zeros(2)
    with h5py.File(tmp_path / 'wide.h5', 'w') as file:
        file['data'] = np.zeros((3, 9))
    (tmp_path / 'list').write_text(f'{tmp_path}/short.h5\n{tmp_path}/wide.h5\n')
    with pytest.raises(caffe.CaffeError, match='same number'):
        make_net(hdf5_data(tmp_path / 'list', 'data', 'label', batch_size=2))
    net = make_net(hdf5_data(tmp_path / 'list', 'data', batch_size=3))
    net.forward()
    with pytest.raises(caffe.CaffeError, match=r'wide.h5: has rows of shape \(9,\)'):
        net.forward()


def output_net(path):
    return ('input: "x" input_shape { dim: 2 dim: 3 } input: "y" input_shape { dim: 2 } '
            'layer { name: "o" type: "HDF5Output" bottom: "x" bottom: "y" '
            f'hdf5_output_param {{ file_name: "{path}" }} }}')


def test_hdf5_output(make_net, tmp_path):
    """One forward gives genuine Caffe's file, four-dimensional; further ones append."""
    path = tmp_path / 'out.h5'
    path.write_text('an older file')
    net = make_net(output_net(path))
    with h5py.File(path) as file:
        assert not list(file)
    x, y = np.arange(6, dtype=np.float32).reshape(2, 3), np.float32([7, 8])
    for count in (1, 2, 3):
        net.forward(x=x * count, y=y)
        with h5py.File(path) as file:
            assert sorted(file) == ['data', 'label'] and file['data'].dtype == np.float32
            assert file['data'].shape == (2 * count, 3, 1, 1)
            np.testing.assert_array_equal(file['data'][-2:, :, 0, 0], x * count)
            np.testing.assert_array_equal(file['label'][...].reshape(-1, 2), [y] * count)


def test_hdf5_output_refuses(make_net, tmp_path):
    with pytest.raises(caffe.CaffeError, match='No such file'):
        make_net(output_net(tmp_path / 'no/folder'))
    with pytest.raises(caffe.CaffeError, match='same number of rows'):
        make_net(output_net(tmp_path / 'out.h5').replace('{ dim: 2 } ', '{ dim: 4 } '))
