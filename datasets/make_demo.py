#!/usr/bin/env python3
"""Render a small dataset in Oxford's layout: facades in several views, look-alikes, distractors.

    python datasets/make_demo.py --output datasets/demo

The ground truth is the share of a facade's area that a view shows: good from 0.75, ok from 0.25,
junk below (deep_retrieval/scenes/views.py). The same arguments give the same bytes.
"""

from deep_retrieval import cli, paths


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--output', default=paths.DATASETS / 'demo', help='folder to make')
    parser.add_argument('--seed', type=cli.natural, default=0, help='random seed')
    parser.add_argument('--facades', type=cli.positive, default=24, help='buildings to search for')
    parser.add_argument('--views', type=cli.positive, default=8, help='pictures per building')
    parser.add_argument('--distractors', type=cli.natural, default=120,
                        help='other pictures; every second one shows a look-alike of a building')
    parser.add_argument('--queries', type=cli.positive, default=1,
                        help='maximum number of queries per building, which are good views')
    parser.add_argument('--size', type=cli.positive, default=1024,
                        help='longer side of the largest pictures in pixels')
    parser.add_argument('--overwrite', action='store_true',
                        help='replace a dataset that was rendered with other flags')
    return parser.parse_args()


def main(args):
    from deep_retrieval.scenes.demo import render_demo
    render_demo(args.output, args.seed, args.facades, args.views, args.distractors,
                args.queries, args.size, args.overwrite)


if __name__ == '__main__':
    cli.run(parse_args, main)
