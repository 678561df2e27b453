"""make_demo_model.py: what the json beside the weights says, and runs that were killed."""

import hashlib
import json
import os

import caffe
import cv2
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from conftest import ROOT, assert_one_line, run_script
from deep_retrieval import model, store
from deep_retrieval.surgery import demo_weights

PROTO = ROOT / 'proto/deploy_resnet_tiny.prototxt'


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """Paths of 6 pictures of noise."""
    folder = tmp_path_factory.mktemp('pictures')
    rng = np.random.default_rng(0)
    for i in range(6):
        image = cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (128, 96))
        cv2.imwrite(str(folder / f'{i}.png'), image)
    return demo_weights.image_paths(folder=folder)


def make(output, pictures, **options):
    return demo_weights.make(PROTO, output, pictures, S=96, components=8, **options)


def files(folder):
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}


@pytest.fixture(scope='module')
def whole(pictures, tmp_path_factory):
    """A folder with the weights x.caffemodel, and nothing else but their json."""
    caffe.set_mode_cpu()
    folder = tmp_path_factory.mktemp('whole')
    assert make(folder / 'x.caffemodel', pictures)
    assert sorted(os.listdir(folder)) == ['x.caffemodel', 'x.json']
    return folder


def test_weights_describe_themselves(whole):
    note = json.loads((whole / 'x.json').read_text())
    digest = hashlib.sha256((whole / 'x.caffemodel').read_bytes()).hexdigest()
    assert note['sha256'] == digest and note['learned_from']['components'] == 8
    assert (note['net'], note['blob']) == ('proto/deploy_resnet_tiny.prototxt', 'rmac/normalized')
    assert (note['S'], note['L'], note['trained'], note['scale'], note['colour']) == (
        96, 2, False, 1, 'BGR')
    np.testing.assert_allclose(note['mean'], [103.939, 116.779, 123.68], atol=1e-5)
    made = model.load_model(whole / 'x.caffemodel')
    rows = made([np.zeros((80, 96, 3), np.uint8)])
    assert made.S == 96 and rows.shape == (1, note['dimension'])


def test_the_net_is_found_from_anywhere(tmp_path):
    """A prototxt outside the repository is named relative to the weights."""
    (tmp_path / 'nets').mkdir()
    proto = tmp_path / 'nets/mine.prototxt'
    proto.write_text(PROTO.read_text())
    weights = tmp_path / 'weights/x.caffemodel'
    assert demo_weights._relative(proto, weights) == '../nets/mine.prototxt'


def test_the_same_again_does_nothing_and_another_is_made(whole, pictures, tmp_path):
    for name, data in files(whole).items():
        (tmp_path / name).write_bytes(data)
    assert not make(tmp_path / 'x.caffemodel', pictures)
    assert files(tmp_path) == files(whole)
    assert make(tmp_path / 'x.caffemodel', pictures, seed=1)
    assert files(tmp_path)['x.caffemodel'] != files(whole)['x.caffemodel']
    assert json.loads((tmp_path / 'x.json').read_text())['learned_from']['seed'] == 1


@pytest.mark.parametrize('place', ['before the weights', 'between the two'])
def test_a_run_that_was_killed_is_noticed(place, whole, pictures, tmp_path, monkeypatch):
    """The json is of seed 1; then a run of seed 0 is interrupted as a kill would."""
    assert make(tmp_path / 'x.caffemodel', pictures, seed=1)

    def stop(*args, **options):
        raise KeyboardInterrupt
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if place == 'between the two':
            patch.setattr(demo_weights, 'write_info', stop)
        else:
            patch.setattr(demo_weights.store, 'place', stop)
        make(tmp_path / 'x.caffemodel', pictures)
    if place == 'between the two':      # nobody takes the new weights for the old ones
        with pytest.raises(ValueError, match='x.json: was written for other weights'):
            model.read_info(tmp_path / 'x.caffemodel')
    # what a kill leaves
    (tmp_path / '.x.caffemodel.aside').mkdir()
    (tmp_path / '.x.caffemodel.aside/start.caffemodel').touch()
    assert make(tmp_path / 'x.caffemodel', pictures)
    assert files(tmp_path) == files(whole)


def test_weights_from_elsewhere_are_not_overwritten(pictures, tmp_path):
    (tmp_path / 'x.caffemodel').write_bytes(b'trained for weeks')
    store.write_json(tmp_path / 'x.json', {'source': 'https://example.org', 'trained': True})
    done = run_script('caffemodel/make_demo_model.py', '--proto', PROTO, '--img_dir',
                      os.path.dirname(pictures[0]), '--output', tmp_path / 'x.caffemodel')
    assert_one_line(done, 'x.json: describes weights that were not made by', '--output')
    assert (tmp_path / 'x.caffemodel').read_bytes() == b'trained for weeks'


def test_a_trunk_of_another_net(pictures, tmp_path):
    other = tmp_path / 'other.caffemodel'
    net = caffe_pb2.NetParameter(name='x')
    other.write_bytes(net.SerializeToString())
    with pytest.raises(ValueError, match='other.caffemodel: lacks conv1'):
        make(tmp_path / 'x.caffemodel', pictures, trunk=other)
    assert os.listdir(tmp_path) == ['other.caffemodel']


def test_gabor_filters():
    filters = demo_weights.gabor_filters(7)
    assert filters.shape == (64, 3, 7, 7)
    np.testing.assert_allclose(filters.reshape(64, -1).mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(np.square(filters).sum((1, 2, 3)), 1, atol=1e-5)
