#!/usr/bin/env python3
"""Score a net on Oxford by compute_ap: one resolution, queries not cropped, any blob of the net.

    python myPython/test/test_on_oxford.py --dataset datasets/Oxford --wrong_dir tmp/wrong

The numbers of the tables of students and reduced nets; test.py gives those of the papers.
"""

from deep_retrieval import cli, paths
from deep_retrieval.datasets import DATASETS
from deep_retrieval.shared_flags import parser


def parse_args():
    flags = parser(__doc__, S=512)
    flags.add_argument('--dataset', default=paths.OXFORD, help='folder that holds jpg/ and lab/')
    flags.add_argument('--dataset_name', choices=sorted(DATASETS), default='Oxford',
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
    from deep_retrieval import evaluation
    from deep_retrieval.datasets import open_dataset
    per_query = evaluation.oxford(
        cli.load_model(args), open_dataset(args.dataset, args.dataset_name),
        multires=args.multires, cache=args.temp_dir, batch_size=args.batch_size,
        skip_bad=args.skip_bad, aqe=args.aqe, dbe=args.dbe, query_crop=args.query_crop,
        eval_binary=args.eval_binary, wrong_dir=args.wrong_dir, overwrite=args.overwrite)
    print(*evaluation.report_oxford(per_query, args.query_crop), sep='\n')


if __name__ == '__main__':
    cli.run(parse_args, main)
