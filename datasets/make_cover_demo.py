#!/usr/bin/env python3
"""Render a small cover set: clips of moving scenes, and frames of them as they spread and change.

    python datasets/make_cover_demo.py --output datasets/demo_cover

videos/ holds the clips. images/ holds frames of 280 x 496 pixels: some of each clip, re-encoded,
cropped, letterboxed, captioned, brightened, mirrored or with a logo, as their names say; and
single frames of other places. A line of groups.txt, ID<TAB>NAME NAME ..., names the frames of one
origin; a single frame is a group of its own. Every fourth clip, and every fourth single frame,
looks like a clip but is another place. The same arguments give the same bytes.
"""

import argparse

import numpy as np
from deep_retrieval import cli, scenes
from deep_retrieval.paths import ROOT

ENTRIES = {'videos', 'images', 'groups.txt'}
FRAMES = (2, 10)            # frames of a clip, least and one more than most
REACHES = (0, 0, 1, 40)     # how many frames they lie apart from one moment, at most, by lot
EDITS = (0.3, 0.6, 0.1)    # shares of frames with 0, 1 and 2 edits; a clip's first has none
QUALITIES = (70, 95)        # JPEG quality, least and most


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--output', default=ROOT / 'datasets/demo_cover', help='folder to make')
    parser.add_argument('--seed', type=cli.natural, default=0, help='seed of everything')
    parser.add_argument('--clips', type=cli.natural, default=44,
                        help='videos; every fourth looks like the one before it')
    parser.add_argument('--singles', type=cli.natural, default=120,
                        help='frames of no video; every fourth looks like a video')
    parser.add_argument('--seconds', type=cli.positive, default=3, help='length of a video')
    parser.add_argument('--overwrite', action='store_true',
                        help='replace a set that was rendered with other flags')
    return parser.parse_args()


def main(args):
    if not args.clips and not args.singles:
        raise ValueError('--clips 0 --singles 0: there is nothing to render')
    made_from = {name: getattr(args, name) for name in ('seed', 'clips', 'singles', 'seconds')}
    if not scenes.make_folder(args.output, made_from, ENTRIES, args.overwrite,
                              lambda folder: render(made_from, folder)):
        cli.warn(f'{args.output} is there already')


def render(made_from, folder):
    """Write videos/, images/ and groups.txt into a folder."""
    (folder / 'videos').mkdir()
    (folder / 'images').mkdir()
    groups = scenes.run(
        [(render_clip, made_from, folder, i) for i in range(made_from['clips'])]
        + [(render_single, made_from, folder, i) for i in range(made_from['singles'])])
    text = ''.join(f'{name}\t{" ".join(images)}\n' for name, images in sorted(groups))
    (folder / 'groups.txt').write_text(text)


def render_clip(made_from, folder, index):
    """A video and some of its frames; the group's name and its images' names."""
    seed, name = made_from['seed'], clip_name(index)
    clip = scenes.make_clip(clip_scene(seed, index), np.random.default_rng([seed, 1, index]),
                            made_from['seconds'])
    scenes.write_video(clip, folder / 'videos' / f'{name}.avi')
    rng = np.random.default_rng([seed, 2, index])
    reach = rng.choice(REACHES)
    numbers = rng.integers(clip.frames) + rng.integers(-reach, reach + 1, rng.integers(*FRAMES))
    numbers = np.clip(numbers, 0, clip.frames - 1)
    return name, [save_frame(folder, f'{name}_{i}', scenes.render_frame(clip, int(number)), rng,
                             edits=None if i > 1 else 0)
                  for i, number in enumerate(numbers, start=1)]


def render_single(made_from, folder, index):
    """A frame of no video: another place that looks like one, or any place."""
    seed, clips = made_from['seed'], made_from['clips']
    rng = np.random.default_rng([seed, 3, index])
    scene = scenes.random_scene(rng)
    if index % 4 == 3 and clips:
        scene = scenes.similar_scene(clip_scene(seed, index // 4 * 5 % clips), rng)
    clip = scenes.make_clip(scene, rng)
    frame = scenes.render_frame(clip, int(rng.integers(clip.frames)))
    name = f'single_{index + 1:03d}'
    return name, [save_frame(folder, name, frame, rng)]


def clip_name(index):
    """Name of a clip, and of its group; a look-alike is called after the one before it."""
    return f'clip_{index:03d}_alike' if index % 4 == 3 else f'clip_{index + 1:03d}'


def clip_scene(seed, index):
    """Where a clip is filmed."""
    rng = np.random.default_rng([seed, 0, index])
    if index % 4 == 3:
        return scenes.similar_scene(clip_scene(seed, index - 1), rng)
    return scenes.random_scene(rng)


def save_frame(folder, name, image, rng, edits=None):
    """Write a frame after so many edits, or as many as a lot says; the image's name."""
    count = rng.choice(len(EDITS), p=EDITS) if edits is None else edits
    done = [str(edit) for edit in rng.choice(list(scenes.EDITS), count, replace=False)]
    for edit in done:
        image = scenes.EDITS[edit](image, rng)
    file = '_'.join([name, *done]) + '.jpg'
    scenes.save_jpeg(folder / 'images' / file, image, int(rng.integers(*QUALITIES)))
    return file


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
