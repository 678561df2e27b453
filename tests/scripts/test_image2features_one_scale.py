"""Features of images at their original sizes, and the list of their rows."""

import sys

import caffe
import cv2
import numpy as np
import pytest
from conftest import ROOT
from deep_retrieval.images import LEAST_SIDE, MEAN
from deep_retrieval.model import DescriptorNet
from deep_retrieval.training.teacher import TeacherNet, open_net
from region_generator import get_rmac_region_coordinates

PROTO = ROOT / 'proto/deploy_resnet_tiny.prototxt'
WEIGHTS = ROOT / 'tests/data/genuine/tiny.caffemodel'
TEACHER = 'proto/tiny/distilling/deploy_resnet_tiny_teacher_pca32.prototxt'
SIZES = {'a b.jpg': (48, 64), 'one/c.png': (80, 52), 'tab\tone.jpg': (64, 64), 'thin.png': (1, 70)}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Function: flags -> rows, lines of the text and stdout of the script."""
    monkeypatch.syspath_prepend(str(ROOT / 'myPython/convert'))
    random = np.random.default_rng(0)
    for name, (height, width) in SIZES.items():
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), random.integers(0, 256, (height, width, 3), np.uint8))

    def run(*flags):
        import test_image2features as script
        files = tmp_path / 'out/x.npy', tmp_path / 'out/x.txt'
        monkeypatch.setattr(sys, 'argv', [str(flag) for flag in (
            'test_image2features.py', '--gpu', -1, '--proto', PROTO, '--weights', WEIGHTS,
            '--img_dir', tmp_path / 'images', '--features_npy', files[0],
            '--features_txt', files[1], *flags)])
        script.main(script.parse_args())
        return np.load(files[0]), files[1].read_text().splitlines(), capsys.readouterr().out
    return run


def forward(image, L, end):
    net = caffe.Net(str(PROTO), str(WEIGHTS), caffe.TEST)
    x, y, w, h = get_rmac_region_coordinates(*image.shape[:2], L).T
    rois = np.stack([0 * x, x, y, x + w - 1, y + h - 1], 1)
    net.blobs['rois'].reshape(*rois.shape)
    net.blobs['data'].reshape(1, 3, *image.shape[:2])
    net.forward(data=(image - MEAN).transpose(2, 0, 1)[None], rois=rois)
    return net.blobs[end].data.ravel().copy()


@pytest.mark.parametrize('L, end', [(1, 'rmac'), (2, None)])
def test_a_row_is_a_forward_on_the_image_as_it_is(run, tmp_path, L, end):
    rows, lines, out = run('--L', L, *(('--end', end) if end else ()))
    assert lines == [f'{row}\t{name}' for row, name in enumerate(SIZES)]
    assert out == f'{tmp_path}/out/x.npy: 4 x 128\n'
    for name, row in zip(SIZES, rows):
        image = cv2.imread(str(tmp_path / 'images' / name))
        if name == 'thin.png':      # of less, nothing would be left to pool
            image = cv2.resize(image, (70, LEAST_SIDE))
        expected = forward(image, L, end or 'rmac/normalized')
        np.testing.assert_allclose(row, expected, atol=1e-5 * np.abs(expected).max())


def test_damaged_images_have_no_line(run, tmp_path):
    run()       # makes the images
    (tmp_path / 'images/one/c.png').write_bytes(b'')
    with pytest.raises(ValueError, match='c.png: is not an image'):
        run()
    rows, lines, _ = run('--skip_bad')
    assert lines == ['0\ta b.jpg', '2\ttab\tone.jpg', '3\tthin.png']
    assert np.isnan(rows[1]).all() and np.isfinite(rows[[0, 2, 3]]).all()


def test_either_kind_of_net_is_taken(tmp_path):
    assert isinstance(open_net(PROTO, WEIGHTS, L=2), DescriptorNet)
    weights = tmp_path / 'teacher.caffemodel'
    caffe.Net(str(ROOT / TEACHER), caffe.TEST).save(str(weights))
    net = open_net(ROOT / TEACHER, weights, L=2)
    assert isinstance(net, TeacherNet) and net.end == 'rmac/eltwise/normalized'
