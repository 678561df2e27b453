"""HDF5 weights and both forms of solver states, against files that genuine Caffe wrote.

data/genuine/hdf5 holds one snapshot of a net with a shared parameter, in both forms.
"""

import os
import shutil
from pathlib import Path

import caffe
import h5py
import numpy as np
import pytest
from caffe.blob import Blob
from caffe.proto import caffe_pb2
from caffe.solver_state import find_model, read_state, write_state
from caffe.weights import copy_weights
from caffe.weights_hdf5 import copy_hdf5, write_hdf5

DATA = Path(__file__).parents[1] / 'data/genuine'
GENUINE = str(DATA / 'hdf5/shared_iter_3')


def blobs(shared=True):
    """The parameters of the recorded net; with `shared`, b's first is a's."""
    params = {'a': [Blob((3, 3)), Blob((3,))], 'b': [Blob((3, 3)), Blob((3,))]}
    if shared:
        params['b'][0].share_data(params['a'][0])
    return params


def pairs(params):
    return [(caffe_pb2.LayerParameter(name=name), blobs) for name, blobs in params.items()]


def content(path):
    """Every dataset of a file, and None for every group."""
    found = {}
    with h5py.File(path, 'r') as file:
        file.visititems(lambda name, item: found.update(
            {name: item[()] if isinstance(item, h5py.Dataset) else None}))
    return found


def test_a_file_of_genuine_caffe_is_read_by_its_content(tmp_path):
    expected, params = blobs(), blobs()
    copy_weights(GENUINE + '.caffemodel', expected)
    assert expected['a'][0].data.any()
    shutil.copy(GENUINE + '.caffemodel.h5', tmp_path / 'renamed.caffemodel')
    copy_weights(str(tmp_path / 'renamed.caffemodel'), params)
    for name in params:
        for one, two in zip(params[name], expected[name]):
            np.testing.assert_array_equal(one.data, two.data)


def test_written_as_genuine_caffe_writes_it(tmp_path):
    params = {'x': [], **blobs(), 'r': [], 'l': []}
    params['b'][0].share_diff(params['a'][0])
    copy_weights(GENUINE + '.caffemodel', params)
    assert params['a'][0].diff.any()
    path = str(tmp_path / 'ours.h5')
    write_hdf5(path, pairs(params), diffs=True)
    ours, genuine = content(path), content(GENUINE + '.caffemodel.h5')
    assert ours.keys() == genuine.keys()
    for key in ours:
        np.testing.assert_array_equal(ours[key], genuine[key])
        assert getattr(ours[key], 'dtype', None) == getattr(genuine[key], 'dtype', None)
    assert 'data/b/0' not in ours and 'diff/b/0' in ours
    write_hdf5(path, pairs(params))
    assert 'diff' not in content(path)


def test_there_and_back_through_a_net(make_net, tmp_path):
    text = (DATA / 'hdf5/shared.prototxt').read_text()
    net = make_net(text, weights=GENUINE + '.caffemodel.h5')
    stored = caffe_pb2.NetParameter.FromString(open(GENUINE + '.caffemodel', 'rb').read())
    values = {layer.name: list(layer.blobs[1].data) for layer in stored.layer if layer.blobs}
    assert {name: net.params[name][1].data.tolist() for name in net.params} == values
    path = str(tmp_path / 'a.h5')
    net.save_hdf5(path)
    other = make_net(text)
    other.load_hdf5(path)
    for name in net.params:
        for one, two in zip(net.params[name], other.params[name]):
            np.testing.assert_array_equal(one.data, two.data)
    assert os.listdir(tmp_path).count('a.h5') == 1


