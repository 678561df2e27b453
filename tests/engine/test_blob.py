import caffe
import numpy as np
import pytest
import torch
from caffe.blob import Blob


def test_a_new_blob_is_zero():
    blob = Blob((2, 3))
    assert blob.shape == (2, 3) and blob.count == 6
    assert not blob.data.any() and not blob.diff.any()
    assert blob.data.dtype == np.float32 and blob.data.flags.c_contiguous


def test_data_is_written_in_place():
    blob = Blob((2, 3))
    view = blob.data[1]
    view[...] = 7
    assert blob.tensor[1].tolist() == [7, 7, 7]
    assert blob.data[1].tolist() == [7, 7, 7]


def test_a_held_view_sees_what_layers_compute():
    blob = Blob((2, 2))
    held = blob.data
    blob.tensor = torch.tensor([[1., 2.], [3., 4.]])
    assert held.tolist() == [[1, 2], [3, 4]]
    held[0, 0] = 9
    assert blob.tensor[0, 0] == 9


def test_data_is_in_c_order_whatever_the_layout_of_the_tensor():
    blob = Blob((1, 2, 3, 4))
    values = torch.arange(24.).reshape(1, 2, 3, 4)
    blob.tensor = values.contiguous(memory_format=torch.channels_last)
    assert blob.data.flags.c_contiguous
    np.testing.assert_array_equal(blob.data, values.numpy())
    blob.data[0, 1, 2, 3] = -1
    assert blob.tensor[0, 1, 2, 3] == -1


def test_version_tells_of_every_possible_change():
    blob = Blob((3,))
    first = blob.version
    assert blob.version == first
    blob.tensor = torch.ones(3)
    second = blob.version
    assert second != first and blob.version == second
    blob.data[0] = 5                # nobody holds the view after this line
    third = blob.version
    assert third != second and blob.version == third
    view = blob.data[1:]            # may be written at any time while it lives
    fourth = blob.version
    view[0] = 6
    assert blob.version != fourth
    del view
    last = blob.version
    assert blob.version == last


@pytest.mark.parametrize('shape, expected', [((3, 2), [[0, 1], [2, 3], [4, 5]]),
                                             ((2, 2), [[0, 0]] * 2)])
def test_reshape_keeps_values_of_an_equal_count(shape, expected):
    blob = Blob((6,))
    blob.data[...] = range(6)
    blob.reshape(*shape)
    assert blob.shape == shape and blob.diff.shape == shape
    assert blob.data.tolist() == expected


def test_legacy_dimensions():
    blob = Blob((2, 3, 4))
    assert (blob.num, blob.channels, blob.height, blob.width) == (2, 3, 4, 1)
    with pytest.raises(caffe.CaffeError, match='at most 4 axes'):
        _ = Blob((1, 1, 1, 1, 1)).num


def test_a_scalar_and_an_empty_blob():
    assert Blob().data.shape == () and Blob().count == 1
    assert Blob((0, 4)).data.shape == (0, 4)


def test_a_negative_dimension_is_refused():
    with pytest.raises(caffe.CaffeError, match='shape'):
        Blob((1,)).reshape(2, -1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_host_and_gpu_stay_equal():
    caffe.set_device(0)
    caffe.set_mode_gpu()
    blob = Blob((2,))
    held = blob.data
    held[...] = 3
    assert blob.tensor.device.type == 'cuda' and blob.tensor.tolist() == [3, 3]
    blob.tensor = blob.tensor * 2
    assert blob.data.tolist() == [6, 6] and held.tolist() == [6, 6]


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(RuntimeError, match='no GPU 99'):
        caffe.set_device(99)
