#!/usr/bin/env python3
"""Reproduce a table of the original's README, and print our numbers beside the published ones.

    python experiments/run.py offline
    python experiments/run.py multires --dataset datasets/Paris --dataset_name Paris

By default it runs on the demo data, which is made if necessary. The table is printed, and written
to --output as TABLE.md and TABLE.csv. Features are kept, so a later run resumes from them.
tables.yaml has the published numbers and the measurement of each row.
"""

import os

import measuring
import reporting
from deep_retrieval import cli, paths
from deep_retrieval.datasets import OXFORD_LAYOUT, open_dataset


def parse_args():
    tables = reporting.load_tables()
    parser = cli.parser(__doc__)
    parser.add_argument('table', choices=sorted(tables), metavar='TABLE', help='; '.join(
        f'{name}: {table["title"]}' for name, table in sorted(tables.items())))
    parser.add_argument('--tiny', action='store_true',
                        help='use the small nets of proto/tiny, which take a minute, instead of '
                             'ResNet-101; they are trained if `make metric-demo` was run')
    parser.add_argument('--weights', help='caffemodel of the net; by default the released one in '
                        "caffemodel/ or, if that does not exist, the demo's")
    parser.add_argument('--dataset', default=paths.DATASETS / 'demo',
                        help='folder with jpg/ and lab/')
    parser.add_argument('--dataset_name', choices=OXFORD_LAYOUT, default='Oxford',
                        help='how the folder is read: Paris has damaged images to ignore')
    parser.add_argument('--cover_dataset', help='dataset folder for test_on_cover.py; fills the '
                        'cover column of the distilling table, which is empty by default')
    parser.add_argument('--S', type=cli.positive, help='longer side of images in pixels; by '
                        "default the table's own, or 512 for rendered data")
    parser.add_argument('--students', help='folder with a subfolder NAME per trained student, '
                        'which has a deploy prototxt and a caffemodel (the last of several '
                        f'snapshots is used); by default {measuring.STUDENTS}, if it exists')
    parser.add_argument('--student', nargs=3, action='append', default=[],
                        metavar=('NAME', 'PROTO', 'WEIGHTS'),
                        help='a trained student in another place; may be repeated')
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--eval_binary', default=paths.EVAL_BINARY,
                        help='the compiled compute_ap')
    parser.add_argument('--temp_dir', default=paths.TEMP / 'experiments',
                        help='folder for features and rankings')
    parser.add_argument('--output', default=paths.TEMP / 'experiments',
                        help='folder for TABLE.md and TABLE.csv')
    return parser.parse_args()


def main(args):
    table = reporting.load_tables()[args.table]
    if not args.weights:
        args.weights = measuring.weights_of(args.tiny)
        cli.warn(f'weights: {paths.shown(args.weights)}')
    cli.use_device(args.gpu)
    measuring.make_missing(args.dataset, args.weights, args.tiny)
    dataset = open_dataset(args.dataset, args.dataset_name)
    if not os.path.isfile(args.eval_binary):
        raise ValueError(f'no scorer at {args.eval_binary}: build it with `make install`')
    rendered = reporting.is_rendered(args.dataset)
    args.S = args.S or (table['S_demo'] if rendered and 'S_demo' in table else table['S'])
    students = (measuring.students_in(args.students, args.student)
                if args.table == 'distilling' else {})
    temp_dir = os.path.join(args.temp_dir, os.path.basename(os.path.abspath(args.dataset)))
    rows = measuring.Measurer(
        dataset, args.weights, args.tiny, args.S, args.cover_dataset, args.students,
        args.eval_binary, temp_dir).rows(table, students)
    notes = reporting.differences(table, rows, args, dataset)
    text = reporting.markdown(table, rows, notes)
    reporting.save(args.output, args.table, text, table, rows)
    print(text)


if __name__ == '__main__':
    cli.run(parse_args, main)