def test_names_with_a_slash_and_layers_of_one_side_only(tmp_path):
    params = {'a': [Blob((2,))], 'a/b': [Blob((1,)), Blob(())], 'c': [Blob((3,))]}
    for index, blob in enumerate(sum(params.values(), [])):
        blob.data[...] = index + 1
    path = str(tmp_path / 'a.h5')
    write_hdf5(path, pairs(params))
    target = {'a': [Blob((2,))], 'a/b': [Blob((1,)), Blob(())], 'd': [Blob((4,))]}
    copy_hdf5(path, target)
    assert [blob.data.tolist() for blob in sum(target.values(), [])] == [
        [1, 1], [2], 3, [0, 0, 0, 0]]


def test_numbers_of_other_kinds_are_converted(tmp_path):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file['data/p/0'] = np.array([1, 2], np.int64)
        file['data/p/1'] = np.array([0.5, 0.1])
    params = {'p': [Blob((2,)), Blob((2,))]}
    copy_hdf5(str(tmp_path / 'a.h5'), params)
    assert params['p'][0].data.tolist() == [1, 2]
    assert params['p'][1].data.tolist() == [0.5, float(np.float32(0.1))]


@pytest.mark.parametrize('change, words', [
    (lambda file: file.pop('data/a/1'), ["'a'", 'no dataset 1']),
    (lambda file: file.pop('data'), ['`data`']),
    (lambda file: file['data/a'].create_dataset('7', data=[1.0]), ["'a'", 'needs 2']),
    (lambda file: file['data'].move('a/1', 'a/9'), ["'a'", 'no dataset 1']),
    (lambda file: file['data/b'].create_dataset('0', data=[1.0]), ["'b'", '(1,)', '(3, 3)']),
    (lambda file: (file.pop('data/b/1'), file['data/b'].create_dataset('1', data=['a', 'b', 'c'])),
     ["'b'", 'numbers']),
    (lambda file: (file.pop('data/b/1'), file.create_group('data/b/1')), ["'b'", 'no dataset 1']),
])
def test_files_that_do_not_fit_change_nothing(change, words, tmp_path):
    path = str(shutil.copy(GENUINE + '.caffemodel.h5', tmp_path / 'a.h5'))
    with h5py.File(path, 'r+') as file:
        change(file)
    params = blobs()
    with pytest.raises(caffe.CaffeError) as error:
        copy_weights(path, params)
    assert '\n' not in str(error.value)
    for word in [path, *words]:
        assert word in str(error.value)
    assert not any(blob.data.any() for blob in sum(params.values(), []))


def test_a_parameter_that_the_net_does_not_share_must_be_there():
    with pytest.raises(caffe.CaffeError, match="'b': has no dataset 0"):
        copy_hdf5(GENUINE + '.caffemodel.h5', blobs(shared=False))


@pytest.mark.parametrize('read', [copy_hdf5, copy_weights])
def test_no_hdf5_and_half_of_one(read, tmp_path):
    path = tmp_path / 'a.h5'
    path.write_bytes(Path(GENUINE + '.caffemodel.h5').read_bytes()[:3000])
    with pytest.raises(caffe.CaffeError, match='a.h5: is a damaged HDF5 file'):
        read(str(path), blobs())
    path.write_bytes(b'text')
    with pytest.raises(caffe.CaffeError, match='a.h5: is not a'):
        read(str(path), blobs())
    with pytest.raises(caffe.CaffeError, match='nowhere.h5: No such file'):
        read('nowhere.h5', blobs())


def test_two_layers_of_one_name_and_a_missing_folder(tmp_path):
    layer = (caffe_pb2.LayerParameter(name='p'), [Blob((1,))])
    with pytest.raises(caffe.CaffeError, match="a.h5: layer 'p': "):
        write_hdf5(str(tmp_path / 'a.h5'), [layer, (layer[0], [Blob((1,))])])
    assert os.listdir(tmp_path) == []
    with pytest.raises(caffe.CaffeError, match='a.h5: No such file'):
        write_hdf5(str(tmp_path / 'missing' / 'a.h5'), [layer])


