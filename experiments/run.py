#!/usr/bin/env python3
"""Re-run a table of the original's README, and print our numbers beside the published ones.

    python experiments/run.py offline
    python experiments/run.py multires --dataset datasets/Paris --dataset_name Paris

Runs on the demo data unless told otherwise, and makes what is missing of it. The table goes to
stdout, and as TABLE.md and TABLE.csv to --output. Features are kept: a further run goes on with
them. tables.yaml has the published numbers, and the command of each row.
"""

import argparse
import os

import reporting
from deep_retrieval import cli
from deep_retrieval.datasets import DATASETS, OXFORD_LAYOUT
from measuring import ROOT, STUDENTS, Runner, device, make_missing, students_in, weights_of


def parse_args():
    tables = reporting.load_tables()
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('table', choices=sorted(tables), metavar='TABLE', help='; '.join(
        f'{name}: {table["title"]}' for name, table in sorted(tables.items())))
    parser.add_argument('--tiny', action='store_true',
                        help='the small nets of proto/tiny, which take a minute, in place of '
                             'ResNet-101; trained, where `make metric-demo` was run')
    parser.add_argument('--weights', help='caffemodel of the net; by default the released one in '
                        "caffemodel/, or the demo's where that is not there")
    parser.add_argument('--dataset', default=ROOT / 'datasets/demo',
                        help='folder that holds jpg/ and lab/')
    parser.add_argument('--dataset_name', choices=OXFORD_LAYOUT, default='Oxford',
                        help='how the folder is read: Paris has damaged images to ignore')
    parser.add_argument('--cover_dataset', help='folder that test_on_cover.py takes, for the '
                        'column of the distilling table that is empty without')
    parser.add_argument('--S', type=cli.positive, help='pixels of the longer side; by default the '
                        "table's own, of rendered data 512")
    parser.add_argument('--students', help='folder with a folder NAME for each trained student, '
                        'which holds a deploy prototxt and a caffemodel (of snapshots the last is '
                        f'taken); by default {STUDENTS}, where that is there')
    parser.add_argument('--student', nargs=3, action='append', default=[],
                        metavar=('NAME', 'PROTO', 'WEIGHTS'),
                        help='a trained student that lies elsewhere; may be repeated')
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--eval_binary', default=ROOT / 'eval/compute_ap',
                        help='the compiled compute_ap')
    parser.add_argument('--temp_dir', default=ROOT / 'tmp/experiments',
                        help='folder for features and rankings')
    parser.add_argument('--output', default=ROOT / 'tmp/experiments',
                        help='folder for TABLE.md and TABLE.csv')
    return parser.parse_args()


def main(args):
    table = reporting.load_tables()[args.table]
    if not args.weights:
        args.weights = weights_of(args.tiny)
        cli.warn(f'weights: {reporting.shown_path(args.weights)}')
    args.gpu = device(args.gpu)
    make_missing(args)
    dataset = DATASETS[args.dataset_name](args.dataset)
    if not os.path.isfile(args.eval_binary):
        raise ValueError(f'no scorer at {args.eval_binary}: build it with `make install`')
    rendered = reporting.is_rendered(args.dataset)
    args.S = args.S or (table['S_demo'] if rendered and 'S_demo' in table else table['S'])
    students = students_in(args.students, args.student) if args.table == 'distilling' else {}
    rows = Runner(args).rows(table, students)
    notes = reporting.differences(table, rows, args, dataset)
    text = reporting.markdown(table, rows, notes)
    reporting.save(args.output, args.table, text, table, rows)
    print(text)


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
