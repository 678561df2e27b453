"""Detector against genuine pycaffe's detections (data/genuine/io.npz).

Its crop with context was given whole numbers to slice with, as it does not run without.
"""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from caffe.detector import Detector
from caffe.errors import CaffeError
from caffe.io import load_image
from recorded_net import GENUINE, save_recorded_net

WINDOWS = GENUINE['detect/windows']
SETTINGS = dict(raw_scale=255, channel_swap=(2, 1, 0), input_scale=.25)
RECORDED = {
    'plain': {},
    'context': dict(context_pad=2),
    'mean': dict(context_pad=3, mean=np.array([104., 117., 123.])),
    'map': dict(context_pad=1, mean=GENUINE['detect/mean_map']),
}


@pytest.fixture
def files(make_net, tmp_path):
    """The recorded net's prototxt and caffemodel."""
    return save_recorded_net(make_net, tmp_path)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / 'image.png'
    path.write_bytes(GENUINE['detect/file'].tobytes())
    return str(path)


@pytest.mark.parametrize('case', RECORDED)
def test_detect_windows_as_genuine(case, files, image):
    net = Detector(*files, **RECORDED[case], **SETTINGS)
    found = net.detect_windows(iter([(image, WINDOWS[:4]), (image, WINDOWS[4:])]))
    assert [list(each['window']) for each in found] == WINDOWS.tolist()
    assert {each['filename'] for each in found} == {image}
    np.testing.assert_allclose([each['prediction'] for each in found], GENUINE[f'detect/{case}'],
                               atol=1e-4)


@pytest.mark.parametrize('case', RECORDED)
def test_crop_as_genuine(case, files, image):
    net = Detector(*files, **RECORDED[case], **SETTINGS)
    crop = net.crop(load_image(image), list(WINDOWS[3]))
    np.testing.assert_allclose(crop, GENUINE[f'detect/{case}/crop'], atol=1e-5)


def test_configure_crop_anew(files, image):
    net = Detector(*files, **SETTINGS)
    assert net.context_pad is None and net.crop_dims.tolist() == [8, 8, 3]
    net.configure_crop(2)
    np.testing.assert_allclose(net.crop(load_image(image), WINDOWS[3]),
                               GENUINE['detect/context/crop'], atol=1e-5)


def test_no_windows_no_detections(files, image):
    net = Detector(*files)
    assert net.detect_windows([]) == net.detect_windows([(image, [])]) == []


@pytest.mark.parametrize('context_pad', [None, 2])
@pytest.mark.parametrize('window', [(5, 5, 5, 9), (5, 9, 9, 5), (40, 0, 50, 9), (-9, 0, 0, 9)])
def test_a_window_without_pixels_is_refused(window, context_pad, files, image):
    net = Detector(*files, context_pad=context_pad)
    with pytest.raises(CaffeError, match='has no pixels of an image of 30 x 37'):
        net.detect_windows([(image, [window])])


@pytest.mark.parametrize('context_pad', [4, -1])
def test_context_that_leaves_no_window_is_refused(context_pad, files):
    with pytest.raises(CaffeError, match=f'context_pad {context_pad} needs a square input'):
        Detector(*files, context_pad=context_pad)


def test_selective_search_says_what_it_needs(files, image, monkeypatch):
    net = Detector(*files)
    monkeypatch.setitem(sys.modules, 'selective_search_ijcv_with_python', None)
    with pytest.raises(CaffeError, match='needs the module selective_search_ijcv_with_python'):
        net.detect_selective_search([image])


def test_selective_search_passes_its_windows_on(files, image, monkeypatch):
    def get_windows(names, cmd):
        assert (names, cmd) == ([image], 'selective_search_rcnn')
        return [WINDOWS[:2].astype(float)]

    monkeypatch.setitem(sys.modules, 'selective_search_ijcv_with_python',
                        SimpleNamespace(get_windows=get_windows))
    found = Detector(*files, **SETTINGS).detect_selective_search([image])
    np.testing.assert_allclose([each['prediction'] for each in found], GENUINE['detect/plain'][:2],
                               atol=1e-4)
