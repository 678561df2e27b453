"""The command `caffe`: train, test or time a net, or show the GPUs, with Caffe's flags.

    caffe train --solver solver.prototxt [--snapshot x.solverstate | --weights x.caffemodel]
    caffe test --model net.prototxt --weights x.caffemodel --iterations 50
    caffe time --model net.prototxt --iterations 10
    caffe device_query --gpu all
"""

import os
import signal
import subprocess
import sys
import time

import torch

from .. import common
from ..errors import CaffeError
from ..log import log
from ..net import Net
from ..parallel import NCCL, join_torchrun
from ..proto import caffe_pb2
from ..proto.upgrade import read_solver
from ..sgd_solvers import get_solver
from ..solver import SIGNAL_EFFECTS
from .flags import FlagParser, user_errors

def train(args):
    """train or fine-tune a model"""
    solver_file = _required(args, 'solver')
    if args.snapshot and args.weights:
        raise CaffeError('give --snapshot to resume or --weights to fine-tune, not both')
    gpus = _gpus(args.gpu) or _gpus_of_solver(read_solver(solver_file))
    if len(gpus) > 1 and 'WORLD_SIZE' not in os.environ:
        return _start_processes(len(gpus))
    parallel = join_torchrun()
    _use(gpus[int(os.environ.get('LOCAL_RANK', 0)):])
    solver = get_solver(solver_file, level=args.level, stages=args.stage)
    for path in filter(None, args.weights.split(',')):
        log(f'Finetuning from {path}')
        for net in (solver.net, *solver.test_nets):
            net.copy_from(path)
    if args.snapshot:
        log(f'Resuming from {args.snapshot}')
        solver.restore(args.snapshot)
    if parallel:
        nccl = NCCL(solver, 'env://')
        nccl.bcast()
        solver.add_callback(nccl)
    signals = {signal.SIGINT: args.sigint_effect, signal.SIGHUP: args.sighup_effect}
    log('Starting Optimization')
    solver.solve(signals=signals)
    log('Optimization Done.')
    return 0


def test(args):
    """score a model"""
    _use(_gpus(args.gpu))
    net = Net(_required(args, 'model'), common.TEST, args.level, args.stage,
              weights=_required(args, 'weights'))
    log(f'Running for {args.iterations} iterations.')
    loss, sums = 0.0, {}
    for iteration in range(args.iterations):
        loss += net._forward(0, len(net.layers) - 1, record=False)
        for name in net.outputs:
            values = net.blobs[name].data.astype(float).ravel()
            for value in values:
                log(f'Batch {iteration}, {name} = {value:g}')
            sums[name] = sums.get(name, 0) + values
    print(f'Loss: {loss / args.iterations:g}')
    for name, total in sums.items():
        weight = net.blob_loss_weights[name]
        for value in total / args.iterations:
            note = f' (* {weight:g} = {weight * value:g} loss)' if weight else ''
            print(f'{name} = {value:g}{note}')
    return 0


def benchmark(args):
    """time a model, layer by layer and whole"""
    _use(_gpus(args.gpu))
    phase = getattr(common, args.phase or 'TRAIN')
    net = Net(_required(args, 'model'), phase, args.level, args.stage)
    last = len(net.layers) - 1
    log('Performing Forward')
    log(f'Initial loss: {net._forward(0, last):g}')
    log('Performing Backward')
    net._backward(last, 0)
    log(f'*** Benchmark begins ***\nTesting for {args.iterations} iterations.'.replace('\n', ' '))
    print('Average time per layer:')
    for index, name in enumerate(net.layer_dict):
        forward = _milliseconds(lambda: net._forward(index, index), args.iterations)
        backward = _milliseconds(lambda: net._backward(index, index), args.iterations)
        print(f'{name:>20}  forward: {forward:9.3f} ms.  backward: {backward:9.3f} ms.')
    forward = _milliseconds(lambda: net._forward(0, last), args.iterations)
    both = _milliseconds(lambda: (net._forward(0, last), net._backward(last, 0)), args.iterations)
    print(f'Average Forward pass: {forward:g} ms.')
    print(f'Average Backward pass: {max(both - forward, 0):g} ms.')
    print(f'Average Forward-Backward: {both:g} ms.')
    print(f'Total Time: {both * args.iterations:g} ms.')
    return 0


