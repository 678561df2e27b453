#!/usr/bin/env python3
"""Save frames of all videos in a folder, at an interval or where the scene changes.

    python myPython/convert/video2frames.py --video_dir datasets/videos --frames_dir tmp/frames \
        --every 2

The frames of the video one/a.mp4 are one/a.mp4/a_000012.340.jpg and so on, with their time in
seconds. Damaged videos are told, listed in bad.txt, and tried again by the next run; a run that
was interrupted goes on with the videos that have no folder of frames yet.
"""

import argparse

from deep_retrieval import cli
from deep_retrieval.making.video_frames import BAD, Choice, save_all


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--video_dir', default='datasets/demo_cover/videos',
                        help='folder of the videos, which may be in folders of it')
    parser.add_argument('--frames_dir', default='tmp/frames',
                        help='folder to write: a folder of JPEG files a video')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--every', type=seconds, default=1.0, metavar='SECONDS',
                       help='take a frame each so many seconds')
    which.add_argument('--scenes', type=share, metavar='THRESHOLD',
                       help='take the first frame and those that differ from the one before: by '
                            'the share of pixels whose colour would have to change, 0 to 1; 0.5 '
                            'finds cuts')
    parser.add_argument('--quality', type=percentage, default=95,
                        help='quality of the JPEG files, 1 to 100')
    parser.add_argument('--overwrite', action='store_true',
                        help='replace frames that were chosen otherwise or whose video has '
                             'changed, and write beside what else is in the folder')
    return parser.parse_args()


def seconds(text):
    """An argparse type: seconds, a millisecond at least."""
    return _between(text, 0.001, 1e6)


def share(text):
    """An argparse type: a share."""
    return _between(text, 0, 1)


def percentage(text):
    """An argparse type: an integer from 1 to 100."""
    return int(_between(text, 1, 100, int))


def _between(text, least, most, kind=float):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise argparse.ArgumentTypeError(f'{text!r} is no number from {least} to {most:g}')
    return value


def main(args):
    choice = Choice(None if args.scenes is not None else args.every, args.scenes)
    counts, bad = save_all(args.video_dir, args.frames_dir, choice, args.quality, args.overwrite,
                           cli.warn)
    damaged = f'; {len(bad)} damaged videos, see {BAD}' if bad else ''
    print(f'{args.frames_dir}: {sum(counts.values())} frames of {len(counts)} videos{damaged}')
    if not counts:
        raise ValueError(f'{args.video_dir}: none of its {len(bad)} videos can be read')


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
