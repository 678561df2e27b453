import argparse
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT, run_script
from deep_retrieval import scenes
from deep_retrieval.scenes.clips import RATE, SIZE
from deep_retrieval.scenes.cover_demo import clip_scene

SMALL = ['--clips', 4, '--singles', 4, '--seconds', 1]


def make(output, *flags):
    return run_script('datasets/make_cover_demo.py', '--output', output, *SMALL, *flags)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in Path(folder).rglob('*') if path.is_file()}


def groups_of(folder):
    lines = (folder / 'groups.txt').read_text().splitlines()
    pairs = [line.split('\t') for line in lines]
    assert len(dict(pairs)) == len(lines)
    return {name: images.split(' ') for name, images in pairs}


def arguments(output, seed=0, clips=4, singles=4):
    return argparse.Namespace(output=output, seed=seed, clips=clips, singles=singles, seconds=1,
                              overwrite=False)


def clip_of(scene, seed=0):
    return scenes.make_clip(scene, np.random.default_rng(seed), seconds=1)


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp('demo') / 'small'
    done = make(folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    return folder


@pytest.fixture(scope='module')
def script():
    """The script as a module: calling it here saves the start of a process."""
    spec = importlib.util.spec_from_file_location('cover', ROOT / 'datasets/make_cover_demo.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_image_is_in_one_group(demo):
    groups = groups_of(demo)
    images = [image for members in groups.values() for image in members]
    assert sorted(images) == sorted(os.listdir(demo / 'images'))
    assert len(images) == len(set(images))
    videos = {path.stem for path in (demo / 'videos').iterdir()}
    assert videos == {name for name in groups if name.startswith('clip')} and len(videos) == 4
    assert all((len(members) > 1) == (name in videos) for name, members in groups.items())
    assert sum(name.endswith('alike') for name in videos) == 1
    assert all(image.startswith(name) for name in groups for image in groups[name])


def test_pictures_are_of_one_size_and_the_first_is_a_frame_of_its_video(demo):
    for name, images in groups_of(demo).items():
        pictures = [cv2.imread(str(demo / 'images' / image)) for image in images]
        assert {picture.shape for picture in pictures} == {(280, 496, 3)}
        if name.startswith('single'):
            continue
        video = cv2.VideoCapture(str(demo / 'videos' / f'{name}.avi'))
        assert video.get(cv2.CAP_PROP_FPS) == RATE
        frames = []
        while (found := video.read())[0]:
            frames.append(found[1])
        assert len(frames) == RATE and frames[0].shape == pictures[0].shape
        differences = [np.abs(frame.astype(int) - pictures[0]).mean() for frame in frames]
        assert min(differences) < 6 and '_1.jpg' in images[0]


def test_equal_arguments_give_equal_bytes(demo, tmp_path):
    make(tmp_path / 'again')
    assert content(tmp_path / 'again') == content(demo)
    assert clip_scene(0, 0) != clip_scene(1, 0) != clip_scene(1, 1)


def test_a_second_run_does_nothing(demo, script, caplog):
    caplog.set_level(logging.INFO)
    before = {path: os.stat(demo / path).st_mtime_ns for path in content(demo)}
    script.main(arguments(demo))
    assert 'exists already' in caplog.text
    with pytest.raises(ValueError, match='--overwrite'):
        script.main(arguments(demo, seed=1))
    assert before == {path: os.stat(demo / path).st_mtime_ns for path in content(demo)}


def test_nothing_to_render(script, tmp_path):
    with pytest.raises(ValueError, match='nothing to render'):
        script.main(arguments(tmp_path / 'x', clips=0, singles=0))
    assert not (tmp_path / 'x').exists()


@pytest.mark.parametrize('script', ['make_cover_demo.py', 'make_demo.py'])
def test_ctrl_c_ends_in_one_line_and_leaves_nothing(script, tmp_path):
    script = ROOT / 'datasets' / script
    process = subprocess.Popen([sys.executable, script, '--output', tmp_path / 'x'], text=True,
                               start_new_session=True, stderr=subprocess.PIPE)
    while not any(path.is_file() for path in tmp_path.rglob('*')) and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)       # as a terminal does: to all its processes
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors == f'{script.name}: interrupted\n'
    assert os.listdir(tmp_path) == []


def test_rendered_folders_are_replaced_only_if_asked_and_others_never(tmp_path):
    def fill(folder):
        (folder / 'jpg').mkdir()
        (folder / 'jpg' / f'{len(filled)}.jpg').write_text('x')
        filled.append(folder)

    filled = []
    made, mine = tmp_path / 'made', tmp_path / 'mine'
    assert scenes.make_folder(made, {'seed': 0}, {'jpg'}, False, fill)
    assert not scenes.make_folder(made, {'seed': 0}, {'jpg'}, True, fill)
    with pytest.raises(ValueError, match='--overwrite'):
        scenes.make_folder(made, {'seed': 1}, {'jpg'}, False, fill)
    assert scenes.make_folder(made, {'seed': 1}, {'jpg'}, True, fill)
    note = json.loads((made / 'manifest.json').read_text())
    assert note['made_from'] == {'seed': 1} and list(note['files']) == ['jpg/1.jpg']
    assert os.listdir(made / 'jpg') == ['1.jpg']
    (made / 'notes.txt').write_text('all my work')
    mine.mkdir()
    (mine / 'thesis.txt').write_text('all my work')
    for folder in (made, mine):
        with pytest.raises(ValueError, match=f'{folder.name}: contains .* not rendered'):
            scenes.make_folder(folder, {'seed': 2}, {'jpg'}, True, fill)
    assert sorted(os.listdir(tmp_path)) == ['made', 'mine'] and os.listdir(mine) == ['thesis.txt']
    assert len(filled) == 2


def test_a_similar_scene_is_another_place_in_the_same_colours():
    rng = np.random.default_rng(0)
    scene = scenes.random_scene(rng)
    other = scenes.similar_scene(scene, rng)
    assert (other.place, other.mood) == (scene.place, scene.mood)
    assert other.style.wall_colour == scene.style.wall_colour and other.seed != scene.seed
    assert other.style.bays != scene.style.bays
    first, second = (scenes.render_frame(clip_of(one), 0).astype(int) for one in (scene, other))
    assert np.abs(first - second).mean() > 8


@pytest.mark.parametrize('place', ['street', 'square', 'park', 'quay'])
def test_a_frame_depends_on_nothing_but_its_number(place):
    scene = scenes.random_scene(np.random.default_rng(3))._replace(place=place)
    clip = clip_of(scene)
    frames = [scenes.render_frame(clip, number) for number in (0, 7, 0)]
    assert frames[0].shape == (*SIZE, 3) and frames[0].dtype == np.uint8
    assert (frames[0] == frames[2]).all() and (frames[0] != frames[1]).any()
    assert (scenes.render_frame(clip_of(scene), 7) == frames[1]).all()
    still = clip._replace(movers=[], noise=0.0, weather='dry', last=clip.first)
    assert (scenes.render_frame(still._replace(movers=clip.movers), 7)
            != scenes.render_frame(still, 7)).any()


@pytest.mark.parametrize('name', sorted(scenes.EDITS))
def test_edits_keep_the_size_and_leave_their_input_alone(name):
    image = np.random.default_rng(0).integers(0, 256, (280, 496, 3)).astype(np.uint8)
    image[:, :, 0] = np.arange(496) // 2
    before = image.copy()
    for seed in range(8):
        edited = scenes.EDITS[name](image, np.random.default_rng(seed))
        again = scenes.EDITS[name](image, np.random.default_rng(seed))
        assert edited.shape == image.shape and edited.dtype == np.uint8
        assert (edited == again).all() and (edited != image).any()
        assert (image == before).all()


def test_what_edits_do():
    rng = np.random.default_rng(0)
    image = np.full((280, 496, 3), 90, np.uint8)
    image[:, :248] = 200
    left = scenes.EDITS['mirrored'](image, rng)
    assert (left[:, 248:] == 200).all() and (left[:, :248] == 90).all()
    boxed = [scenes.EDITS['letterboxed'](image, rng) for _ in range(12)]
    bars = [one for one in boxed if (one[0] == 0).all() and (one[-1] == 0).all()]
    assert 0 < len(bars) < 12 and all((one[140] == image[140]).all() for one in bars)
    for name in ('branded', 'captioned'):       # most of the picture stays
        kept = (scenes.EDITS[name](image, rng) == image).all(2).mean()
        assert 0.7 < kept < 1