def test_both_forms_of_a_state_say_the_same():
    *binary, arrays = read_state(GENUINE + '.solverstate')
    *hdf5, others = read_state(GENUINE + '.solverstate.h5')
    assert binary == [3, 'shared_iter_3.caffemodel', 2]
    assert hdf5 == [3, 'shared_iter_3.caffemodel.h5', 2]
    stored = caffe_pb2.SolverState.FromString(Path(GENUINE + '.solverstate').read_bytes())
    assert [array.ravel().tolist() for array in arrays] == [list(b.data) for b in stored.history]
    assert [array.shape for array in arrays] == [(3, 3), (3,), (3,)]
    for one, two in zip(arrays, others, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize('suffix', ['', '.h5'])
def test_a_state_is_written_as_genuine_caffe_writes_it(suffix, tmp_path):
    genuine = GENUINE + '.solverstate' + suffix
    path = str(tmp_path / 'a.solverstate') + suffix
    write_state(path, *read_state(genuine))
    if suffix:
        ours, theirs = content(path), content(genuine)
        assert ours.keys() == theirs.keys()
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key])
            assert getattr(ours[key], 'dtype', None) == getattr(theirs[key], 'dtype', None)
    else:
        ours, theirs = (caffe_pb2.SolverState.FromString(Path(name).read_bytes())
                        for name in (path, genuine))
        assert ours == theirs


def test_every_recorded_state_is_read():
    for path in (DATA / 'solvers').glob('*.solverstate'):
        iteration, learned_net, _, arrays = read_state(str(path))
        assert iteration == 6 and arrays
        assert find_model(str(path), learned_net) == str(path.with_suffix('.caffemodel'))


def test_a_state_of_an_older_caffe(tmp_path):
    state = caffe_pb2.SolverState(iter=5)
    state.history.add(num=1, channels=1, height=1, width=2, data=[1, 2])
    path = tmp_path / 'a.solverstate'
    path.write_bytes(state.SerializeToString())
    iteration, learned_net, current_step, [array] = read_state(str(path))
    assert (iteration, learned_net, current_step) == (5, None, 0)
    assert array.tolist() == [[[[1, 2]]]]


@pytest.mark.parametrize('suffix', ['', '.h5'])
@pytest.mark.parametrize('size', [0, 7, 60])
def test_half_a_state(suffix, size, tmp_path):
    path = tmp_path / f'a.solverstate{suffix}'
    path.write_bytes(Path(GENUINE + '.solverstate' + suffix).read_bytes()[:size])
    with pytest.raises(caffe.CaffeError, match='a.solverstate.*: is ') as error:
        read_state(str(path))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('name, value, word', [
    ('iter', None, 'iter'), ('iter', [1, 2], 'iter'), ('history', None, 'history'),
    ('learned_net', [1.0, 2.0], 'damaged'), ('history/1', b'text', '/history'),
])
def test_a_state_with_other_content(name, value, word, tmp_path):
    path = str(shutil.copy(GENUINE + '.solverstate.h5', tmp_path / 'a.solverstate.h5'))
    with h5py.File(path, 'r+') as file:
        del file[name]
        if value is not None:
            file[name] = value
    with pytest.raises(caffe.CaffeError) as error:
        read_state(path)
    assert path in str(error.value) and word in str(error.value)


def test_a_caffemodel_is_no_state():
    with pytest.raises(caffe.CaffeError, match='is not a solver state'):
        read_state(GENUINE + '.caffemodel')


def test_the_model_of_a_state(tmp_path):
    state, far = str(tmp_path / 'a.solverstate'), str(tmp_path / 'far' / 'm.caffemodel')
    with pytest.raises(caffe.CaffeError) as error:
        find_model(state, far)
    for word in (state, far, str(tmp_path / 'm.caffemodel')):
        assert word in str(error.value)
    (tmp_path / 'm.caffemodel').touch()
    assert find_model(state, far) == str(tmp_path / 'm.caffemodel')
    (tmp_path / 'far').mkdir()
    (tmp_path / 'far' / 'm.caffemodel').touch()
    assert find_model(state, far) == far
