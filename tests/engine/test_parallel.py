"""Two processes with a batch of B each train as one with a batch of 2B; here on CPUs, by gloo."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe.database import write_database
from caffe.datum import image_to_datum
from caffe.parallel import start_ranks

NET = '''layer {{ name: "data" type: "Data" top: "data" top: "label"
  transform_param {{ scale: 0.01 }}
  data_param {{ source: "../db" batch_size: {batch_size} backend: LMDB shuffle: {shuffle} }} }}
layer {{ name: "ip1" type: "InnerProduct" bottom: "data" top: "ip1" inner_product_param {{
  num_output: 5 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "ip1" top: "ip1" }}
layer {{ name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" inner_product_param {{
  num_output: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }}
'''
SOLVER = '''net: "../{name}.prototxt" base_lr: 0.1 lr_policy: "fixed" random_seed: 5
weight_decay: 0.01 max_iter: 8 display: 4 snapshot: 4 snapshot_prefix: "s" solver_mode: CPU
clip_gradients: 0.8 '''
KINDS = {'sgd': 'momentum: 0.9', 'adam': 'type: "Adam" momentum: 0.9'}

# what a user of pycaffe writes to train in several processes; one job goes on from a
# snapshot, in one a process is asked to stop
RECIPE = '''
import json, os, sys
from multiprocessing import Process

import caffe
import torch


def solve(rank, uid, folder, solver_file, steps, snapshot=None, stop=None):
    os.makedirs(f'{folder}{rank}')
    os.chdir(f'{folder}{rank}')
    torch.set_num_threads(1)
    caffe.set_mode_cpu()
    caffe.set_solver_count(2)
    caffe.set_solver_rank(rank)
    caffe.set_multiprocess(True)
    solver = caffe.get_solver(solver_file)
    if snapshot:
        solver.restore(snapshot)
    nccl = caffe.NCCL(solver, uid)
    nccl.bcast()
    solver.add_callback(nccl)
    if solver.param.layer_wise_reduce:
        solver.net.after_backward(nccl)
    if [rank] == stop:      # at the worst moment: the others have its gradients of this iteration
        solver.add_callback(lambda: None, lambda: solver.iter == 2 and solver.ask_to_stop())
    solver.step(steps)
    solver.net.save(f'ended_at_{solver.iter}')


if __name__ == '__main__':
    for job in json.loads(sys.argv[1]):
        uid = caffe.NCCL.new_uid()
        ranks = [Process(target=solve, args=(rank, uid, *job)) for rank in range(2)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
            assert process.exitcode == 0
'''


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with a database of 8 records, and nets and solvers for one process and for two."""
    folder = tmp_path_factory.mktemp('parallel')
    random = np.random.RandomState(0)
    write_database(folder / 'db', [
        (b'%04d' % i, image_to_datum(random.randint(0, 256, (1, 2, 3)).astype(np.uint8), i % 3)
         .SerializeToString()) for i in range(8)])
    for kind, text in KINDS.items():
        for name, batch_size in (('one', 6), ('two', 3)):
            name = f'{kind}_{name}'
            (folder / f'{name}.prototxt').write_text(
                NET.format(batch_size=batch_size, shuffle='true' if kind == 'adam' else 'false'))
            (folder / f'{name}_solver.prototxt').write_text(SOLVER.format(name=name) + text)
    return folder


