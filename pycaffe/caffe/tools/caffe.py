"""The command `caffe`: train, test or time a net, or show the GPUs, with Caffe's flags.

    caffe train --solver solver.prototxt [--snapshot x.solverstate | --weights x.caffemodel]
    caffe test --model net.prototxt --weights x.caffemodel --iterations 50
    caffe time --model net.prototxt --iterations 10
    caffe device_query --gpu all
"""

import argparse
import os
import signal
import sys

import torch

from .. import common
from ..errors import CaffeError
from ..files import naming
from ..log import log
from ..net import Net
from ..parallel import NCCL, join_torchrun, start_ranks
from ..proto import caffe_pb2
from ..proto.upgrade import read_solver
from ..sgd_solvers import get_solver
from ..solver import SIGNAL_EFFECTS, show_output
from ..timer import Timer
from .flags import FlagParser, user_errors


def train(args):
    """train or fine-tune a net"""
    solver_file = _required(args, 'solver')
    if args.snapshot and args.weights:
        raise CaffeError('give --snapshot to resume or --weights to fine-tune, not both')
    parallel = join_torchrun()
    gpus = args.gpu or _gpus_of_solver(read_solver(solver_file), parallel)
    with naming('--gpu' if args.gpu else f'{solver_file}: solver_mode'):
        for gpu in gpus:
            common.set_device(gpu)      # raises if it does not exist
    if len(gpus) > 1 and not parallel:
        return start_ranks([sys.executable, '-m', 'caffe.tools.caffe', *sys.argv[1:]], len(gpus))
    _use(gpus, int(os.environ['LOCAL_RANK']) if parallel else 0)
    solver = get_solver(solver_file, level=args.level, stages=args.stage)
    for path in args.weights:
        log(f'Finetuning from {path}')
        for net in (solver.net, *solver.test_nets):
            net.copy_from(path)
    if args.snapshot:
        log(f'Resuming from {args.snapshot}')
        solver.resume(args.snapshot)
    if parallel:
        nccl = NCCL(solver, 'env://')
        nccl.bcast()
        solver.add_callback(nccl)
    log('Starting Optimization')
    solver.solve(signals={signal.SIGINT: args.sigint_effect, signal.SIGHUP: args.sighup_effect})
    log('Optimization Done.')
    return 0


def test(args):
    """score a net"""
    model, weights = _required(args, 'model'), _required(args, 'weights')
    _use(args.gpu[:1])
    net = Net(model, common.TEST, args.level, args.stage)
    for path in weights:
        net.copy_from(path)
    log(f'Running for {args.iterations} iterations.')
    loss, sums = 0.0, {}
    for iteration in range(args.iterations):
        loss += net._forward(0, len(net.layers) - 1, record=False)
        for name in net.outputs:
            values = net.blobs[name].data.astype(float).ravel()
            for value in values:
                log(f'Batch {iteration}, {name} = {value:g}')
            sums[name] = sums.get(name, 0) + values
    log(f'Loss: {loss / args.iterations:g}')
    for name, total in sums.items():
        for value in total / args.iterations:
            log(show_output(net, name, value))
    return 0


def benchmark(args):
    """time a net, whole and layer by layer"""
    model = _required(args, 'model')
    _use(args.gpu[:1])
    net = Net(model, getattr(common, args.phase), args.level, args.stage)
    last, repeats = len(net.layers) - 1, args.iterations
    log('Performing Forward')
    log(f'Initial loss: {net._forward(0, last):g}')
    log('Performing Backward')
    net._backward(last, 0)
    log('*** Benchmark begins ***')
    log(f'Testing for {repeats} iterations.')
    timer, forward, backward = Timer(), 0.0, 0.0
    for iteration in range(repeats):
        timer.start()
        net._forward(0, last)
        forward += (there := timer.ms)
        timer.start()
        net._backward(last, 0)
        backward += (back := timer.ms)
        log(f'Iteration: {iteration + 1} forward-backward time: {there + back:g} ms.')
    log('Average time per layer:')
    for name, lapses in _time_layers(net, repeats).items():
        for way, lapse in lapses.items():
            log(f'{name:>10}\t{way}: {lapse / repeats:g} ms.')
    log(f'Average Forward pass: {forward / repeats:g} ms.')
    log(f'Average Backward pass: {backward / repeats:g} ms.')
    log(f'Average Forward-Backward: {(forward + backward) / repeats:g} ms.')
    log(f'Total Time: {forward + backward:g} ms.')
    log('*** Benchmark ends ***')
    return 0


