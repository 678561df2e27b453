"""Data-parallel training in several processes, one a GPU, with the interface of caffe.NCCL.

    torchrun --nproc-per-node 2 -m caffe.tools.caffe train --solver solver.prototxt
"""

import os
import socket

import torch
import torch.distributed as dist

from . import common


class NCCL:
    """Keeps the solvers of all processes equal: `bcast()` once, then `solver.add_callback(nccl)`.

    solver : the process's Solver, made after set_solver_count and set_solver_rank
    uid : of `new_uid`, the same in all processes; 'env://' under torchrun
    Gradients are averaged over the processes by torch.distributed: its NCCL on GPUs, gloo on the CPU.
    """

    def __init__(self, solver, uid):
        self._solver = solver
        if not dist.is_initialized():
            backend = 'nccl' if common.device().type == 'cuda' else 'gloo'
            dist.init_process_group(backend, init_method=uid, rank=common.solver_rank(),
                                    world_size=common.solver_count())

    @staticmethod
    def new_uid():
        """A meeting place for processes of this machine, to hand to each of them."""
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            return f'tcp://127.0.0.1:{probe.getsockname()[1]}'

    def bcast(self):
        """Have every process start from the parameters of rank 0."""
        for param in self._solver.net.learnable_params:
            tensor = param.blob.tensor.contiguous()
            dist.broadcast(tensor, 0)
            param.blob.tensor = tensor

    def on_start(self):
        pass

    def on_gradients_ready(self):
        """Average the gradients; a stop that one process was asked for stops all."""
        blobs = [param.blob for param in self._solver.net.learnable_params if param.lr_mult]
        tensors = [blob.diff_tensor.contiguous() for blob in blobs]
        for work in [dist.all_reduce(tensor, async_op=True) for tensor in tensors]:
            work.wait()
        for blob, tensor in zip(blobs, tensors):
            blob.diff_tensor = tensor / common.solver_count()
        stop = torch.tensor(float(self._solver.stop_asked), device=common.device())
        dist.all_reduce(stop)
        if stop:
            self._solver.ask_to_stop()

    def __call__(self, layer):
        """As a net's `after_backward` callback: nothing, since gradients are averaged all at once."""


def has_nccl():
    """Whether several GPUs can train together here."""
    return dist.is_available() and dist.is_nccl_available()


def join_torchrun():
    """Take count and rank from torchrun's environment; returns whether it started this process."""
    if int(os.environ.get('WORLD_SIZE', 1)) == 1:
        return False
    common.set_solver_count(int(os.environ['WORLD_SIZE']))
    common.set_solver_rank(int(os.environ['RANK']))
    return True
