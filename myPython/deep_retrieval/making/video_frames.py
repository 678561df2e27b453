"""Frames of videos: at an interval, or where the scene changes.

    for time, image in frames('a.mp4', Choice(every=1.0)):      # milliseconds, BGR uint8
        ...
    counts, bad = save_all('videos', 'tmp/frames', Choice(every=None, scenes=0.5), say=print)

The frames of the video one/a.mp4 are one/a.mp4/a_000012.340.jpg and so on, with their time in
seconds. Beside them stands frames.json, which says what they were made from. Their folder appears
when all of it is there: a run that was interrupted goes on with the videos that have none.
"""

import errno
import json
import math
import os
import shutil
import tempfile
from contextlib import contextmanager
from typing import NamedTuple, Optional

import cv2
import numpy as np
from tqdm import tqdm

from deep_retrieval import files
from deep_retrieval.duplicates import mapped_files
from deep_retrieval.files import write_aside

KINDS = ('.3gp', '.avi', '.flv', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.ts', '.webm',
         '.wmv')
NOTE, BAD = 'frames.json', 'bad.txt'
BINS = (8, 4, 4)    # hue, saturation, value
SMALL = 64          # pixels of the longer side of what is compared
LOST = 0.05         # share of a video that may be missing, and
SLACK = 1000        # milliseconds of it, since lengths are estimates that include the sound

# FFmpeg's words about damaged videos do not name them
os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')


class VideoError(ValueError):
    """A file that is no whole video; one line that names it."""


class Choice(NamedTuple):
    """Which frames are taken, in one of two ways.

    every : seconds; the first frame, and then the first at or behind each multiple
    scenes : from 0 to 1; the first frame, and each whose `distance` to the one before is greater
    """

    every: Optional[float] = 1.0
    scenes: Optional[float] = None


def frames(path, choice, progress=None):
    """Yield (milliseconds, H x W x 3 uint8 BGR) for the frames of a video that are chosen.

    progress : called after each frame with the share of the video that is done
    VideoError where it cannot be read, or not to its end.
    """
    with _opened(path) as video:
        rate = video.get(cv2.CAP_PROP_FPS)
        total = video.get(cv2.CAP_PROP_FRAME_COUNT)     # not above 0 where it is unknown
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
        raise VideoError(f'{path}: has no frame that OpenCV reads')
    # a whole video may show its last frame for long, or have fewer frames than its rate says
    if count < (1 - LOST) * total and time < (1 - LOST) * length - SLACK:
        raise VideoError(f'{path}: breaks off after {time / 1000:.1f} of {length / 1000:.1f} s')


def _chooser(choice):
    """Function (milliseconds, video) -> the video's image if the choice falls on it, or None."""
    due, last = 0, None

    def by_time(time, video):
        nonlocal due
        if time < due:
            return None
        step = 1000 * choice.every
        # half a millisecond is what rounding may have taken from a time
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
        raise VideoError(f'{path}: is no file')
    if not os.path.getsize(path):
        raise VideoError(f'{path}: is empty')
    # FFmpeg takes some names for protocols, and OpenCV takes none that is not UTF-8
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, 'video' + os.path.splitext(path)[1])
        os.symlink(os.path.abspath(path), link)
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        video = cv2.VideoCapture(link, cv2.CAP_FFMPEG)
        cv2.utils.logging.setLogLevel(level)
        try:
            if not video.isOpened():
                raise VideoError(f'{path}: is no video that OpenCV reads')
            yield video
        finally:
            video.release()


def colours(image):
    """The shares of an image's pixels in bins of hue, saturation and value; they sum to 1."""
    scale = SMALL / max(image.shape[:2])
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    image = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2HSV)
    counts = cv2.calcHist([image], [0, 1, 2], None, BINS, [0, 180, 0, 256, 0, 256])
    return counts / counts.sum()


def distance(colours, other):
    """The share of pixels that would have to change their bin to make the one from the other."""
    return float(np.abs(colours - other).sum() / 2)


