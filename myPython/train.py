#!/usr/bin/env python3
"""Train a net with a solver prototxt.

    python myPython/train.py --solver proto/triplet/train_resnet101_triplet_solver.prototxt \
        --weights caffemodel/model.caffemodel

Ctrl-C stops training after the current iteration, with a snapshot. `--snapshot` resumes from one;
the result is the same as that of an uninterrupted run. Solver and net (with the changes of `--set`)
and the log are written beside the snapshots.
"""

import os
import sys

from deep_retrieval import cli, paths


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--solver', default=paths.ROOT / 'proto/distilling'
                        '/train_resnet101_distilling_solver.prototxt',
                        help='solver prototxt; its paths are relative to the current folder or, if '
                             "they do not exist there, to the repository's root")
    parser.add_argument('--weights', nargs='*', default=[],
                        help='caffemodels to start from; a later one overrides an earlier one')
    parser.add_argument('--snapshot', help='solverstate to resume from')
    parser.add_argument('--gpu', type=int, default=0,
                        help='GPU to compute on; -1 for the CPU, which is also used if there is '
                             'no GPU')
    parser.add_argument('--set', nargs='*', default=[], metavar='NAME.FIELD=VALUE', dest='settings',
                        help='change a field of a layer (data.batch_size=4, data.source=FOLDER) or '
                             'of the solver (solver.max_iter=100)')
    parser.add_argument('--cache_trunk', metavar='FOLDER',
                        help="cache the results of the net's frozen part in this folder, so that "
                             'they are computed once per image')
    parser.add_argument('--plot', metavar='FILE',
                        help='picture file to plot loss and learning rate to')
    args = parser.parse_args()
    if args.snapshot and args.weights:
        parser.error('--snapshot includes the weights: leave out --weights')
    return args


def main(args):
    from deep_retrieval.training import solving
    cli.use_device(args.gpu)
    for name in ('solver', 'snapshot', 'cache_trunk', 'plot'):
        if getattr(args, name):
            setattr(args, name, os.path.abspath(getattr(args, name)))
    args.weights = [os.path.abspath(path) for path in args.weights]
    folder = solving.base_folder(args.solver)
    if folder != os.getcwd():
        cli.warn(f'{args.solver}: its paths are relative to {folder}')
        os.chdir(folder)
    done = solving.train(args.solver, weights=args.weights, snapshot=args.snapshot,
                         settings=args.settings, cache_trunk=args.cache_trunk, plot_file=args.plot)
    if not done.finished:
        cli.warn(f'stopped early at iteration {done.iteration}; resume with --snapshot '
                 f'{done.snapshot}')
        sys.exit(130)


if __name__ == '__main__':
    cli.run(parse_args, main)
