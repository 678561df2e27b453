#!/usr/bin/env python3
"""Save frames of all videos in a folder, at regular intervals or at scene changes.

    python myPython/convert/video2frames.py --video_dir datasets/videos --frames_dir tmp/frames \\
        --every 2

The frames of the video one/a.mp4 are one/a.mp4/a_000012.340.jpg and so on, named by their time in
seconds. Damaged videos are reported, listed in bad.txt, and tried again in the next run. An
interrupted run resumes with the videos that have no folder of frames yet.
"""

import argparse

from deep_retrieval import cli, paths


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--video_dir', default=paths.DATASETS / 'demo_cover/videos',
                        help='folder of the videos, searched recursively')
    parser.add_argument('--frames_dir', default=paths.TEMP / 'frames',
                        help='folder to write: one folder of JPEG files per video')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--every', type=seconds, default=1.0, metavar='SECONDS',
                       help='take one frame per this interval')
    which.add_argument('--scenes', type=share, metavar='THRESHOLD',
                       help='take the first frame and each frame whose difference to the one '
                            'before exceeds this: the share of pixels that change colour, 0 to 1; '
                            '0.5 finds cuts')
    parser.add_argument('--quality', type=percentage, default=95,
                        help='quality of the JPEG files, 1 to 100')
    parser.add_argument('--overwrite', action='store_true',
                        help='replace frames that were chosen with other flags or whose video has '
                             'changed, and write into a folder with other files')
    return parser.parse_args()


def seconds(text):
    """Argparse type: seconds, at least a millisecond."""
    return _between(text, 0.001, 1e6)


def share(text):
    """Argparse type: a number from 0 to 1."""
    return _between(text, 0, 1)


def percentage(text):
    """Argparse type: an integer from 1 to 100."""
    return int(_between(text, 1, 100, int))


def _between(text, least, most, kind=float):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number from {least} to {most:g}')
    return value


def main(args):
    from deep_retrieval.making.video_frames import BAD, Choice, save_all
    choice = Choice(None if args.scenes is not None else args.every, args.scenes)
    counts, bad = save_all(args.video_dir, args.frames_dir, choice, args.quality, args.overwrite)
    damaged = f'; {len(bad)} damaged videos, see {BAD}' if bad else ''
    print(f'{args.frames_dir}: {sum(counts.values())} frames of {len(counts)} videos{damaged}')
    if not counts:
        raise ValueError(f'{args.video_dir}: none of its {len(bad)} videos can be read')


if __name__ == '__main__':
    cli.run(parse_args, main)
