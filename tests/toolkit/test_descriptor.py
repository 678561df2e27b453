import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from conftest import ROOT
from deep_retrieval import images, model

DATA = Path(__file__).parents[1] / 'data/genuine'
TINY = DATA / 'tiny.caffemodel'


@pytest.mark.parametrize('proto', ['deploy_resnet_tiny_normpython', 'deploy_resnet_tiny'])
def test_descriptors_equal_genuine_caffe(proto):
    """Landscape, portrait and square images at L = 1, 2 and 3, recorded from genuine Caffe."""
    recorded = np.load(DATA / 'descriptors.npz')
    net = model.DescriptorNet(ROOT / f'proto/{proto}.prototxt', TINY, L=2)
    count = len(recorded.files) // 3
    assert count == 9
    for i in range(count):
        net.feed('data', recorded[f'data_{i}'])
        net.feed('rois', recorded[f'rois_{i}'])
        net.net.forward()
        rows = net.net.blobs[model.END].data
        np.testing.assert_allclose(rows.ravel(), recorded[f'out_{i}'].ravel(), atol=1e-5)


@pytest.fixture(scope='module')
def net():
    return model.DescriptorNet(ROOT / 'proto/deploy_resnet_tiny.prototxt', TINY, L=2)


@pytest.mark.parametrize('shape', [(96, 128, 3), (80, 80, 3), (3, 3, 3), (3, 200, 3)])
def test_a_batch_equals_its_images(net, shape):
    images = list(np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8))
    batch = net(images)
    assert batch.shape == (3, 128)
    np.testing.assert_allclose(np.linalg.norm(batch, axis=1), 1, rtol=1e-4)
    for image, row in zip(images, batch):
        np.testing.assert_allclose(net([image])[0], row, atol=1e-5)


def test_the_blob_is_the_image_less_the_mean():
    image = np.zeros((2, 3, 3), np.uint8)
    image[1, 2] = [10, 20, 30]
    blob = images.to_blob([image])
    assert blob.shape == (1, 3, 2, 3) and blob.dtype == np.float32
    np.testing.assert_allclose(blob[0, :, 1, 2], [10 - 103.93900299, 20 - 116.77899933,
                                                  30 - 123.68000031], rtol=1e-6)


@pytest.mark.parametrize('size, S, expected', [((600, 800), 400, (300, 400)),
                                               ((800, 600), 512, (512, 384)),
                                               ((333, 1000), 500, (166, 500)),
                                               ((1, 900), 90, (3, 90)), ((1, 1), 64, (64, 64))])
def test_resize_scales_the_longer_side(size, S, expected):
    image, ratio = images.resize(np.zeros((*size, 3), np.uint8), S)
    assert image.shape[:2] == expected and ratio == S / max(size)


def test_crop_cuts_from_the_resized_image():
    image = np.arange(100 * 50 * 3).reshape(100, 50, 3)
    part = images.crop(image, (20.4, 41.0, 60.0, 120.9), 0.5)     # 10.2 20.5 30 60.45
    np.testing.assert_array_equal(part, image[20:60, 10:30])
    assert images.crop(image, (-5, -5, 500, 500), 1).shape == (100, 50, 3)
    assert images.crop(image, (49, 10, 70, 20), 1).shape[:2] == (10, 3)    # almost outside


@pytest.mark.parametrize('box', [(50.6, 0, 60, 10), (0, 100, 10, 120), (-9, 0, 0, 10),
                                 (0, -9, 10, -1), (np.nan, 0, 10, 10), (0, 0, 10)])
def test_a_box_outside_its_image_is_refused(box):
    with pytest.raises(ValueError, match='^a.jpg: the box .*(outside its 50 x 100 pix|4 finite)'):
        images.crop(np.zeros((100, 50, 3)), box, 1, 'a.jpg')


def write(path, data, keep=1.0):
    path.write_bytes(bytes(data)[:int(keep * len(data))])
    return path


@pytest.mark.parametrize('extension', ['.jpg', '.png'])
@pytest.mark.parametrize('keep', [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_image_is_named(extension, keep, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = write(tmp_path / f'a{extension}', cv2.imencode(extension, noise)[1], keep)
    with pytest.raises(images.ImageError, match=f'a{extension}'):
        images.read_image(path)


def test_a_thumbnails_end_is_not_the_images(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = bytes(cv2.imencode('.jpg', noise)[1])
    thumbnail = bytes(cv2.imencode('.jpg', noise[:8, :8])[1])
    # an application segment (APP1) right behind the start marker
    data = whole[:2] + b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail + whole[2:]
    assert images.read_image(write(tmp_path / 'a.jpg', data)).shape == (64, 64, 3)
    with pytest.raises(images.ImageError, match='truncated'):
        images.read_image(write(tmp_path / 'b.jpg', data[:-100]))


def test_other_kinds_of_images_become_bgr(tmp_path):
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    cv2.imwrite(str(tmp_path / 'grey.png'), grey)
    cv2.imwrite(str(tmp_path / 'alpha.png'), np.dstack([grey] * 4))
    for name in ('grey.png', 'alpha.png'):
        np.testing.assert_array_equal(images.read_image(tmp_path / name), np.dstack([grey] * 3))


@pytest.mark.parametrize('name, data', [('text.jpg', b'no image at all'), ('missing.jpg', None)])
def test_what_is_no_image_is_named(name, data, tmp_path):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(images.ImageError, match=name):
        images.read_image(tmp_path / name)


def change_weights(tmp_path, change):
    stored = caffe_pb2.NetParameter.FromString(TINY.read_bytes())
    change(stored)
    path = tmp_path / 'changed.caffemodel'
    path.write_bytes(stored.SerializeToString())
    return path


def lack(stored):
    kept = [layer for layer in stored.layer if layer.name != 'pooled_rois/pca']
    del stored.layer[:]
    stored.layer.extend(kept)


def empty(stored):
    del stored.layer[:]


def exceed(stored):
    stored.layer.add(name='fc1000').blobs.add(data=[1.0]).shape.dim.append(1)


@pytest.mark.parametrize('change, words', [(empty, 'holds no layer with weights'),
                                           (lack, 'lacks the weights .*pooled_rois/pca'),
                                           (exceed, 'has weights .*fc1000')])
def test_weights_for_another_net_are_refused(change, words, tmp_path):
    path = change_weights(tmp_path, change)
    proto = ROOT / 'proto/deploy_resnet_tiny.prototxt'
    with pytest.raises(ValueError, match=f'changed.caffemodel: {words}'):
        model.DescriptorNet(proto, path, L=2)
    model.DescriptorNet(proto, path, L=2, partial_weights=True)


@pytest.mark.parametrize('path, words', [
    (os.devnull + 'x', 'there is no such file'), (os.devnull, 'is not a regular file'),
    (ROOT, 'is a folder, not a file')])
def test_missing_files_are_named(path, words):
    for files in ((path, TINY), (ROOT / 'proto/deploy_resnet_tiny.prototxt', path)):
        with pytest.raises(OSError) as error:
            model.DescriptorNet(*files, L=2)
        assert (error.value.strerror, error.value.filename) == (words, str(path))