def device_query(args):
    """show the GPUs"""
    gpus = args.gpu or _all_gpus()
    if not gpus:
        log(f'There is no GPU: torch {torch.__version__} sees none')
    for gpu in gpus:
        common.set_device(gpu)
        properties = torch.cuda.get_device_properties(gpu)
        log(f'Device id:                     {gpu}')
        log(f'Major revision number:         {properties.major}')
        log(f'Minor revision number:         {properties.minor}')
        log(f'Name:                          {properties.name}')
        log(f'Total global memory:           {properties.total_memory}')
        log(f'Number of multiprocessors:     {properties.multi_processor_count}')
    return 0


COMMANDS = {'train': train, 'test': test, 'time': benchmark, 'device_query': device_query}


def parse_args(argv=None):
    parser = FlagParser(prog='caffe', description=__doc__.splitlines()[0])
    parser.add_argument('command', choices=COMMANDS,
                        help='; '.join(f'{name}: {COMMANDS[name].__doc__}' for name in COMMANDS))
    parser.add_argument('--solver', default='', help='solver prototxt (train)')
    parser.add_argument('--model', default='', help='net prototxt (test, time)')
    parser.add_argument('--weights', default=[], type=_words, metavar='WEIGHTS[,...]',
                        help='caffemodels to start from (train, test)')
    parser.add_argument('--snapshot', default='', help='solverstate to resume from (train)')
    parser.add_argument('--gpu', default=[], type=_gpus, metavar='N[,...]',
                        help='GPUs by number, or "all"; by default train follows the solver, and '
                             'the other commands use the CPU')
    parser.add_argument('--iterations', type=int, default=50, help='batches to run (test, time)')
    parser.add_argument('--phase', default='TRAIN', choices=['TRAIN', 'TEST'],
                        help='phase of the net to time')
    parser.add_argument('--level', type=int, default=0, help='level of the net')
    parser.add_argument('--stage', default=[], type=_words, metavar='STAGE[,...]',
                        help='stages of the net')
    parser.add_argument('--sigint_effect', default='stop', choices=SIGNAL_EFFECTS,
                        help='effect of Ctrl-C in train')
    parser.add_argument('--sighup_effect', default='snapshot', choices=SIGNAL_EFFECTS,
                        help='effect of a hangup signal in train')
    if not (sys.argv[1:] if argv is None else argv):
        parser.print_help()
        parser.exit()
    args = parser.parse_args(argv)
    if args.iterations < 1:
        parser.error('--iterations must be positive')
    return args


def _words(text):
    return [word for word in text.split(',') if word]


def _gpus(text):
    if text == 'all':
        return _all_gpus() or [0]       # without a GPU, the error will name GPU 0
    try:
        return [int(number) for number in _words(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f'takes numbers or "all", not {text!r}') from None


def _all_gpus():
    return list(range(torch.cuda.device_count() if torch.cuda.is_available() else 0))


def _required(args, flag):
    if not getattr(args, flag):
        raise CaffeError(f'{args.command} needs --{flag}')
    return getattr(args, flag)


def _gpus_of_solver(param, parallel):
    """Return the GPUs that a solver prototxt selects; the default is a GPU if there is one."""
    asked = param.HasField('solver_mode')
    if param.solver_mode == caffe_pb2.SolverParameter.CPU or not (asked or _all_gpus()):
        return []
    return _gpus('all') if parallel else [param.device_id]


def _use(gpus, index=0):
    """Compute on the `index`-th of these GPUs, or on the CPU if the list is empty."""
    if not gpus:
        log('Use CPU.')
        return
    if index >= len(gpus):
        raise CaffeError(f'no GPU for process {index} of this machine: there are {len(gpus)}')
    common.set_device(gpus[index])
    common.set_mode_gpu()
    log(f'Using GPUs {", ".join(map(str, gpus))}')


def _time_layers(net, repeats):
    """Time each layer; return layer name -> {'forward': ms, 'backward': ms}, summed over `repeats`.

    The callbacks make the net run layer by layer, without fusing layers.
    """
    sums = [{'forward': 0.0, 'backward': 0.0} for _ in net.layers]
    timer = Timer()

    def end(way):
        def add(index):
            sums[index][way] += timer.ms
        return add

    net.before_forward(lambda index: timer.start())
    net.after_forward(end('forward'))
    net.before_backward(lambda index: timer.start())
    net.after_backward(end('backward'))
    for _ in range(repeats):
        net._forward(0, len(net.layers) - 1)
        net._backward(len(net.layers) - 1, 0)
    return dict(zip(net.layer_dict, sums, strict=True))


def main(argv=None):
    args = parse_args(argv)
    common.keep_freed_memory()
    with user_errors('caffe'):
        return COMMANDS[args.command](args)


if __name__ == '__main__':
    sys.exit(main())
