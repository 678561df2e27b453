"""ROIPooling; recorded forwards lie in data/genuine/ext_layers.npz."""

import math

import caffe
import numpy as np
import pytest
import torch
from conftest import check_gradients

TEXT = '''
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 7 } } }
layer { name: "rois" type: "Input" top: "rois" input_param { shape { %s } } }
layer { name: "layer" type: "ROIPooling" bottom: "x" bottom: "rois" top: "y"
        roi_pooling_param { pooled_h: %d pooled_w: %d spatial_scale: %s } }
'''
REGIONS = np.array([
    [0, 0, 0, 27, 23],          # the whole image at a scale of 1/4
    [1, 0, 0, 27, 23],          # the same of the other one
    [1, 5, 9, 21, 14],
    [0, 8, 8, 8, 8],            # one cell
    [1, 20, 16, 60, 50],        # reaches beyond the border
    [0, 60, 4, 70, 20],         # lies beyond it: empty
    [1, 12, 12, 4, 4],          # corners the wrong way round: one cell
    [0, -9, -5, 9, 6],
    [1, 5, 9, 21, 14],          # again
], np.float32)


def naive(x, rois, height, width, scale):
    """Values, and for each bin the cell (row, column) of its first maximum or None if empty."""
    y = np.zeros((len(rois), x.shape[1], height, width), np.float32)
    cells = np.full(y.shape, None)
    for r, (image, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (math.floor(np.float32(c) * np.float32(scale) + np.float32(0.5))
                          for c in corners)
        bin_h = np.float32(max(y2 - y1 + 1, 1)) / np.float32(height)
        bin_w = np.float32(max(x2 - x1 + 1, 1)) / np.float32(width)
        for c, i, j in np.ndindex(x.shape[1], height, width):
            rows = range(max(0, y1 + math.floor(np.float32(i) * bin_h)),
                         min(x.shape[2], y1 + math.ceil(np.float32(i + 1) * bin_h)))
            columns = range(max(0, x1 + math.floor(np.float32(j) * bin_w)),
                            min(x.shape[3], x1 + math.ceil(np.float32(j + 1) * bin_w)))
            inside = [(a, b) for a in rows for b in columns]
            if inside:
                best = max(inside, key=lambda cell: x[(int(image), c, *cell)])
                y[r, c, i, j] = x[(int(image), c, *best)]
                cells[r, c, i, j] = best
    return y, cells


def roi_net(make_net, rois, height=1, width=1, scale=0.25, dims=None):
    dims = dims or np.shape(rois)
    net = make_net(TEXT % (' '.join(f'dim: {dim}' for dim in dims), height, width, scale))
    net.blobs['rois'].data[...] = np.reshape(rois, dims)
    return net


@pytest.mark.parametrize('height, width', [(1, 1), (2, 3), (7, 7)])
@pytest.mark.parametrize('ties', [False, True])
def test_values_and_gradient(make_net, height, width, ties):
    net = roi_net(make_net, REGIONS, height, width)
    rng = np.random.default_rng(1)
    x = net.blobs['x'].data
    x[...] = rng.integers(-2, 1, x.shape) if ties else rng.normal(size=x.shape)
    wanted, cells = naive(x, REGIONS, height, width, 0.25)
    net.forward()
    np.testing.assert_array_equal(net.blobs['y'].data, wanted)
    diff = rng.normal(size=wanted.shape).astype(np.float32)
    net.blobs['y'].diff[...] = diff
    net.backward()
    gradient = np.zeros(x.shape)
    for (r, c, i, j), cell in np.ndenumerate(cells):
        if cell is not None:
            gradient[(int(REGIONS[r, 0]), c, *cell)] += diff[r, c, i, j]
    np.testing.assert_allclose(net.blobs['x'].diff, gradient, rtol=1e-5, atol=1e-6)
    assert not net.blobs['rois'].diff.any()
    if not ties and height == 2:
        check_gradients(net, 'layer')


def test_an_empty_region_is_0(make_net):
    net = roi_net(make_net, REGIONS[5:6])
    net.blobs['x'].data[...] = -3
    net.forward()
    assert not net.blobs['y'].data.any()
    net.blobs['y'].diff[...] = 1
    net.backward()
    assert not net.blobs['x'].diff.any()


def test_memory_layout_does_not_matter(make_net):
    net = roi_net(make_net, REGIONS, 2, 2)
    layer = net.layer_dict['layer']
    x = torch.randn(2, 3, 6, 7)
    rois = torch.from_numpy(REGIONS)
    wanted = naive(x.numpy(), REGIONS, 2, 2, 0.25)[0]
    for features in (x, x.contiguous(memory_format=torch.channels_last), x.mT.contiguous().mT):
        np.testing.assert_array_equal(layer.compute(features, rois).numpy(), wanted)


def test_regions_of_another_shape_are_rows_of_5(make_net):
    net = roi_net(make_net, REGIONS[:4], dims=(2, 2, 1, 5))
    x = net.blobs['x'].data
    x[...] = np.random.default_rng(2).normal(size=x.shape)
    net.forward()
    np.testing.assert_array_equal(net.blobs['y'].data, naive(x, REGIONS[:4], 1, 1, 0.25)[0])


def test_no_region(make_net):
    net = roi_net(make_net, REGIONS[:0])
    net.forward()
    assert net.blobs['y'].data.shape == (0, 3, 1, 1)


@pytest.mark.parametrize('image', [2, -1])
def test_an_image_that_is_not_there(make_net, image):
    net = roi_net(make_net, [[image, 0, 0, 4, 4]])
    with pytest.raises(caffe.CaffeError, match='of a batch of 2'):
        net.forward()


def test_bad_parameters(make_net):
    with pytest.raises(caffe.CaffeError, match='must be positive'):
        roi_net(make_net, REGIONS, 0, 1)
    with pytest.raises(caffe.CaffeError, match='5 numbers per region'):
        roi_net(make_net, REGIONS[:, :4])
    net = roi_net(make_net, REGIONS)
    net.blobs['x'].reshape(6, 42)
    with pytest.raises(caffe.CaffeError, match='4 axes'):
        net.forward()
