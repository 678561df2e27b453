#!/usr/bin/env python3
"""Score a net on Oxford by compute_ap, with any blob of the net as the descriptor.

    python myPython/test/test_on_oxford.py --dataset datasets/Oxford --wrong_dir tmp/wrong

By default queries are not cropped, as in the original's tables of students and reduced nets. To
reproduce the numbers of the papers, use test.py.
"""

from deep_retrieval import cli, paths
from deep_retrieval.datasets import OXFORD_LAYOUT, open_dataset
from deep_retrieval.shared_flags import evaluate, parser


def parse_args():
    flags = parser(__doc__, S=512)
    flags.add_argument('--dataset', default=paths.OXFORD, help='folder with jpg/ and lab/')
    flags.add_argument('--dataset_name', choices=OXFORD_LAYOUT, default='Oxford',
                       help='how the folder is read: Paris has damaged images to ignore')
    flags.add_argument('--eval_binary', default=paths.EVAL_BINARY, help='the compiled compute_ap')
    flags.add_argument('--aqe', type=cli.positive, metavar='K',
                       help='average each query with its K nearest images')
    flags.add_argument('--dbe', type=cli.positive, metavar='K',
                       help='average each image with its K nearest images')
    flags.add_argument('--query_crop', choices=('roi', 'full'), default='full',
                       help="the query's box (the published protocol) or its full image")
    return flags.parse_args()


def main(args):
    from deep_retrieval import metrics
    result = evaluate(args, open_dataset(args.dataset, args.dataset_name), aqe=args.aqe,
                      dbe=args.dbe, query_crop=args.query_crop, eval_binary=args.eval_binary)
    print(*metrics.report(result.per_query, f'compute_ap, {result.protocol}'), sep='\n')


if __name__ == '__main__':
    cli.run(parse_args, main)
