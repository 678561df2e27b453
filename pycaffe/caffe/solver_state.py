"""Read and write a solver's state: a .solverstate (binary SolverState) or .solverstate.h5."""

import os

import numpy as np

from .errors import CaffeError
from .files import naming, read_message, write_aside
from .optional import need
from .proto import weights_pb2
from .weights import blob_arrays
from .weights_hdf5 import create, read_dataset, reading


def read_state(path):
    """Read a state file: (iter, learned_net, current_step, [history array, ...]).

    A file with the suffix .h5 is HDF5. `learned_net` is the path where the weights were written, or
    None. Arrays are float32 in their stored shape, which has four axes in old files. Raises
    CaffeError naming the file.
    """
    return _read_hdf5(path) if path.endswith('.h5') else _read_binary(path)


def write_state(path, iteration, learned_net, current_step, arrays):
    """Write a state file, completely or not at all; HDF5 if `path` ends in .h5."""
    arrays = [np.asarray(array, '<f4') for array in arrays]
    if path.endswith('.h5'):
        _write_hdf5(path, iteration, learned_net, current_step, arrays)
    else:
        write_aside(path, _serialize(iteration, learned_net, current_step, arrays))


def find_model(state_path, learned_net):
    """Return the path of a state's weights: as it says, or a file of that name beside the state.

    Raises CaffeError naming both paths if neither exists.
    """
    beside = os.path.join(os.path.dirname(state_path), os.path.basename(learned_net))
    for path in (learned_net, beside):
        if os.path.isfile(path):
            return path
    raise CaffeError(f'{state_path}: its weights are not found, neither {learned_net} nor {beside}')


def _read_binary(path):
    state = read_message(path, weights_pb2.RawSolverState(), 'solver state')
    if not state.HasField('iter'):
        raise CaffeError(f'{path}: is not a solver state: it has no iter')
    history = []
    for index, blob in enumerate(state.history):
        with naming(f'{path}: history {index}'):
            history.append(blob_arrays(blob)[0])
    # a path that is not UTF-8 is returned as bytes
    learned_net = os.fsdecode(state.learned_net) if state.HasField('learned_net') else None
    return state.iter, learned_net, state.current_step, history


def _serialize(iteration, learned_net, current_step, arrays):
    yield weights_pb2.RawSolverState(
        iter=iteration, learned_net=learned_net, current_step=current_step).SerializeToString()
    for array in arrays:
        state = weights_pb2.RawSolverState()
        state.history.add(data=array.tobytes(), shape={'dim': array.shape})
        yield state.SerializeToString()


def _read_hdf5(path):
    h5py = need('h5py', 'hdf5')
    with reading(path) as file:
        history = file.get('history')
        if not isinstance(history, h5py.Group):
            raise CaffeError('is not a solver state: it has no group `history`')
        learned_net = os.fsdecode(file['learned_net'][()]) if 'learned_net' in file else None
        return (_read_int(file, 'iter'), learned_net, _read_int(file, 'current_step'),
                [read_dataset(history, str(index)) for index in range(len(history))])


def _read_int(file, name):
    values = read_dataset(file, name, np.int64)
    if values.size != 1:
        raise CaffeError(f'dataset {name} must be a single number')
    return int(values.item())


def _write_hdf5(path, iteration, learned_net, current_step, arrays):
    with create(path) as file:
        for name, value in (('iter', iteration), ('current_step', current_step)):
            file.create_dataset(name, data=np.array([value], np.int32))
        # Caffe reads strings up to a final zero, which h5py does not write
        text = os.fsencode(learned_net)
        file.create_dataset('learned_net', data=np.array(text, f'S{len(text) + 1}'))
        history = file.create_group('history')
        for index, array in enumerate(arrays):
            history.create_dataset(str(index), data=array)
