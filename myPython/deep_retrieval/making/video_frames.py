"""Extract frames of videos, at regular intervals or at scene changes.

    for time, image in frames('a.mp4', Choice(every=1.0)):      # milliseconds, BGR uint8
        ...
    counts, bad = save_all('videos', 'tmp/frames', Choice(every=None, scenes=0.5))

The frames of the video one/a.mp4 are one/a.mp4/a_000012.340.jpg and so on, named by their time in
seconds. frames.json beside them says what they were made from. Their folder is created atomically,
so an interrupted run resumes with the videos that have no folder yet.
"""

import errno
import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from deep_retrieval import store
from deep_retrieval.duplicates import mapped_files
from deep_retrieval.listing import list_images
from deep_retrieval.progress import bar

KINDS = ('.3gp', '.avi', '.flv', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.ts', '.webm',
         '.wmv')
NOTE, BAD = 'frames.json', 'bad.txt'
BINS = (8, 4, 4)    # hue, saturation, value
SMALL = 64          # longer side in pixels of the frames that are compared
# share and milliseconds of a video that may be missing, since its length is an estimate and
# includes the sound
LOST = 0.05
SLACK = 1000

logger = logging.getLogger(__name__)

# FFmpeg's messages about damaged videos do not name them
os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')


class VideoError(ValueError):
    """A file is not a complete video; the one-line message names it."""


class Choice(NamedTuple):
    """Which frames to take; by `scenes` if that is given, otherwise by `every`.

    every : seconds; take the first frame at or after each multiple, from 0 on
    scenes : 0 to 1; take the first frame, and each whose `distance` to the one before is larger
    """

    every: float | None = 1.0
    scenes: float | None = None


def frames(path: str, choice: Choice,
           progress: Callable | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (milliseconds, H x W x 3 uint8 BGR) for the chosen frames of a video.

    Parameters
    ----------
    path : str
    choice : Choice
    progress : called after each frame with the share of the video that is done

    Raises
    ------
    VideoError
        The video cannot be read to its end.
    """
    with _opened(path) as video:
        rate = video.get(cv2.CAP_PROP_FPS)
        total = video.get(cv2.CAP_PROP_FRAME_COUNT)     # 0 or less if unknown
        length = 1000 * total / rate if rate > 0 else 0
        take, count, time = _chooser(choice), 0, 0
        while video.grab():
            count += 1
            time = round(video.get(cv2.CAP_PROP_POS_MSEC))
            image = take(time, video)
            if image is not None:
                yield time, image
            if progress and length > 0:
                progress(min(1, time / length))
    if not count:
        raise VideoError(f'{path}: has no frame that OpenCV can read')
    # a complete video may show its last frame for long, or have fewer frames than its rate implies
    if count < (1 - LOST) * total and time < (1 - LOST) * length - SLACK:
        raise VideoError(f'{path}: breaks off after {time / 1000:.1f} of {length / 1000:.1f} s')


def _chooser(choice):
    """Return a function (milliseconds, video) -> the current image if it is chosen, or None."""
    due, last = 0, None

    def by_time(time, video):
        nonlocal due
        if time < due:
            return None
        step = 1000 * choice.every
        # rounding may have reduced the time by half a millisecond
        due = (math.floor((time + 0.5) / step) + 1) * step - 0.5
        return video.retrieve()[1]

    def by_scene(_, video):
        nonlocal last
        image = video.retrieve()[1]
        before, last = last, colours(image)
        return image if before is None or distance(before, last) > choice.scenes else None

    return by_time if choice.scenes is None else by_scene


@contextmanager
def _opened(path):
    if not os.path.isfile(path):
        raise VideoError(f'{path}: is not a file')
    if not os.path.getsize(path):
        raise VideoError(f'{path}: is empty')
    # FFmpeg mistakes some names for protocols, and OpenCV accepts only names in UTF-8
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, 'video' + os.path.splitext(path)[1])
        os.symlink(os.path.abspath(path), link)
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        video = cv2.VideoCapture(link, cv2.CAP_FFMPEG)
        cv2.utils.logging.setLogLevel(level)
        try:
            if not video.isOpened():
                raise VideoError(f'{path}: is not a video that OpenCV can read')
            yield video
        finally:
            video.release()


def colours(image: np.ndarray) -> np.ndarray:
    """Compute the shares of an image's pixels in bins of hue, saturation and value (sum 1)."""
    scale = SMALL / max(image.shape[:2])
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    image = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2HSV)
    counts = cv2.calcHist([image], [0, 1, 2], None, BINS, [0, 180, 0, 256, 0, 256])
    return counts / counts.sum()


def distance(colours: np.ndarray, other: np.ndarray) -> float:
    """Compute the share of pixels that must change bins to turn one image into the other."""
    return float(np.abs(colours - other).sum() / 2)


