"""Classifier against genuine pycaffe's predictions (data/genuine/io.npz)."""

import caffe
import numpy as np
import pytest
from caffe.classifier import Classifier
from caffe.errors import CaffeError
from recorded_net import GENUINE, save_recorded_net

IMAGES = [GENUINE[f'classify/in/{index}'] for index in range(3)]
SETTINGS = dict(image_dims=(11, 13), mean=np.array([104., 117., 123.]), raw_scale=255,
                channel_swap=(2, 1, 0), input_scale=.25)


@pytest.fixture
def files(make_net, tmp_path):
    """The recorded net's prototxt and caffemodel."""
    return save_recorded_net(make_net, tmp_path)


def test_ten_crops_as_genuine(files):
    net = Classifier(*files, **SETTINGS)
    np.testing.assert_allclose(net.predict(IMAGES), GENUINE['classify/over'], atol=1e-4)


def test_the_centre_as_genuine(files):
    net = Classifier(*files, **SETTINGS)
    np.testing.assert_allclose(net.predict(IMAGES, oversample=False), GENUINE['classify/center'],
                               atol=1e-4)


def test_without_settings_images_are_resized_to_the_input(files):
    net = Classifier(*files)
    assert tuple(net.image_dims) == tuple(net.crop_dims) == (8, 8)
    predictions = net.predict(tuple(IMAGES), False)
    np.testing.assert_allclose(predictions, GENUINE['classify/plain'], atol=1e-4)
    np.testing.assert_allclose(net.predict(IMAGES[:1], False), predictions[:1], atol=1e-6)


def test_it_is_a_net_that_computes_in_the_test_phase(files):
    net = Classifier(*files, **SETTINGS)
    assert isinstance(net, caffe.Net) and net.phase == caffe.TEST
    assert net.transformer.raw_scale == {'data': 255}


def test_refusals(files, tmp_path):
    with pytest.raises(CaffeError, match='at least one image'):
        Classifier(*files).predict([])
    with pytest.raises(CaffeError, match='H x W x K'):
        Classifier(*files).predict([np.ones((4, 4))])
    for oversample in (True, False):
        with pytest.raises(CaffeError, match=r'to \(4, 9\) are smaller than the input, \(8, 8\)'):
            Classifier(*files, image_dims=(4, 9)).predict(IMAGES, oversample)
    flat = tmp_path / 'flat.prototxt'
    flat.write_text("layer { name: 'data' type: 'Input' top: 'data' "
                    'input_param { shape { dim: 1 dim: 5 } } }')
    with pytest.raises(CaffeError, match=r'one input N x K x H x W, it has \[\(1, 5\)\]'):
        Classifier(str(flat), files[1])
