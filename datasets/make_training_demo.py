#!/usr/bin/env python3
"""Render pictures to train students on: facades in class folders, all of the same size.

    python datasets/make_training_demo.py --output datasets/tiny/landmark

`clean/` has the training classes and `test/` those of the test phase, one folder per class, named
by an integer as in the Landmark dataset; `clean.txt` and `test.txt` list their images and classes.
The facades are different from those of make_demo.py, whatever the seeds, so a net trained on these
pictures can be scored on those. The same arguments give the same bytes.
"""

from deep_retrieval import cli, paths


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--output', default=paths.DATASETS / 'tiny/landmark', help='folder to make')
    parser.add_argument('--seed', type=cli.natural, default=0, help='random seed')
    parser.add_argument('--classes', type=cli.positive, default=120, help='facades in clean/')
    parser.add_argument('--test_classes', type=cli.positive, default=16, help='facades in test/')
    parser.add_argument('--views', type=cli.positive, default=12, help='pictures per facade')
    parser.add_argument('--overwrite', action='store_true',
                        help='replace a dataset that was rendered with other flags, and everything '
                             'made from it')
    return parser.parse_args()


def main(args):
    from deep_retrieval.scenes.training_demo import render_training_demo
    render_training_demo(args.output, args.seed, args.classes, args.test_classes,
                         args.views, args.overwrite)


if __name__ == '__main__':
    cli.run(parse_args, main)