def save_all(videos, path, choice, quality=95, overwrite=False, say=print):
    """Save the chosen frames of all videos in a folder and in those below it.

    quality : of the JPEG files, 1 to 100
    overwrite : replace frames that were chosen otherwise, or whose video has changed since, and
        write into a folder that holds something else
    Returns names of the videos -> the number of their frames, and of damaged ones -> why.
    """
    notes = {name: {**choice._asdict(), 'quality': quality, 'bytes': _size(videos, name)}
             for name in files.find(videos, KINDS, say)}
    if not notes:
        raise ValueError(f'{videos}: holds no video ({" ".join(KINDS)})')
    todo = _todo(path, notes, overwrite)
    bad = {}
    with tqdm(total=sum(notes[name]['bytes'] for name in todo), unit='B', unit_scale=True,
              disable=None) as bar:
        for name in todo:
            bar.set_description(os.path.basename(name)[:30], refresh=False)
            start, size = bar.n, notes[name]['bytes']
            try:
                save(os.path.join(videos, name), os.path.join(path, name), choice, notes[name],
                     lambda share: bar.update(int(start + share * size) - bar.n))
            except VideoError as error:
                bar.clear()
                say(f'skipped: {error}')
                bad[name] = str(error).removeprefix(os.path.join(videos, name) + ': ')
            bar.update(start + size - bar.n)
    _list_bad(path, bad)
    counts = {name: len(os.listdir(os.path.join(path, name))) - 1       # less the note
              for name in notes if name not in bad}
    return counts, bad


def _size(videos, name):
    try:
        return os.path.getsize(os.path.join(videos, name))
    except OSError:
        return 0    # its error is told when it is read


def _todo(path, notes, overwrite):
    """The videos whose frames are not there; ValueError where something else is."""
    if not overwrite and os.path.isdir(path):
        folders = {name.partition('/')[0] for name in notes}
        others = [name for name in os.listdir(path)
                  if name not in folders and name != BAD and not name.startswith('.')]
        if others and not _has_note(path):
            raise ValueError(f'{path}: holds something else ({min(others)}); give another folder, '
                             'or --overwrite to write beside it')
    found = {name: _read_note(os.path.join(path, name)) for name in notes}
    strange = [name for name in notes if found[name] == {}]
    if strange:     # it may be precious
        raise ValueError(f'{os.path.join(path, strange[0])}: is no folder of frames, which would '
                         'take its place; give another folder')
    other = [name for name in notes if found[name] not in (None, notes[name])]
    if other and not overwrite:
        raise ValueError(f'{path}: has other frames of {len(other)} videos, such as {other[0]}: '
                         'the choice or the video has changed; give another folder, or --overwrite')
    return [name for name in notes if found[name] != notes[name]]


def _has_note(path):
    return any(NOTE in files for _, _, files in os.walk(path))


def _read_note(folder):
    """What the frames in a folder were made from; None where nothing is there, {} if no frames."""
    if not os.path.lexists(folder):
        return None
    try:
        with open(os.path.join(folder, NOTE), encoding='utf-8') as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def save(video, folder, choice, note, progress=None):
    """Save a video's frames as a folder that appears when it is whole; an old one of it goes.

    note : dict that is kept beside the frames
    """
    parent, base = os.path.split(folder)
    aside = os.path.join(parent, f'.{base}.aside')      # hidden: no half folder is found
    stem = os.path.splitext(base)[0]
    try:
        shutil.rmtree(aside, ignore_errors=True)
        os.makedirs(aside)
        for time, image in frames(video, choice, progress):
            name = f'{stem}_{time // 1000:06d}.{time % 1000:03d}.jpg'
            data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, note['quality']])[1]
            with open(os.path.join(aside, name), 'wb') as file:
                file.write(data)
        with open(os.path.join(aside, NOTE), 'w', encoding='utf-8') as file:
            file.write(json.dumps(note, indent=1) + '\n')
        if os.path.lexists(folder):
            shutil.rmtree(folder)
        os.rename(aside, folder)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise VideoError(f'{video}: its name is too long for names of frames') from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _list_bad(path, bad):
    text = ''.join(f'{mapped_files.encode(name)}\t{why}\n' for name, why in bad.items())
    if text or os.path.exists(os.path.join(path, BAD)):
        os.makedirs(path, exist_ok=True)
        write_aside(os.path.join(path, BAD), lambda file: file.write(os.fsencode(text)))
