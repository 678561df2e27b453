"""The command `caffe`: what it writes, logs and refuses, as a user runs it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios

import caffe
import h5py
import numpy as np
import pytest
from caffe.tools import caffe as command
from conftest import run_script
from line_net import NET, SOLVER, make_folder, save_weights

# what genuine Caffe logs of them; an iteration's time is left out
TRAINED = '''Starting Optimization
Solving line
Learning Rate Policy: step
Iteration 0, Testing net (#0)
    Test net output #0: loss = 1.75 (* 1 = 1.75 loss)
    Test net output #1: mean = 0
Iteration 0 (), loss = 0.25
    Train net output #0: loss = 0.25 (* 1 = 0.25 loss)
Iteration 0, lr = 0.1
Iteration 2 (), loss = 0.0236781
    Train net output #0: loss = 0.0236781 (* 1 = 0.0236781 loss)
Iteration 2, lr = 0.05
Snapshotting to binary proto file line_iter_4.caffemodel
Snapshotting solver state to binary proto file line_iter_4.solverstate
Iteration 4, Testing net (#0)
    Test net output #0: loss = 0.198579 (* 1 = 0.198579 loss)
    Test net output #1: mean = 2.12003
Iteration 4 (), loss = 0.136028
    Train net output #0: loss = 0.136029 (* 1 = 0.136029 loss)
Iteration 4, lr = 0.025
Iteration 6 (), loss = 0.134794
    Train net output #0: loss = 0.134794 (* 1 = 0.134794 loss)
Iteration 6, lr = 0.0125
Snapshotting to binary proto file line_iter_8.caffemodel
Snapshotting solver state to binary proto file line_iter_8.solverstate
Iteration 8, loss = 0.106106
Iteration 8, Testing net (#0)
    Test net output #0: loss = 0.140621 (* 1 = 0.140621 loss)
    Test net output #1: mean = 2.02521
Optimization Done.
Optimization Done.
'''.splitlines()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with net, solver and data."""
    monkeypatch.chdir(tmp_path)
    return make_folder(tmp_path)


def weights_of(path):
    net = caffe.Net('net.prototxt', path, caffe.TEST)
    return net.params['ip'][0].data.ravel().tolist()


def messages(text):
    """What stands behind the log's prefix, which every line has; without times."""
    lines = [re.fullmatch(r'I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [a-z_]+\.py:\d+\] (.*)', line)
             for line in text.splitlines()]
    return [re.sub(r'\(\S+ iter/s, \S+ iters\)', '()', line[1]) for line in lines]


def assert_alike(lines, expected):
    """The same messages, their numbers but for rounding."""
    number = r'(?<![#\w.])-?\d+\.\d+'
    assert [re.sub(number, '#', line) for line in lines] == [
        re.sub(number, '#', line) for line in expected]
    values = [np.array(re.findall(number, ' '.join(text)), float) for text in (lines, expected)]
    np.testing.assert_allclose(*values, rtol=3e-5)


def run(*args):
    """Run the command in a process of its own; returns its messages."""
    done = run_script('-m', 'caffe.tools.caffe', *args, cwd='.')
    assert (done.returncode, done.stdout) == (0, ''), done.stderr
    return messages(done.stderr)


def test_trains_and_resumes(folder):
    """Genuine Caffe's lines; resumed, the same bytes."""
    lines = run('train', '-solver', 'solver.prototxt')
    assert_alike(lines, ['Use CPU.', *TRAINED])
    names = [f'line_iter_8.{kind}' for kind in ('caffemodel', 'solverstate')]
    whole = [(folder / name).read_bytes() for name in names]
    for name in names:
        (folder / name).unlink()
    lines = run('train', '--solver=solver.prototxt', '--snapshot=line_iter_4.solverstate')
    assert lines[:2] == ['Use CPU.', 'Resuming from line_iter_4.solverstate']
    middle = TRAINED.index('Iteration 4, Testing net (#0)')
    assert_alike(lines[2:], TRAINED[:3] + TRAINED[middle:])
    assert [(folder / name).read_bytes() for name in names] == whole


