import json
import os

import cv2
import numpy as np
import pytest
from conftest import assert_one_line, run_script
from deep_retrieval import scenes
from deep_retrieval.datasets import DATASETS
from deep_retrieval.scenes.views import place

SMALL = ['--facades', 3, '--views', 5, '--distractors', 4, '--size', 160]


def make(output, *flags):
    return run_script('datasets/make_demo.py', '--output', output, *SMALL, *flags)


def content(folder):
    return {os.path.relpath(os.path.join(where, name), folder):
            open(os.path.join(where, name), 'rb').read()
            for where, _, names in os.walk(folder) for name in names}


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp('demo') / 'small'
    done = make(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ''
    return folder


def test_the_layout_is_oxfords(demo):
    dataset = DATASETS['Oxford'](demo)
    assert len(dataset.images) == 3 * 5 + 4
    assert len(dataset.queries) == 3
    for query in dataset.queries:
        good, ok, junk = dataset.ground_truth(query)
        landmark = query.name.rsplit('_', 1)[0]
        assert query.image in good and ok and junk
        assert all(name.startswith(landmark) for name in good + ok + junk)
        height, width = cv2.imread(dataset.image_path(query.image)).shape[:2]
        x1, y1, x2, y2 = query.box
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
        assert max(height, width) <= 160


def test_equal_arguments_give_equal_bytes(demo, tmp_path):
    make(tmp_path / 'again')
    make(tmp_path / 'other', '--seed', 1)
    assert content(tmp_path / 'again') == content(demo)
    assert content(tmp_path / 'other')['jpg/mill_lane_000001.jpg'] != content(demo)[
        'jpg/mill_lane_000001.jpg']


def test_a_second_run_does_nothing_and_a_foreign_folder_is_kept(demo, tmp_path):
    before = {name: os.stat(demo / name).st_mtime_ns for name in content(demo)}
    done = make(demo)
    assert done.returncode == 0 and 'exists already' in done.stderr
    assert before == {name: os.stat(demo / name).st_mtime_ns for name in content(demo)}
    assert_one_line(make(demo, '--seed', 5), 'made with another seed', '--overwrite')
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/thesis.txt').write_text('all my work')
    for flags in ((), ('--overwrite',)):
        assert_one_line(make(tmp_path / 'mine', *flags), 'mine', 'another folder')
    assert os.listdir(tmp_path) == ['mine'] and os.listdir(tmp_path / 'mine') == ['thesis.txt']


def test_overwrite_replaces_a_rendered_dataset(tmp_path):
    make(tmp_path / 'x', '--views', 1)
    assert make(tmp_path / 'x', '--views', 2, '--overwrite').returncode == 0
    assert json.loads((tmp_path / 'x/manifest.json').read_text())['made_from']['views'] == 2
    assert len(os.listdir(tmp_path / 'x/jpg')) == 3 * 2 + 4 and os.listdir(tmp_path) == ['x']


@pytest.mark.parametrize('flags', [('--facades', 0), ('--size', 10), ('--distractors', -1),
                                   ('--views', 'many')])
def test_bad_arguments(flags, tmp_path):
    assert_one_line(make(tmp_path / 'x', *flags), flags[0])
    assert not (tmp_path / 'x').exists()


@pytest.mark.parametrize('shift, expected', [(0, 1), (50, 0.5), (75, 0.25), (100, 0)])
def test_visible_share_of_a_square_that_leaves_the_frame(shift, expected):
    mask = np.full((100, 100), 255, np.uint8)
    homography = np.float64([[1, 0, shift], [0, 1, 0], [0, 0, 1]])
    share = scenes.visible_share(mask, homography, np.zeros((100, 100), np.uint8))
    assert share == pytest.approx(expected, abs=0.011)      # a pixel at the edge


def test_what_is_hidden_is_not_visible():
    mask = np.zeros((100, 100), np.uint8)
    mask[:, 50:] = 255                  # the building is the right half of its sheet
    hidden = np.zeros((200, 200), np.uint8)
    hidden[:, 150:] = 1                 # and its right half is behind something
    homography = np.diag([2.0, 2.0, 1.0])
    assert scenes.visible_share(mask, homography, hidden) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize('least, most', [(0.96, 1.0), (0.35, 0.65), (0.07, 0.2)])
def test_viewpoints_show_the_share_that_is_wanted(least, most):
    mask = np.zeros((600, 500), np.uint8)
    mask[200:, 50:450] = 255
    for seed in range(5):
        rng = np.random.default_rng(seed)
        homography = place(mask, (300, 400), rng, least, most)
        share = scenes.visible_share(mask, homography, np.zeros((300, 400), np.uint8))
        assert least - 0.03 <= share <= most + 0.03


@pytest.mark.parametrize('share, expected', [(1, 'good'), (0.75, 'good'), (0.7499, 'ok'),
                                             (0.25, 'ok'), (0.2, 'junk'), (0, None)])
def test_grades_follow_the_visible_share(share, expected):
    assert scenes.grade(share) == expected


def test_a_look_alike_is_another_building():
    rng = np.random.default_rng(0)
    for _ in range(20):
        style = scenes.random_style(rng)
        other = scenes.look_alike(style, rng)
        assert other.wall_colour == style.wall_colour and other.trim == style.trim
        assert (other.bays, other.storeys) != (style.bays, style.storeys)


def test_the_repositorys_default_is_large_enough():
    text = run_script('datasets/make_demo.py', '--help').stdout
    assert 'default: 24' in text and 'default: 8' in text and 'default: 120' in text
    assert 24 * 8 + 120 >= 300
