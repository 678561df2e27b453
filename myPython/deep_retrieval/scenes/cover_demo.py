"""A small cover set: clips of moving scenes, and edited frames of them.

    render_cover_demo('datasets/demo_cover')

videos/ has the clips, images/ has frames of 280 x 496 pixels, and groups.txt has one line
ID<TAB>NAME NAME ... per group of same-origin frames. The same arguments give the same bytes.
"""

import os
from pathlib import Path

import numpy as np

from deep_retrieval.scenes.clips import make_clip, render_frame, write_video
from deep_retrieval.scenes.frame_edits import EDITS
from deep_retrieval.scenes.rendering import make_folder, run, save_jpeg
from deep_retrieval.scenes.settings import Scene, random_scene, similar_scene

ENTRIES = {'videos', 'images', 'groups.txt'}
FRAMES = (2, 10)            # frames of a clip: minimum, and maximum + 1
REACHES = (0, 0, 1, 40)     # choices of the maximum distance of a clip's frames from one moment
EDIT_COUNTS = (0.3, 0.6, 0.1)   # shares of frames with 0, 1 and 2 edits; a clip's first has none
QUALITIES = (70, 95)        # JPEG quality: minimum, and maximum + 1


def render_cover_demo(output: str | os.PathLike, seed: int = 0, clips: int = 44,
                      singles: int = 120, seconds: int = 3, overwrite: bool = False) -> bool:
    """Render the set.

    Parameters
    ----------
    output : folder to make
    seed : random seed
    clips : number of videos; every fourth looks like the one before it, but shows another place
    singles : number of frames without a video; every fourth looks like a video
    seconds : length of a video
    overwrite : replace a set that was rendered with other arguments

    Returns
    -------
    bool
        False if it exists already.

    Raises
    ------
    ValueError
        There is nothing to render, or the folder has other contents.
    """
    if not clips and not singles:
        raise ValueError('--clips 0 --singles 0: there is nothing to render')
    made_from = {'seed': seed, 'clips': clips, 'singles': singles, 'seconds': seconds}
    return make_folder(output, made_from, ENTRIES, overwrite,
                       lambda folder: render(made_from, folder))


def render(made_from: dict, folder: Path) -> None:
    """Write videos/, images/ and groups.txt into a folder."""
    (folder / 'videos').mkdir()
    (folder / 'images').mkdir()
    groups = run([(render_clip, made_from, folder, i) for i in range(made_from['clips'])]
                 + [(render_single, made_from, folder, i) for i in range(made_from['singles'])])
    text = ''.join(f'{name}\t{" ".join(images)}\n' for name, images in sorted(groups))
    (folder / 'groups.txt').write_text(text)


def render_clip(made_from: dict, folder: Path, index: int) -> tuple[str, list[str]]:
    """Write a video and some of its frames; return the group's name and its images' names."""
    seed, name = made_from['seed'], clip_name(index)
    clip = make_clip(clip_scene(seed, index), np.random.default_rng([seed, 1, index]),
                     made_from['seconds'])
    write_video(clip, folder / 'videos' / f'{name}.avi')
    rng = np.random.default_rng([seed, 2, index])
    reach = rng.choice(REACHES)
    numbers = rng.integers(clip.frames) + rng.integers(-reach, reach + 1, rng.integers(*FRAMES))
    numbers = np.clip(numbers, 0, clip.frames - 1)
    return name, [save_frame(folder, f'{name}_{i}', render_frame(clip, int(number)), rng,
                             edits=None if i > 1 else 0)
                  for i, number in enumerate(numbers, start=1)]


def render_single(made_from: dict, folder: Path, index: int) -> tuple[str, list[str]]:
    """Write a frame without a video: a look-alike of one, or any place."""
    seed, clips = made_from['seed'], made_from['clips']
    rng = np.random.default_rng([seed, 3, index])
    scene = random_scene(rng)
    if index % 4 == 3 and clips:
        scene = similar_scene(clip_scene(seed, index // 4 * 5 % clips), rng)
    clip = make_clip(scene, rng)
    frame = render_frame(clip, int(rng.integers(clip.frames)))
    name = f'single_{index + 1:03d}'
    return name, [save_frame(folder, name, frame, rng)]


def clip_name(index: int) -> str:
    """Return the name of a clip and its group; a look-alike is named after the clip before it."""
    return f'clip_{index:03d}_alike' if index % 4 == 3 else f'clip_{index + 1:03d}'


def clip_scene(seed: int, index: int) -> Scene:
    """Return the scene of a clip."""
    rng = np.random.default_rng([seed, 0, index])
    if index % 4 == 3:
        return similar_scene(clip_scene(seed, index - 1), rng)
    return random_scene(rng)


def save_frame(folder: Path, name: str, image: np.ndarray, rng: np.random.Generator,
               edits: int | None = None) -> str:
    """Write a frame after `edits` edits, by default a random number; return the image's name."""
    count = rng.choice(len(EDIT_COUNTS), p=EDIT_COUNTS) if edits is None else edits
    done = [str(edit) for edit in rng.choice(list(EDITS), count, replace=False)]
    for edit in done:
        image = EDITS[edit](image, rng)
    file = '_'.join([name, *done]) + '.jpg'
    save_jpeg(folder / 'images' / file, image, int(rng.integers(*QUALITIES)))
    return file