def save_all(videos: str, path: str, choice: Choice, quality: int = 95,
             overwrite: bool = False) -> tuple[dict[str, int], dict[str, str]]:
    """Save the chosen frames of all videos in a folder, found recursively.

    Parameters
    ----------
    videos : folder of videos
    path : folder to write
    choice : Choice
    quality : quality of the JPEG files, 1 to 100
    overwrite : replace frames that were chosen by other settings or whose video has changed, and
        write into a folder with other files

    Returns
    -------
    counts : name of a video -> number of its frames
    bad : name of a damaged video -> reason; these are logged and listed in bad.txt

    Raises
    ------
    ValueError
        There are no videos, or `path` has other contents.
    """
    notes = {name: {**choice._asdict(), 'quality': quality, 'bytes': _size(videos, name)}
             for name in list_images(videos, recursive=True, extensions=KINDS)}
    if not notes:
        raise ValueError(f'{videos}: contains no videos ({" ".join(KINDS)})')
    _clean(path, notes)
    todo = _todo(path, notes, overwrite)
    bad = {}
    with bar(total=sum(notes[name]['bytes'] for name in todo), unit='B', unit_scale=True) as shown:
        for name in todo:
            shown.set_description(os.path.basename(name)[:30], refresh=False)
            start, size = shown.n, notes[name]['bytes']
            progress = partial(_advance, shown, start, size)
            try:
                save(os.path.join(videos, name), os.path.join(path, name), choice, notes[name],
                     progress)
            except VideoError as error:
                shown.clear()
                logger.warning('skipped: %s', error)
                bad[name] = str(error).removeprefix(os.path.join(videos, name) + ': ')
            progress(1)
    _list_bad(path, bad)
    counts = {name: len(os.listdir(os.path.join(path, name))) - 1       # without the note
              for name in notes if name not in bad}
    return counts, bad


def _advance(shown, start, size, share):
    shown.update(int(start + share * size) - shown.n)


def _size(videos, name):
    try:
        return os.path.getsize(os.path.join(videos, name))
    except OSError:
        return 0    # reported when it is read


def _clean(path, names):
    """Remove the leftovers of a killed run."""
    for name in names:
        store.recover(os.path.join(path, name))


def _todo(path, notes, overwrite):
    """Return the videos whose frames are missing; ValueError if other files are in the way."""
    if not overwrite and os.path.isdir(path):
        folders = {name.partition('/')[0] for name in notes}
        others = [name for name in os.listdir(path)
                  if name not in folders and name != BAD and not name.startswith('.')]
        if others and not _has_note(path):
            raise ValueError(f'{path}: contains other files ({min(others)}); give another folder, '
                             'or --overwrite to write beside them')
    found = {name: _read_note(os.path.join(path, name)) for name in notes}
    strange = [name for name in notes if found[name] == {}]
    if strange:     # it may be valuable
        raise ValueError(f'{os.path.join(path, strange[0])}: is not a folder of frames, but would '
                         'be replaced by one; give another folder')
    other = [name for name in notes if found[name] not in (None, notes[name])]
    if other and not overwrite:
        raise ValueError(f'{path}: has other frames of {len(other)} videos, such as {other[0]}: '
                         'the choice or the video has changed; give another folder, or --overwrite')
    return [name for name in notes if found[name] != notes[name]]


def _has_note(path):
    return any(NOTE in files for _, _, files in os.walk(path))


def _read_note(folder):
    """Return what the frames in a folder were made from; None if it does not exist, {} if it has no
    frames."""
    if not os.path.lexists(folder):
        return None
    try:
        return store.Manifest.inside(folder, NOTE).read() or {}
    except (OSError, ValueError):
        return {}


def save(video: str, folder: str, choice: Choice, made_from: dict,
         progress: Callable | None = None) -> None:
    """Save a video's frames to a folder, which is created or replaced atomically.

    Parameters
    ----------
    video, folder : str
    choice : Choice
    made_from : dict
        Contents of the manifest; `quality` is also used for the JPEG files.
    progress : see `frames`
    """
    stem = os.path.splitext(os.path.basename(folder))[0]
    quality = [cv2.IMWRITE_JPEG_QUALITY, made_from['quality']]
    try:
        with store.replace_folder(folder) as new:
            for time, image in frames(video, choice, progress):
                name = f'{stem}_{time // 1000:06d}.{time % 1000:03d}.jpg'
                store.write(os.path.join(new, name), cv2.imencode('.jpg', image, quality)[1])
            store.Manifest.inside(new, NOTE).write(made_from)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise VideoError(f'{video}: its name is too long for names of frames') from None


def _list_bad(path, bad):
    text = ''.join(f'{mapped_files.encode(name)}\t{why}\n' for name, why in bad.items())
    if text or os.path.exists(os.path.join(path, BAD)):
        store.write(os.path.join(path, BAD), text)
