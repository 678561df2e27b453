#!/usr/bin/env python3
"""Score a dataset in Oxford's layout: descriptors, ranking, AP of every query and their mean.

    python test.py --dataset datasets/Oxford --dataset_name Oxford --multires --aqe 1 --dbe 20

Results go to stdout, messages to stderr. Features are kept in --temp_dir: a second run takes them
from there, and an interrupted one resumes.
"""

import deep_retrieval as dr
from deep_retrieval import cli, paths, scales
from deep_retrieval.datasets import OXFORD_LAYOUT


def parse_args():
    parser = cli.parser(__doc__)
    cli.add_model_flags(parser, weights=None)
    parser.add_argument('--dataset', default=paths.OXFORD, help='folder with jpg/ and lab/')
    parser.add_argument('--dataset_name', choices=OXFORD_LAYOUT, default='Oxford',
                        help='how the folder is read: Paris has damaged images to ignore')
    parser.add_argument('--gnd', metavar='FILE',
                        help='score by the revisited protocols with this gnd_*.json')
    parser.add_argument('--eval_binary', default=paths.EVAL_BINARY, help='the compiled compute_ap')
    parser.add_argument('--temp_dir', default=paths.TEMP, help='folder for features and rankings')
    cli.add_multires(parser, 'papers')
    parser.add_argument('--multires_step', type=cli.positive, default=scales.STEP,
                        metavar='PIXELS', help='the step of --multires papers')
    parser.add_argument('--aqe', type=cli.positive, metavar='K',
                        help='average each query with its K nearest images')
    parser.add_argument('--dbe', type=cli.positive, metavar='K',
                        help='average each image with its K nearest images')
    parser.add_argument('--query_crop', choices=('roi', 'full'), default='roi',
                        help="the query's box (the published protocol) or its full image")
    parser.add_argument('--batch_size', type=cli.positive, default=4,
                        help='images of one size that the net takes at once')
    parser.add_argument('--skip_bad', action='store_true',
                        help='leave damaged images out of the ranking')
    parser.add_argument('--picture', metavar='FILE',
                        help='write a picture of the first queries and their top 5')
    parser.add_argument('--picture_queries', type=cli.positive, default=5, metavar='K',
                        help='queries in the picture')
    return parser.parse_args()


def main(args):
    scales.scales_of(args.S or 800, args.multires, args.multires_step)      # before long work
    dataset = dr.open_dataset(args.dataset, args.dataset_name, gnd=args.gnd)
    model = cli.load_model(args)
    result = dr.evaluate(
        model, dataset, multires=args.multires, multires_step=args.multires_step, aqe=args.aqe,
        dbe=args.dbe, query_crop=args.query_crop, cache=args.temp_dir, batch_size=args.batch_size,
        skip_bad=args.skip_bad, eval_binary=args.eval_binary)
    print(*result.lines(), sep='\n')
    if args.picture:
        from deep_retrieval.gallery import picture
        picture.save(args.picture, picture.of_result(dataset, result, args.picture_queries))


if __name__ == '__main__':
    cli.run(parse_args, main)
