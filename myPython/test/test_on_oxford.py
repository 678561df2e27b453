#!/usr/bin/env python3
"""Score a net on Oxford by compute_ap: one resolution, queries not cropped, any blob of the net.

    python myPython/test/test_on_oxford.py --dataset datasets/Oxford --wrong_dir tmp/wrong

The numbers of the tables of students and reduced nets; test.py gives those of the papers.
"""

from deep_retrieval import cli, compute_ap, evaluation
from deep_retrieval.datasets import DATASETS, query_sets
from deep_retrieval.gallery import answer_pictures
from deep_retrieval.shared_flags import ROOT, parser


def parse_args():
    flags = parser(__doc__, S=512)
    flags.add_argument('--dataset', default=ROOT / 'datasets/Oxford',
                       help='folder that holds jpg/ and lab/')
    flags.add_argument('--dataset_name', choices=sorted(DATASETS), default='Oxford',
                       help='how the folder is read: Paris has damaged images to ignore')
    flags.add_argument('--eval_binary', default=ROOT / 'eval/compute_ap',
                       help='the compiled compute_ap')
    flags.add_argument('--aqe', type=cli.positive, metavar='K',
                       help='average each query with its K nearest images')
    flags.add_argument('--dbe', type=cli.positive, metavar='K',
                       help='average each image with its K nearest images')
    flags.add_argument('--query_crop', choices=('roi', 'full'), default='full',
                       help="the query's box (the published protocol) or its full image")
    return flags.parse_args()


def main(args):
    dataset = DATASETS[args.dataset_name](args.dataset)
    evaluation.check_expansion(args.aqe, args.dbe, len(dataset.images))
    if args.wrong_dir:
        answer_pictures.check(args.wrong_dir, args.overwrite)
    queries, database = query_sets.oxford(dataset, crop=args.query_crop == 'roi')
    found = evaluation.describe(args, args.dataset_name, queries, database)
    found.expand(args.aqe, args.dbe)
    ranked = list(evaluation.rank(found))
    dataset.queries = [query for query, _, _ in ranked]
    rankings = [[found.database[row].name for row in rows] for _, rows, _ in ranked]
    precisions = compute_ap.score(dataset, rankings, args.temp_dir, args.eval_binary)
    compute_ap.report(precisions, f'compute_ap, query_crop {args.query_crop}')
    if args.wrong_dir:
        answers = [evaluation.judge(found, *row) for row in ranked]
        answer_pictures.save_answers(args.wrong_dir, answers, args.overwrite)


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
