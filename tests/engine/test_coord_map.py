"""coord_map: maps worked by hand, and what BVLC's own tests of it ask."""

import caffe
import numpy as np
import pytest
from caffe import NetSpec
from caffe import layers as L
from caffe import params as P
from caffe.coord_map import (
    AxisMismatchException,
    CoordMapError,
    UndefinedMapException,
    compose,
    conv_params,
    coord_map,
    coord_map_from_to,
    crop,
    crop_params,
    inverse,
)


def chain(ks=3, stride=1, pad=0, pool=2, dstride=2, dpad=0):
    """data, conv, pool, deconv: by default the output's size is the input's."""
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[2, 1, 100, 100]))
    n.aux = L.Input(shape=dict(dim=[2, 1, 20, 20]))
    n.conv = L.Convolution(n.data, num_output=10, kernel_size=ks, stride=stride, pad=pad)
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=pool, stride=pool, pad=0)
    # kernel 2 s undoes a pooling of s
    n.deconv = L.Deconvolution(n.pool, convolution_param=dict(
        num_output=10, kernel_size=2 * dstride, stride=dstride, pad=dpad))
    return n


def ends(n):
    return n.deconv, n.data


def test_conv_and_deconv_undo_each_other():
    n = NetSpec()
    n.data = L.Input()
    n.conv = L.Convolution(n.data, num_output=1, kernel_size=7, stride=3, pad=2)
    n.deconv = L.Deconvolution(n.conv, num_output=1, kernel_size=7, stride=3, pad=2)
    axis, scale, shift = coord_map_from_to(n.deconv, n.data)
    assert (axis, scale, shift) == (1, 1, 0)


def test_maps_by_hand():
    n = NetSpec()
    n.data = L.Input()
    n.conv = L.Convolution(n.data, num_output=1, kernel_size=5, stride=2, pad=1, dilation=3)
    # (x + 1 - (13 - 1) / 2) / 2
    assert coord_map(n.conv.fn) == (1, 0.5, -2.5)
    n.deconv = L.Deconvolution(n.data, convolution_param=dict(kernel_size=4, stride=2, pad=1))
    assert coord_map(n.deconv.fn) == (1, 2, 0.5)
    n.pool = L.Pooling(n.data, pooling_param=dict(kernel_size=3, stride=3))
    assert coord_map(n.pool.fn) == (1, 1 / 3, -1 / 3)
    n.im2col = L.Im2col(n.data, kernel_size=3, axis=2)
    assert coord_map(n.im2col.fn) == (2, 1, -1)
    n.crop = L.Crop(n.data, n.pool, crop_param=dict(axis=3, offset=4))
    assert coord_map(n.crop.fn) == (2, 1, -4)
    n.relu = L.ReLU(n.data)
    assert coord_map(n.relu.fn) == (None, 1, 0)
    # input (5, by conv: 0.5 x - 2.5) back from output 1
    assert coord_map_from_to(n.conv, n.data) == (1, 2, 5)
    assert coord_map_from_to(n.data, n.conv) == (1, 0.5, -2.5)


def test_the_parameters_of_layers():
    axis, stride, kernel, pad = conv_params(L.Convolution(kernel_size=[3, 5], dilation=2).fn)
    assert axis == 1
    np.testing.assert_array_equal(stride, [1])
    np.testing.assert_array_equal(kernel, [5, 9])
    np.testing.assert_array_equal(pad, [0])
    axis, offset = crop_params(L.Crop().fn)
    assert axis == 2 and offset.tolist() == [0]


def test_compose_and_inverse():
    first, second = (1, 2., 3.), (None, 5., 7.)
    assert compose(second, first) == (1, 10, 22)        # 5 (2 x + 3) + 7
    assert compose(first, second) == (1, 10, 17)
    assert inverse(first) == (1, 0.5, -1.5)
    assert compose(first, inverse(first)) == (1, 1, 0)
    with pytest.raises(AxisMismatchException, match='axis 1 and axis 2'):
        compose((1, 1, 0), (2, 1, 0))


def test_padding_shifts():
    axis, scale, shift = coord_map_from_to(*ends(chain()))
    axis_pad, scale_pad, shift_pad = coord_map_from_to(*ends(chain(pad=4)))
    assert axis == axis_pad and scale == scale_pad
    assert shift - 4 == shift_pad


