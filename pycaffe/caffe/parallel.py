"""Data-parallel training in several processes, one per GPU, with the interface of caffe.NCCL.

    caffe train --solver solver.prototxt --gpu 0,1
    torchrun --nproc-per-node 2 -m caffe.tools.caffe train --solver solver.prototxt
"""

import atexit
import os
import signal
import socket
import subprocess
import time
from datetime import timedelta

import torch
import torch.distributed as dist

from . import common

# While rank 0 tests or writes a snapshot the others wait for it; a dead process is noticed at once.
PATIENCE = timedelta(days=1)


class NCCL:
    """Keeps the solvers of all processes in sync.

    Call `bcast()` once, then `solver.add_callback(nccl)`. Gradients are averaged over the processes
    by torch.distributed, with NCCL on GPUs and gloo on CPUs. If one solver is asked to stop, all of
    them stop after the same iteration.

    solver : the Solver of this process, made after set_solver_count and set_solver_rank
    uid : the result of `new_uid`, the same in all processes; 'env://' under torchrun
    """

    def __init__(self, solver, uid):
        self._solver = solver
        self._stop_asked = False
        # no solver may stop on its own: the others would wait for its gradients
        self._stop, solver.ask_to_stop = solver.ask_to_stop, self._ask_to_stop
        if not dist.is_initialized():
            backend = 'nccl' if common.device().type == 'cuda' else 'gloo'
            where = uid.decode() if isinstance(uid, bytes) else uid
            dist.init_process_group(backend, init_method=where, timeout=PATIENCE,
                                    rank=common.solver_rank(), world_size=common.solver_count())
            atexit.register(dist.destroy_process_group)

    @staticmethod
    def new_uid():
        """Return a rendezvous for processes on this machine, as bytes to pass to each of them."""
        return f'tcp://127.0.0.1:{_free_port()}'.encode()

    def bcast(self):
        """Copy the parameters of rank 0 to all processes."""
        for param in self._solver.net.learnable_params:
            tensor = param.blob.tensor.contiguous()
            dist.broadcast(tensor, 0)
            param.blob.tensor = tensor

    def on_start(self):
        pass

    def on_gradients_ready(self):
        """Average all gradients at once, and agree on whether to stop."""
        blobs = [param.blob for param in self._solver.net.learnable_params if param.lr_mult]
        stop = torch.tensor([float(self._stop_asked)], device=common.device())
        total = torch.cat([*(blob.diff_tensor.reshape(-1) for blob in blobs), stop])
        dist.all_reduce(total)
        *gradients, stop = total.div_(common.solver_count()).split(
            [*(blob.count for blob in blobs), 1])
        for blob, gradient in zip(blobs, gradients, strict=True):
            blob.diff_tensor = gradient.reshape(blob.shape)
        if stop:
            self._stop_asked = False
            self._stop()

    def _ask_to_stop(self):
        self._stop_asked = True

    def __call__(self, layer):
        """Do nothing when a net calls this after a layer: gradients are averaged all at once."""


def has_nccl():
    """Whether training on several GPUs is possible here."""
    return dist.is_available() and dist.is_nccl_available()


def join_torchrun():
    """Take solver count and rank from torchrun's environment; return whether it is in use."""
    if int(os.environ.get('WORLD_SIZE', 1)) == 1:
        return False
    common.set_solver_count(int(os.environ['WORLD_SIZE']))
    common.set_solver_rank(int(os.environ['RANK']))
    return True


def start_ranks(command, count):
    """Run `command` in `count` processes on this machine, with torchrun's environment variables.

    SIGINT, SIGHUP and SIGTERM are passed on to all of them. If one fails, the others are stopped.
    Returns the exit status, which is not 0 if a process failed.
    """
    rendezvous = {'WORLD_SIZE': str(count), 'MASTER_ADDR': '127.0.0.1',
                  'MASTER_PORT': str(_free_port())}
    # each in its own session, or Ctrl-C would reach them twice
    ranks = [subprocess.Popen(command, start_new_session=True, env={
        **os.environ, **rendezvous, 'RANK': str(rank), 'LOCAL_RANK': str(rank)})
        for rank in range(count)]

    def hand_on(number, frame):
        for process in ranks:
            process.send_signal(number)

    numbers = signal.SIGINT, signal.SIGHUP, signal.SIGTERM
    before = [signal.signal(number, hand_on) for number in numbers]
    try:
        while None in (statuses := [process.poll() for process in ranks]) and not any(statuses):
            time.sleep(0.05)
        for process in ranks:
            process.terminate()
            process.wait()
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    return int(any(statuses))


def _free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]
