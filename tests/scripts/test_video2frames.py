"""Frames of videos whose every frame is known, and of damaged ones."""

import json
import os

import cv2
import numpy as np
import pytest
from conftest import ROOT
from deep_retrieval import cli
from deep_retrieval.making.video_frames import (
    Choice,
    VideoError,
    colours,
    distance,
    frames,
    save_all,
)

RATE, COUNT, CUTS = 10, 50, (0, 20, 35)     # frames a second, frames, frames where scenes begin
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
NAMES = ['co:lon 5%d ü.mkv', 'one/same.mp4', 'two/same.avi', 'two/same.mp4', '\udcff.mp4']


def make(path, count=COUNT, rate=RATE, kind='mp4v'):
    """A video of three plain scenes; six squares of frame i, black or white, say what i is."""
    plain = path.parent / f'plain{path.suffix}'     # OpenCV writes no name that is not UTF-8
    plain.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(plain), cv2.VideoWriter_fourcc(*kind), rate, (64, 48))
    for i in range(count):
        scene = sum(i >= cut for cut in CUTS) - 1
        image = np.full((48, 64, 3), COLOURS[scene], np.uint8)
        for bit in range(6):
            image[:8, 8 * bit:8 * bit + 8] = 255 * (i >> bit & 1)
        writer.write(image)
    writer.release()
    os.replace(plain, path)
    return path


def number(image):
    """Which frame of `make` an image is."""
    return sum((image[2:6, 8 * bit + 2:8 * bit + 6].mean() > 127) << bit for bit in range(6))


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    return make(tmp_path_factory.mktemp('video') / 'a.mp4')


@pytest.fixture
def videos(tmp_path):
    for name in NAMES:
        make(tmp_path / 'videos' / name, 30, kind='MJPG' if name.endswith('avi') else 'mp4v')
    (tmp_path / 'videos/notes.txt').touch()
    return tmp_path / 'videos'


def taken(path, **choice):
    found = list(frames(str(path), Choice(**choice)))
    return [time for time, _ in found], [number(image) for _, image in found]


def files(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob('*')
            if file.is_file()}


# Which frames

@pytest.mark.parametrize('every', [0.1, 0.25, 0.3, 1, 1.7, 4.9, 100])
def test_an_interval_takes_the_first_frame_at_or_after_each_multiple(video, every):
    expected, due = [], 0       # in 1/1000 s, by whole numbers
    step = round(1000 * every)
    for i in range(COUNT):
        if 100 * i >= due:
            expected.append(i)
            while due <= 100 * i:
                due += step
    times, numbers = taken(video, every=every)
    assert times == [100 * i for i in expected]
    assert numbers == expected


def test_a_rate_that_is_no_whole_number(tmp_path):
    path = make(tmp_path / 'a.mp4', 40, 29.97)
    assert taken(path, every=0.5)[0] == [0, 501, 1001]      # frames 0, 15 and 30


def test_scenes_are_found_where_they_begin(video):
    times, numbers = taken(video, every=None, scenes=0.5)
    assert times == [100 * cut for cut in CUTS]
    assert numbers == list(CUTS)
    assert taken(video, every=None, scenes=1)[0] == [0]


def test_the_distance_is_the_share_of_pixels_of_another_colour():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :16] = (0, 0, 255)
    other = np.zeros((64, 64, 3), np.uint8)
    other[:32] = (0, 255, 0)
    assert distance(colours(image), colours(other)) == pytest.approx(0.5)
    assert distance(colours(image), colours(image[:, ::-1])) == 0
    assert distance(colours(image), colours(np.full_like(image, 255))) == pytest.approx(1)


def test_progress_rises_to_the_end(video):
    shares = []
    list(frames(str(video), Choice(), shares.append))
    assert shares == sorted(shares) and shares[-1] == pytest.approx(0.98) and len(shares) == COUNT


# What is written