def test_pointwise_layers_change_nothing():
    n = chain()
    plain = coord_map_from_to(n.deconv, n.data)
    top = n.deconv
    for kind in ('ReLU', 'Dropout', 'BatchNorm', 'Scale', 'LRN', 'PReLU', 'Sigmoid'):
        top = getattr(L, kind)(top, in_place=kind == 'ReLU')
    assert coord_map_from_to(top, n.data) == plain


def test_several_convolutions_add_up():
    n = NetSpec()
    n.data = L.Input()
    conv = L.Convolution(n.data, num_output=10, kernel_size=3)
    n.conv5x5 = L.Convolution(n.data, num_output=10, kernel_size=5)
    twice = L.Convolution(conv, num_output=10, kernel_size=3)
    assert coord_map_from_to(twice, n.data) == coord_map_from_to(n.conv5x5, n.data) == (1, 1, 2)


def test_axes_of_different_size_are_mapped_each_for_itself():
    both = coord_map_from_to(*ends(chain(ks=[3, 5], stride=[1, 2], pad=[0, 10])))
    square = coord_map_from_to(*ends(chain(ks=3, stride=1, pad=0)))
    other = coord_map_from_to(*ends(chain(ks=5, stride=2, pad=10)))
    assert both[0] == square[0] == other[0]
    np.testing.assert_array_equal(both[1], [square[1][0], other[1][0]])
    np.testing.assert_array_equal(both[2], [square[2][0], other[2][0]])


def test_three_spatial_axes():
    n = chain(ks=[3, 3, 3], stride=[1, 1, 1], pad=[0, 1, 2])
    axis, scale, shift = coord_map_from_to(n.deconv, n.data)
    assert axis == 1 and scale.tolist() == [1, 1, 1]
    assert (shift - shift[0]).tolist() == [0, -1, -2]


def test_a_crop_of_a_crop():
    n = chain()
    axis, scale, shift = coord_map_from_to(n.deconv, n.data)
    n.crop = L.Crop(n.deconv, n.data, axis=2, offset=7)
    assert coord_map_from_to(n.crop, n.data) == (axis, scale, shift + 7)


def test_crop_makes_the_layer_that_aligns():
    n = chain(pad=100)
    n.score = crop(n.deconv, n.data)
    layer = n.to_proto().layer[-1]
    # conv: x + 99; pool: (y - 0.5) / 2; deconv: 2 z + 1.5
    assert (layer.type, layer.crop_param.axis, list(layer.crop_param.offset)) == ('Crop', 2, [100])
    assert list(layer.bottom) == ['deconv', 'data']


def test_crop_of_pointwise_layers_begins_at_0():
    n = chain()
    layer = caffe.to_proto(crop(L.ReLU(n.data), n.data)).layer[-1]
    assert (layer.crop_param.axis, list(layer.crop_param.offset)) == (2, [0])


def test_a_net_of_many_branches_is_walked_once():
    top = start = L.Input()
    for _ in range(100):
        top = L.Eltwise(L.Convolution(top, kernel_size=3, pad=1), top)
    assert coord_map_from_to(top, start)[1:] == (1, 0)


def test_tops_without_a_common_ancestor():
    n = chain()
    n.ip = L.InnerProduct(n.deconv, num_output=10)
    for top_from, top_to in ((n.ip, n.data), (n.data, n.ip), (n.deconv, n.aux)):
        with pytest.raises(RuntimeError, match='no common ancestor'):
            coord_map_from_to(top_from, top_to)
    with pytest.raises(UndefinedMapException, match='InnerProduct has no coordinate map'):
        coord_map(n.ip.fn)


@pytest.mark.parametrize('options, words', [
    (dict(pool=3, dstride=2), r'equal scale .*1\.5'),
    (dict(dpad=10), 'before its bottom'),
    (dict(ks=4, pad=100), 'between pixels'),
])
def test_crops_that_cannot_be(options, words):
    with pytest.raises(AssertionError, match=words) as caught:
        crop(*ends(chain(**options)))
    assert isinstance(caught.value, caffe.CaffeError)


def test_legacy_parameters_are_refused():
    with pytest.raises(AssertionError, match='Convolution: mapping takes .* not pad_h'):
        coord_map(L.Convolution(kernel_size=3, pad_h=1).fn)
    with pytest.raises(CoordMapError, match='Pooling: .* not without a kernel_size'):
        coord_map(L.Pooling(global_pooling=True).fn)