def test_scores(capsys):
    """Weights (2, 1) give 2 x + 1 for x: the errors are 1, 2 and 3, 4."""
    save_weights('w.caffemodel', 2, 1)
    command.main(['test', '-model', 'net.prototxt', '-weights=w.caffemodel', '--iterations=2'])
    assert messages(capsys.readouterr().err) == [
        'Use CPU.', 'Running for 2 iterations.', 'Batch 0, loss = 1.25', 'Batch 0, mean = 2',
        'Batch 1, loss = 6.25', 'Batch 1, mean = 6', 'Loss: 3.75',
        'loss = 3.75 (* 1 = 3.75 loss)', 'mean = 4']


def test_level_and_stage(capsys):
    save_weights('w.caffemodel', 2, 1)
    flags = ['--level', '1', '--stage', 'some,more']
    files = ['--model=net.prototxt', '--solver=solver.prototxt', '--weights=w.caffemodel']
    command.main(['test', *files, '--iterations=1', *flags])
    lines = messages(capsys.readouterr().err)
    assert lines[-3:] == ['mean = 2', 'twice = 2', 'twice = 6']
    command.main(['train', *files, *flags])
    lines = messages(capsys.readouterr().err)
    at = lines.index('Iteration 0 (), loss = 1.25')
    assert lines[at + 2:at + 4] == ['    Train net output #1: twice = 2',
                                    '    Train net output #2: twice = 6']


def test_fine_tunes(folder, capsys):
    """From the weights of both files, the later one's where both have them."""
    save_weights('a.caffemodel', 7, 7)
    save_weights('b.caffemodel', 2, 1)
    (folder / 'solver.prototxt').write_text(
        SOLVER.replace('max_iter: 8', 'max_iter: 0').replace('snapshot: 4', ''))
    command.main(['train', '-solver=solver.prototxt', '-weights=a.caffemodel,b.caffemodel'])
    lines = messages(capsys.readouterr().err)
    assert lines[1:4] == ['Finetuning from a.caffemodel', 'Finetuning from b.caffemodel',
                          'Starting Optimization']
    assert '    Test net output #0: loss = 3.75 (* 1 = 3.75 loss)' in lines
    assert weights_of('line_iter_0.caffemodel') == [2, 1]


def test_times(capsys):
    """Genuine Caffe's lines, but for the numbers of milliseconds."""
    command.main(['time', '--model', 'net.prototxt', '--iterations', '2', '--phase=TEST'])
    lines = [re.sub(r'[0-9.e-]+ ms', '# ms', line) for line in messages(capsys.readouterr().err)]
    layers = ['      data', '        ip', 'ip_ip_0_split', '      loss', '      mean']
    assert lines == [
        'Use CPU.', 'Performing Forward', 'Initial loss: 0.25', 'Performing Backward',
        '*** Benchmark begins ***', 'Testing for 2 iterations.',
        'Iteration: 1 forward-backward time: # ms.', 'Iteration: 2 forward-backward time: # ms.',
        'Average time per layer:',
        *(f'{name}\t{way}: # ms.' for name in layers for way in ('forward', 'backward')),
        'Average Forward pass: # ms.', 'Average Backward pass: # ms.',
        'Average Forward-Backward: # ms.', 'Total Time: # ms.', '*** Benchmark ends ***']


def test_device_query_without_a_gpu(capsys, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    assert command.main(['device_query']) == 0
    line, = messages(capsys.readouterr().err)
    assert line.startswith('There is no GPU')


def test_help_without_arguments(capsys):
    with pytest.raises(SystemExit) as end:
        command.main([])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ('train', 'test', 'time', 'device_query', '--snapshot'))


