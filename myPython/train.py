#!/usr/bin/env python3
"""Train a net as a solver prototxt says.

    python myPython/train.py --solver proto/triplet/train_resnet101_triplet_solver.prototxt \
        --weights caffemodel/model.caffemodel

Ctrl-C ends it after the running iteration, with a snapshot; `--snapshot` goes on from one and comes
to the same parameters as a run that was never ended. What is trained (solver and net, with what
`--set` changed) is written beside the snapshots, and so is the log.
"""

import argparse
import sys

from deep_retrieval import cli
from deep_retrieval.training import solving


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--solver',
                        default='proto/distilling/train_resnet101_distilling_solver.prototxt',
                        help='solver prototxt; paths in it begin in the folder you call this from')
    parser.add_argument('--weights', nargs='*', default=[],
                        help='caffemodels to start from; a later one goes over an earlier one')
    parser.add_argument('--snapshot', help='solverstate to go on from')
    parser.add_argument('--gpu', type=int, default=0,
                        help='GPU to compute on, -1 for the CPU; where it is not there, the CPU')
    parser.add_argument('--set', nargs='*', default=[], metavar='NAME.FIELD=VALUE', dest='settings',
                        help='change a field of a layer (data.batch_size=4, data.source=FOLDER) or '
                             'of the solver (solver.max_iter=100)')
    parser.add_argument('--cache_trunk', metavar='FOLDER',
                        help='keep here what the frozen part of the net gives for each image, and '
                             'run it but once an image')
    parser.add_argument('--plot', metavar='FILE',
                        help='draw loss and learning rate of the log into this picture')
    args = parser.parse_args()
    if args.snapshot and args.weights:
        parser.error('--snapshot brings its weights: leave out --weights')
    return args


def main(args):
    cli.use_device(args.gpu)
    solver_file, log_file = solving.prepare(args.solver, args.settings)
    with solving.logging_to(log_file):
        solver = solving.make_solver(solver_file, args.weights, args.snapshot,
                                      args.cache_trunk)
        try:
            solver.solve()
        finally:
            if args.plot:
                solving.plot(log_file, args.plot)
    if solver.iter < solver.param.max_iter:
        cli.warn(f'stopped early at iteration {solver.iter}; --snapshot '
                 f'{solver.param.snapshot_prefix}_iter_{solver.iter}.solverstate goes on')
        sys.exit(130)


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
