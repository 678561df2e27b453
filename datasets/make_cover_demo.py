#!/usr/bin/env python3
"""Render a small cover set: clips of moving scenes, and edited frames of them.

    python datasets/make_cover_demo.py --output datasets/demo_cover

videos/ has the clips. images/ has frames of 280 x 496 pixels: some frames of each clip, re-encoded,
cropped, letterboxed, captioned, brightened, mirrored or with a logo, as their names say; and single
frames of other places. groups.txt has one line ID<TAB>NAME NAME ... per group of same-origin
frames; a single frame is its own group. Every fourth clip and every fourth single frame is a
look-alike: it resembles a clip but shows another place. The same arguments give the same bytes.
"""

from deep_retrieval import cli, paths


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--output', default=paths.DATASETS / 'demo_cover', help='folder to make')
    parser.add_argument('--seed', type=cli.natural, default=0, help='random seed')
    parser.add_argument('--clips', type=cli.natural, default=44,
                        help='number of videos; every fourth looks like the one before it')
    parser.add_argument('--singles', type=cli.natural, default=120,
                        help='number of frames without a video; every fourth looks like a video')
    parser.add_argument('--seconds', type=cli.positive, default=3, help='length of a video')
    parser.add_argument('--overwrite', action='store_true',
                        help='replace a set that was rendered with other flags')
    return parser.parse_args()


def main(args):
    from deep_retrieval.scenes.cover_demo import render_cover_demo
    render_cover_demo(args.output, args.seed, args.clips, args.singles, args.seconds,
                      args.overwrite)


if __name__ == '__main__':
    cli.run(parse_args, main)