class Terminal:
    """The command on a terminal of 100 columns."""

    def __init__(self, *args):
        self._screen, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('4H', 24, 100, 0, 0))
        self.process = subprocess.Popen([sys.executable, '-m', 'caffe.tools.caffe', *args],
                                        stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        self.text = ''

    def wait_for(self, pattern):
        """Read until the pattern has been written anew, or for None until the end."""
        begin = len(self.text)
        while pattern is None or not re.search(pattern, self.text[begin:]):
            assert select.select([self._screen], [], [], 60)[0], self.text
            try:
                self.text += os.read(self._screen, 1 << 16).decode()
            except OSError:     # the other end is closed
                assert pattern is None, self.text
                break


def test_signals_and_the_progress_bar(folder):
    """SIGHUP: a snapshot, and on; SIGINT: a snapshot and a clean end. The bar tears no line."""
    (folder / 'solver.prototxt').write_text(
        SOLVER.replace('max_iter: 8 display: 2', 'max_iter: 1000000 display: 100').replace(
            'snapshot: 4', '').replace('test_interval: 4', 'test_interval: 100000'))
    terminal = Terminal('train', '--solver', 'solver.prototxt')
    for effect in ('SIGHUP', 'SIGINT'):
        terminal.wait_for(r'/1000000 .*lr=')
        terminal.wait_for(r'Iteration \d+00 ')
        terminal.process.send_signal(getattr(signal, effect))
        terminal.wait_for('solver state to .*\n')
    terminal.wait_for(None)
    assert terminal.process.wait() == 0
    shown = [line for line in re.split('[\r\n]+', terminal.text) if line.strip()]
    bars = [line for line in shown if re.fullmatch(r' *\d+%\|.*\| \d+/1000000 \[.*\]', line)]
    assert any(re.search(r'iter/s, loss=[\d.e+-]+, lr=[\d.e+-]+\]', bar) for bar in bars)
    lines = messages('\n'.join(line for line in shown if line not in bars))
    states = [line.split()[-1] for line in lines if 'solver state' in line]
    assert len(set(states)) == 2 and all((folder / state).exists() for state in states)
    assert lines[-3].endswith(states[1])
    assert lines[-2:] == ['Optimization stopped early.', 'Optimization Done.']


HDF5_DATA = ('type: "HDF5Data" top: "data" top: "label" '
             'hdf5_data_param { source: "h5.txt" batch_size: 3 shuffle: true }')
LMDB_DATA = ('type: "Data" top: "data" top: "label" transform_param { mirror: true crop_size: 1 } '
             'data_param { source: "db" batch_size: 3 backend: LMDB shuffle: true }')


@pytest.mark.parametrize('through', ['caffe train', 'solve', 'restore'])
@pytest.mark.parametrize('source', [LMDB_DATA, HDF5_DATA], ids=['LMDB', 'HDF5'])
def test_a_resumed_run_equals_an_unbroken_one(through, source, folder):
    with h5py.File('a.h5', 'w') as file:
        file['data'] = np.arange(10, dtype=np.float32).reshape(5, 2)
        file['label'] = np.arange(5, dtype=np.float32)[:, None]
    (folder / 'h5.txt').write_text('a.h5\n')
    (folder / 'net.prototxt').write_text(re.sub(
        r'type: "Data".*?\n.*?LMDB }', lambda match: source, NET))
    # three batches of three of 4 or 5 records: the snapshot comes amid a round
    (folder / 'solver.prototxt').write_text(
        SOLVER.replace('max_iter: 8', 'max_iter: 7 iter_size: 3 random_seed: 5')
        .replace('snapshot: 4', 'snapshot: 3').replace('base_lr: 0.1', 'base_lr: 0.01'))
    run('train', '--solver', 'solver.prototxt')
    names = ['line_iter_7.caffemodel', 'line_iter_7.solverstate']
    unbroken = [(folder / name).read_bytes() for name in names]
    for name in names:
        (folder / name).unlink()
    if through == 'caffe train':
        run('train', '--solver', 'solver.prototxt', '--snapshot', 'line_iter_3.solverstate')
    elif through == 'solve':
        caffe.get_solver('solver.prototxt').solve('line_iter_3.solverstate')
    else:       # as genuine Caffe: the data begin at the first record again
        solver = caffe.get_solver('solver.prototxt')
        solver.restore('line_iter_3.solverstate')
        solver.solve()
    equal = [(folder / name).read_bytes() for name in names] == unbroken
    assert equal == (through != 'restore')