def test_names_say_video_and_time(videos, tmp_path):
    counts, bad = save_all(videos, tmp_path / 'x', Choice(every=1))
    assert counts == dict.fromkeys(NAMES, 3) and not bad
    expected = [f'{name}/{os.path.basename(os.path.splitext(name)[0])}_00000{i}.000.jpg'
                for name in NAMES for i in range(3)]
    found = files(tmp_path / 'x')
    assert sorted(found) == sorted([*expected, *(f'{name}/frames.json' for name in NAMES)])
    for i, name in enumerate(expected):
        image = cv2.imdecode(np.frombuffer(found[name], np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (48, 64, 3) and number(image) == i % 3 * 10


def test_damaged_videos_are_reported_and_left_out(videos, tmp_path, caplog):
    (videos / 'zero.mp4').touch()
    (videos / 'text.mp4').write_text('no video')
    for name in NAMES[:4]:
        data = (videos / name).read_bytes()
        (videos / f'cut{name.replace("/", "")}').write_bytes(data[:len(data) // 2])
    os.mkfifo(videos / 'pipe.mp4')
    (videos / 'nowhere.mp4').symlink_to('none.mp4')
    (videos / 'one/loop').symlink_to(videos)
    make(videos / f'{"x" * 245}.mp4', 5)
    counts, bad = save_all(videos, tmp_path / 'x', Choice())
    told = caplog.messages
    assert counts == dict.fromkeys(NAMES, 3)
    reasons = {'cutco:lon 5%d ü.mkv': 'breaks off', 'cutonesame.mp4': 'not a video',
               'cuttwosame.avi': 'breaks off', 'cuttwosame.mp4': 'not a video',
               'nowhere.mp4': 'is not a file', 'pipe.mp4': 'is not a file',
               'text.mp4': 'not a video',
               f'{"x" * 245}.mp4': 'too long', 'zero.mp4': 'is empty'}
    assert sorted(bad) == sorted(reasons) and len(told) == len(bad)
    for name, words in reasons.items():
        assert words in bad[name]
        assert any(line.startswith(f'skipped: {videos / name}: ') for line in told)
    lines = (tmp_path / 'x/bad.txt').read_text().splitlines()
    assert f'text.mp4\t{bad["text.mp4"]}' in lines and len(lines) == len(bad)
    assert not [name for name in files(tmp_path / 'x') if 'aside' in name or 'cut' in name]


def test_interrupted_anywhere_and_resumed(videos, tmp_path, monkeypatch):
    save_all(videos, tmp_path / 'whole', Choice(every=0.5))
    encode, calls = cv2.imencode, 0

    def encode_some(*args):
        nonlocal calls
        calls += 1
        if calls == 8:      # a video has 6
            raise KeyboardInterrupt
        return encode(*args)

    monkeypatch.setattr(cv2, 'imencode', encode_some)
    for _ in range(4):
        calls = 0
        with pytest.raises(KeyboardInterrupt):
            save_all(videos, tmp_path / 'x', Choice(every=0.5))
        assert all('frames.json' in {file.name for file in path.parent.iterdir()}
                   for path in (tmp_path / 'x').rglob('*.jpg'))
    calls = 0
    # what a kill leaves
    aside = tmp_path / 'x/.\udcff.mp4.aside'
    aside.mkdir()
    (aside / 'half.jpg').touch()
    save_all(videos, tmp_path / 'x', Choice(every=0.5))
    assert files(tmp_path / 'x') == files(tmp_path / 'whole') and calls == 6
    save_all(videos, tmp_path / 'x', Choice(every=0.5))
    assert calls == 6


def test_frames_chosen_otherwise_are_kept_or_replaced(videos, tmp_path):
    save_all(videos, tmp_path / 'x', Choice(every=1))
    before = files(tmp_path / 'x')
    for choice, quality in ((Choice(every=2), 95), (Choice(None, 0.5), 95), (Choice(1), 50)):
        with pytest.raises(ValueError, match='other frames of 5 videos, such as co:lon'):
            save_all(videos, tmp_path / 'x', choice, quality)
    make(videos / 'one/same.mp4', 40)
    with pytest.raises(ValueError, match='other frames of 1 videos, such as one/same.mp4'):
        save_all(videos, tmp_path / 'x', Choice(every=1))
    assert files(tmp_path / 'x') == before
    counts, _ = save_all(videos, tmp_path / 'x', Choice(every=1), overwrite=True)
    after = files(tmp_path / 'x')
    assert counts['one/same.mp4'] == 4
    assert all(name.startswith('one/same.mp4/') for name in after
               if before.get(name) != after[name])


def test_what_is_no_folder_of_frames_stays(videos, tmp_path):
    with pytest.raises(ValueError, match='is not a folder of frames'):    # but the video itself
        save_all(videos, videos, Choice(), overwrite=True)
    (tmp_path / 'x').mkdir()
    (tmp_path / 'x/mine.txt').touch()
    with pytest.raises(ValueError, match='contains other files .mine.txt'):
        save_all(videos, tmp_path / 'x', Choice())
    counts, _ = save_all(videos, tmp_path / 'x', Choice(), overwrite=True)
    assert len(counts) == 5 and (tmp_path / 'x/mine.txt').exists()


def test_no_video_at_all(tmp_path):
    with pytest.raises(FileNotFoundError):
        save_all(tmp_path / 'none', tmp_path / 'x', Choice())
    with pytest.raises(ValueError, match='contains no videos'):
        save_all(tmp_path, tmp_path / 'x', Choice())
    with pytest.raises(VideoError, match='none.mp4: is not a file'):
        list(frames(str(tmp_path / 'none.mp4'), Choice()))


# The script

@pytest.fixture
def script(monkeypatch):
    """Function: flags -> None; runs the script."""
    monkeypatch.syspath_prepend(str(ROOT / 'myPython/convert'))
    import video2frames

    def run(*flags):
        monkeypatch.setattr('sys.argv', ['video2frames.py', *map(str, flags)])
        cli.run(video2frames.parse_args, video2frames.main)
    return run


def test_the_script(videos, tmp_path, script, capsys):
    (videos / 'zero.mp4').touch()
    script('--video_dir', videos, '--frames_dir', tmp_path / 'x', '--scenes', 0.5)
    out, err = capsys.readouterr()
    assert out == f'{tmp_path}/x: 10 frames of 5 videos; 1 damaged videos, see bad.txt\n'
    assert err == f'video2frames.py: skipped: {videos}/zero.mp4: is empty\n'
    note = json.loads((tmp_path / 'x/one/same.mp4/frames.json').read_text())['made_from']
    assert note['scenes'] == 0.5 and note['every'] is None


@pytest.mark.parametrize('flag, value, words', [
    ('--every', '0', "'0' is not a number from 0.001"),
    ('--scenes', 'x', "'x' is not a number from 0 to 1"),
    ('--quality', '101', "'101' is not a number from 1 to 100")])
def test_numbers_out_of_range(flag, value, words, script, capsys):
    with pytest.raises(SystemExit):
        script(flag, value)
    assert words in capsys.readouterr().err