def device_query(args):
    """show the GPUs"""
    for gpu in _gpus(args.gpu or 'all'):
        common.set_device(gpu)
        properties = torch.cuda.get_device_properties(gpu)
        print(f'Device id:                     {gpu}')
        print(f'Name:                          {properties.name}')
        print(f'Compute capability:            {properties.major}.{properties.minor}')
        print(f'Total global memory:           {properties.total_memory}')
        print(f'Number of multiprocessors:     {properties.multi_processor_count}')
    return 0


COMMANDS = {'train': train, 'test': test, 'time': benchmark, 'device_query': device_query}


def parse_args(argv=None):
    parser = FlagParser(prog='caffe', description=__doc__.splitlines()[0])
    parser.add_argument('command', choices=COMMANDS,
                        help='; '.join(f'{name}: {call.__doc__}' for name, call in COMMANDS.items()))
    parser.add_argument('--solver', default='', help='solver prototxt (train)')
    parser.add_argument('--model', default='', help='net prototxt (test, time)')
    parser.add_argument('--weights', default='',
                        help='caffemodels to start from, with commas between them (train, test)')
    parser.add_argument('--snapshot', default='', help='solverstate to resume from (train)')
    parser.add_argument('--gpu', default='',
                        help='GPUs by number, with commas between them, or "all"; none: what the '
                             'solver says for train, the CPU for others')
    parser.add_argument('--iterations', type=int, default=50, help='batches to run (test, time)')
    parser.add_argument('--phase', default='', choices=['', 'TRAIN', 'TEST'],
                        help='phase of the net to time; none: TRAIN')
    parser.add_argument('--level', type=int, default=0, help='level of the net')
    parser.add_argument('--stage', default='', type=lambda text: [s for s in text.split(',') if s],
                        help='stages of the net, with commas between them')
    parser.add_argument('--sigint_effect', default='stop', choices=SIGNAL_EFFECTS,
                        help='what Ctrl-C does in train')
    parser.add_argument('--sighup_effect', default='snapshot', choices=SIGNAL_EFFECTS,
                        help='what a hangup signal does in train')
    args = parser.parse_args(argv)
    if args.iterations < 1:
        parser.error('--iterations must be positive')
    return args


def _required(args, flag):
    if not getattr(args, flag):
        raise CaffeError(f'caffe {args.command} needs --{flag}')
    return getattr(args, flag)


def _gpus(text):
    if text == 'all':
        return list(range(torch.cuda.device_count() if torch.cuda.is_available() else 0))
    try:
        return [int(number) for number in text.split(',') if number]
    except ValueError:
        raise CaffeError(f'--gpu takes numbers with commas between them, or "all", not {text!r}') from None


def _gpus_of_solver(param):
    """The GPU that a solver prototxt asks for; GPU is also its default, so then only if there is one."""
    gpu = param.solver_mode == caffe_pb2.SolverParameter.GPU
    asked = param.HasField('solver_mode')
    return [param.device_id] if gpu and (asked or torch.cuda.is_available()) else []


def _use(gpus):
    if gpus:
        common.set_device(gpus[0])
        common.set_mode_gpu()
    log(f'Using GPU {gpus[0]}' if gpus else 'Use CPU.')


def _start_processes(count):
    """Run this very command once a GPU."""
    return subprocess.call([sys.executable, '-m', 'torch.distributed.run', '--standalone',
                            f'--nproc-per-node={count}', '-m', 'caffe.tools.caffe', *sys.argv[1:]])


def _milliseconds(call, repeats):
    """Mean time of a call, in ms."""
    _finish()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    _finish()
    return (time.perf_counter() - start) * 1000 / repeats


def _finish():
    if common.device().type == 'cuda':
        torch.cuda.synchronize()


def main(argv=None):
    args = parse_args(argv)
    with user_errors('caffe'):
        return COMMANDS[args.command](args)


if __name__ == '__main__':
    sys.exit(main())