@pytest.fixture(scope='module')
def trained(folder):
    """Folder of what two processes made by the recipe, jobs and ranks apart; what they logged."""
    (folder / 'recipe.py').write_text(RECIPE)
    jobs = [('sgd', '../sgd_two_solver.prototxt', 8), ('adam', '../adam_two_solver.prototxt', 8),
            ('resumed', '../sgd_two_solver.prototxt', 4, '../sgd0/s_iter_4.solverstate'),
            ('stopped', '../sgd_two_solver.prototxt', 8, None, [1])]
    done = subprocess.run([sys.executable, 'recipe.py', json.dumps(jobs)], cwd=folder, text=True,
                          capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder, done.stderr


def one_process(folder, kind, steps):
    """The training net of one process with the whole batch."""
    (folder / 'single').mkdir(exist_ok=True)
    os.chdir(folder / 'single')
    solver = caffe.get_solver(f'../{kind}_one_solver.prototxt')
    solver.step(steps)
    return solver.net


def assert_equal(net, path):
    before = {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}
    net.copy_from(path)
    for name, blobs in net.params.items():
        for mine, theirs in zip(before[name], blobs):
            np.testing.assert_allclose(theirs.data, mine, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('kind', KINDS)
def test_two_train_as_one_with_twice_the_batch(trained, kind, monkeypatch):
    folder, _ = trained
    monkeypatch.chdir(folder)
    first, second = (folder / f'{kind}{rank}/ended_at_8' for rank in range(2))
    assert first.read_bytes() == second.read_bytes()
    assert_equal(one_process(folder, kind, 8), first)


def test_only_the_first_writes_snapshots_and_logs(trained):
    folder, log = trained
    states = [f's_iter_{i}.{kind}' for i in (4, 8) for kind in ('caffemodel', 'solverstate')]
    assert sorted(os.listdir(folder / 'sgd0')) == ['ended_at_8', *sorted(states)]
    assert os.listdir(folder / 'sgd1') == ['ended_at_8']
    assert log.count('Iteration 0, lr = 0.1') == 3      # of sgd, adam and stopped


def test_resumes_to_the_same_bytes(trained):
    folder, _ = trained
    whole = (folder / 'sgd0/ended_at_8').read_bytes()
    assert [(folder / f'resumed{rank}/ended_at_8').read_bytes() for rank in range(2)] == [whole] * 2
    for kind in ('caffemodel', 'solverstate'):
        name = f's_iter_8.{kind}'
        assert (folder / 'resumed0' / name).read_bytes() == (folder / 'sgd0' / name).read_bytes()


def test_a_stop_of_one_stops_all(trained):
    """Asked for in iteration 2, agreed on in the next, which is the last of both."""
    folder, _ = trained
    for rank in range(2):
        assert (folder / f'stopped{rank}/ended_at_4').exists()


def test_under_torchrun(folder, monkeypatch):
    (folder / 'torchrun').mkdir()
    monkeypatch.chdir(folder / 'torchrun')
    done = subprocess.run([sys.executable, '-m', 'torch.distributed.run', '--standalone',
                           '--nproc-per-node', '2', '-m', 'caffe.tools.caffe', 'train',
                           '--solver', '../adam_two_solver.prototxt'], capture_output=True,
                          text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'}, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count('Iteration 4, lr = 0.1') == done.stderr.count('Use CPU.') == 1
    assert sorted(os.listdir()) == sorted(
        f's_iter_{i}.{kind}' for i in (4, 8) for kind in ('caffemodel', 'solverstate'))
    path = os.path.abspath('s_iter_8.caffemodel')
    assert_equal(one_process(folder, 'adam', 8), path)


def python(program):
    return [sys.executable, '-c', 'import os, signal, sys, time\n'
            'rank = os.environ["RANK"]\n' + program]


def test_ranks_get_torchruns_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ['LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT']
    assert start_ranks(python(f'values = [os.environ[name] for name in {names}]\n'
                              'open(rank, "w").write(" ".join(values))'), 3) == 0
    values = [Path(str(rank)).read_text().split() for rank in range(3)]
    assert [value[:3] for value in values] == [[str(i), '3', '127.0.0.1'] for i in range(3)]
    assert len({value[3] for value in values}) == 1


def test_a_rank_that_fails_ends_all():
    start = time.monotonic()
    assert start_ranks(python('sys.exit(3) if rank == "1" else time.sleep(60)'), 2) == 1
    assert time.monotonic() - start < 30


def test_signals_reach_all_ranks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    handlers = [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT)]
    program = '''def follow(number, frame):
    open(rank, 'w')
    sys.exit()
signal.signal(signal.SIGHUP, follow)
open('ready' + rank, 'w')
while rank == '0' and not os.path.exists('ready1'):
    time.sleep(0.01)
if rank == '0':
    os.kill(os.getppid(), signal.SIGHUP)
time.sleep(60)'''
    assert start_ranks(python(program), 2) == 0
    assert sorted(os.listdir()) == ['0', '1', 'ready0', 'ready1']
    assert [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT)] == handlers
