"""caffe.io against genuine pycaffe: data/genuine/io.npz holds what it makes of the same input.

Its load_image was given scikit-image's newer name of an argument, as it does not run without.
"""

from pathlib import Path

import caffe
import cv2
import numpy as np
import pytest
from caffe.io import (
    InputError,
    Transformer,
    array_to_blobproto,
    array_to_datum,
    arraylist_to_blobprotovector_str,
    blobproto_to_array,
    blobprotovector_str_to_arraylist,
    datum_to_array,
    load_image,
    oversample,
    resize_image,
)
from caffe.proto import caffe_pb2

GENUINE = np.load(Path(__file__).parents[1] / 'data' / 'genuine' / 'io.npz')


def keys(kind):
    """The names of the recorded cases of a kind: 'load' -> 'load/bits.png', ..."""
    return sorted({'/'.join(name.split('/')[:2]) for name in GENUINE.files
                   if name.startswith(f'{kind}/')})


def test_blobproto_with_the_old_four_fields():
    blob = caffe_pb2.BlobProto(data=range(6), num=1, channels=1, height=2, width=3)
    array = blobproto_to_array(blob)
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, [[[[0, 1, 2], [3, 4, 5]]]])


def test_blobproto_with_a_shape():
    blob = caffe_pb2.BlobProto(data=range(6), shape=dict(dim=[3, 2]))
    np.testing.assert_array_equal(blobproto_to_array(blob), [[0, 1], [2, 3], [4, 5]])


def test_blobproto_of_one_value_and_no_shape_is_a_scalar():
    array = blobproto_to_array(caffe_pb2.BlobProto(data=[123]))
    assert array.shape == () and array == 123


def test_blobproto_of_several_values_and_no_shape_is_a_value_error():
    with pytest.raises(ValueError, match=r'100 values for the shape \(\)') as caught:
        blobproto_to_array(caffe_pb2.BlobProto(data=[0] * 100))
    assert isinstance(caught.value, caffe.CaffeError)


def test_blobproto_in_double_precision():
    blob = caffe_pb2.BlobProto(double_data=[1 / 3], double_diff=[1 / 7])
    assert blobproto_to_array(blob) == 1 / 3
    assert blobproto_to_array(blob, return_diff=True) == 1 / 7


def test_array_to_blobproto_and_back_with_diff():
    data, diff = np.arange(24.).reshape(1, 2, 3, 4), np.ones((1, 2, 3, 4), np.float32)
    blob = array_to_blobproto(data, diff)
    np.testing.assert_array_equal(blobproto_to_array(blob), data)
    np.testing.assert_array_equal(blobproto_to_array(blob, return_diff=True), diff)
    assert not array_to_blobproto(data).diff


def test_a_blobprotovector_and_back():
    arrays = [np.arange(6.).reshape(2, 3), np.array(4.), np.zeros((0, 2))]
    back = blobprotovector_str_to_arraylist(arraylist_to_blobprotovector_str(arrays))
    assert [array.shape for array in back] == [(2, 3), (), (0, 2)]
    np.testing.assert_array_equal(back[0], arrays[0])
    assert back[1] == 4
    with pytest.raises(InputError, match='are not a BlobProtoVector'):
        blobprotovector_str_to_arraylist(b'\xff\xff')


@pytest.mark.parametrize('dtype', [np.uint8, np.float32, np.float64, np.int64])
def test_a_datum_and_back(dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    datum = array_to_datum(array, label=5)
    assert (datum.channels, datum.height, datum.width, datum.label) == (2, 3, 4, 5)
    assert bool(datum.data) == (dtype == np.uint8) != bool(datum.float_data)
    back = datum_to_array(datum)
    assert back.dtype == (np.uint8 if dtype == np.uint8 else np.float64)
    np.testing.assert_array_equal(back, array)
    back[0, 0, 0] = 7       # one's own


def test_a_datum_without_label_has_none():
    array = np.ones((10, 10, 3))
    plain, labelled = array_to_datum(array), array_to_datum(array, label=1)
    assert not plain.HasField('label')
    assert len(labelled.SerializeToString()) > len(plain.SerializeToString())
    assert array_to_datum(array, label=0).HasField('label')


def test_datums_that_are_refused():
    with pytest.raises(ValueError, match=r'3 axes, K x H x W, not of shape \(2, 3\)'):
        array_to_datum(np.ones((2, 3)))
    with pytest.raises(InputError, match='encoded image'):
        datum_to_array(caffe_pb2.Datum(data=b'\x89PNG', encoded=True))
    with pytest.raises(InputError, match=r'3 values for the shape \(1, 2, 2\)'):
        datum_to_array(caffe_pb2.Datum(channels=1, height=2, width=2, data=b'abc'))


@pytest.mark.parametrize('name', keys('load'))
def test_load_image_as_genuine(name, tmp_path):
    path = tmp_path / name.split('/')[1]
    path.write_bytes(GENUINE[f'{name}/file'].tobytes())
    for wanted, image in (('rgb', load_image(str(path))), ('grey', load_image(path, color=False))):
        assert image.dtype == np.float32
        assert image.shape == GENUINE[f'{name}/{wanted}'].shape
        np.testing.assert_allclose(image, GENUINE[f'{name}/{wanted}'], rtol=0, atol=2e-7)


def test_load_image_reads_a_jpeg_in_rgb(tmp_path):
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 2] = 255       # BGR
    cv2.imwrite(str(tmp_path / 'red.jpg'), red)
    np.testing.assert_allclose(load_image(tmp_path / 'red.jpg')[8, 8], [1, 0, 0], atol=0.02)


def test_load_image_names_what_it_cannot_read(tmp_path):
    with pytest.raises(caffe.CaffeError, match='absent.png: No such file'):
        load_image(tmp_path / 'absent.png')
    for content in (b'', b'no image'):
        (tmp_path / 'text.png').write_bytes(content)
        with pytest.raises(caffe.CaffeError, match='text.png: is not an image'):
            load_image(tmp_path / 'text.png')


@pytest.mark.parametrize('name', keys('resize'))
def test_resize_image_as_genuine(name):
    image, wanted = GENUINE[f'{name}/in'], GENUINE[f'{name}/out']
    before = image.copy()
    got = resize_image(image, wanted.shape[:2], int(name[-1]))
    assert got.dtype == np.float32 and got.shape == wanted.shape
    # genuine computes coordinates in float32 for float32 images
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * 255)
    np.testing.assert_array_equal(image, before)


def test_resize_image_keeps_a_constant_image_constant():
    image = resize_image(np.full((3, 4, 1), 8, np.uint8), (7, 2))
    assert image.dtype == np.float32 and image.shape == (7, 2, 1)
    assert (image == 8).all()


def test_resize_image_nearest_picks_pixels():
    image = np.arange(12.).reshape(2, 2, 3)
    np.testing.assert_array_equal(resize_image(image, (4, 4), 0),
                                  image.repeat(2, 0).repeat(2, 1))


def test_resize_image_refuses():
    with pytest.raises(InputError, match=r'H x W x K array, not one of shape \(4, 4\)'):
        resize_image(np.ones((4, 4)), (2, 2))
    with pytest.raises(InputError, match='H x W x K'):
        resize_image(np.ones((0, 4, 3)), (2, 2))
    for dims in ((2, 0), (2, 2, 3)):
        with pytest.raises(InputError, match=r'\(height, width\) is expected'):
            resize_image(np.ones((4, 4, 3)), dims)
    with pytest.raises(InputError, match='interp_order must be 0 to 5, not 6'):
        resize_image(np.ones((4, 4, 3)), (2, 2), 6)


@pytest.mark.parametrize('size', ['9', '12'])
@pytest.mark.parametrize('name', keys('transformer'))
def test_transformer_as_genuine(name, size):
    transformer = Transformer({'data': (1, 3, 9, 8)})
    for key in GENUINE.files:
        if key.startswith(f'{name}/set/'):
            getattr(transformer, f'set_{key.split("/")[-1]}')('data', GENUINE[key])
    image = GENUINE[f'{name}/{size}/in']
    before = image.copy()
    data = transformer.preprocess('data', image)
    wanted = GENUINE[f'{name}/{size}/pre']
    assert data.dtype == np.float32 and data.shape == wanted.shape
    np.testing.assert_allclose(data, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    np.testing.assert_array_equal(image, before)
    if f'{name}/{size}/de' in GENUINE:
        wanted = GENUINE[f'{name}/{size}/de']
        given = GENUINE[f'{name}/{size}/pre'][np.newaxis]
        got = transformer.deprocess('data', given)
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(given[0], GENUINE[f'{name}/{size}/pre'])


def test_transformer_by_hand():
    transformer = Transformer({'data': (1, 3, 1, 2)})
    transformer.set_transpose('data', (2, 0, 1))
    transformer.set_channel_swap('data', (2, 1, 0))
    transformer.set_raw_scale('data', 10)
    transformer.set_mean('data', np.array([1., 2, 3]))
    transformer.set_input_scale('data', 2)
    data = transformer.preprocess('data', np.array([[[1, 2, 3], [4, 5, 6]]]))
    np.testing.assert_array_equal(data, [[[58, 118]], [[36, 96]], [[14, 74]]])
    np.testing.assert_array_equal(transformer.deprocess('data', data), [[[1, 2, 3], [4, 5, 6]]])


def test_transformer_takes_back_one_channel_and_integers():
    transformer = Transformer({'data': (1, 1, 2, 3)})
    transformer.set_transpose('data', (2, 0, 1))
    transformer.set_raw_scale('data', 2)
    image = transformer.deprocess('data', np.arange(6).reshape(1, 1, 2, 3))
    np.testing.assert_array_equal(image[..., 0], np.arange(6).reshape(2, 3) / 2)


def test_a_mean_of_two_axes_is_that_of_each_channel():
    transformer = Transformer({'data': (1, 3, 2, 2)})
    transformer.set_mean('data', np.arange(4.).reshape(2, 2))
    assert transformer.mean['data'].shape == (1, 2, 2)
    transformer.set_mean('data', np.full((3, 5, 5), 7, np.uint8))       # constant, resized
    np.testing.assert_array_equal(transformer.mean['data'], np.full((3, 2, 2), 7))


def test_the_settings_are_pycaffes_dicts():
    transformer = Transformer({'data': (1, 3, 2, 2)})
    transformer.set_raw_scale('data', 255)
    assert transformer.raw_scale == {'data': 255}
    assert transformer.mean == transformer.transpose == transformer.channel_swap == {}


@pytest.mark.parametrize('setting, value, words', [
    ('transpose', (1, 0), r'\(1, 0\) is not an order of 3 axes'),
    ('channel_swap', (1, 0), r'\(1, 0\) is not an order of 3 channels'),
    ('mean', np.ones(2), 'has 3 channels, its mean has 2'),
    ('mean', np.ones(1), 'has 3 channels, its mean has 1'),
    ('mean', np.ones((2, 4, 4)), 'has 3 channels, its mean has 2'),
    ('mean', np.ones((1, 3, 4, 4)), r'1 to 3 axes, not the shape \(1, 3, 4, 4\)'),
    ('mean', np.array(3.), '1 to 3 axes'),
])
def test_transformer_refuses_settings(setting, value, words):
    transformer = Transformer({'data': (1, 3, 4, 4)})
    with pytest.raises(ValueError, match=f"'data'.*{words}"):
        getattr(transformer, f'set_{setting}')('data', value)
    assert not getattr(transformer, setting)


def test_transformer_refuses_arrays_and_names():
    transformer = Transformer({'data': (1, 3, 4, 4)})
    for method in ('preprocess', 'deprocess', 'set_mean', 'set_raw_scale', 'set_input_scale',
                   'set_transpose', 'set_channel_swap'):
        with pytest.raises(InputError, match="'label' is not one of the inputs data"):
            getattr(transformer, method)('label', np.ones((4, 4, 3)))
    transformer.set_transpose('data', (2, 0, 1))
    transformer.set_mean('data', np.ones(3))
    with pytest.raises(InputError, match=r"'data': an array of shape \(4, 4\) does not fit"):
        transformer.preprocess('data', np.ones((4, 4)))
    with pytest.raises(InputError, match='does not fit'):
        transformer.preprocess('data', np.ones((4, 4, 2)))      # the mean has 3
    with pytest.raises(InputError, match='does not fit'):
        transformer.deprocess('data', np.ones((2, 3, 4, 4)))


def test_oversample_as_genuine():
    for key in GENUINE.files:
        if key.startswith('oversample/') and key != 'oversample/in':
            crops = oversample(list(GENUINE['oversample/in']),
                               np.array([int(dim) for dim in key.split('/')[1].split('x')]))
            assert crops.dtype == np.float32
            np.testing.assert_array_equal(crops, GENUINE[key])


def test_oversample_refuses():
    with pytest.raises(InputError, match='a crop of 5 x 2 does not fit into an image of 4 x 4'):
        oversample(np.ones((1, 4, 4, 3)), (5, 2))
    with pytest.raises(InputError, match='of the same shape'):
        oversample([np.ones((4, 4, 3)), np.ones((5, 4, 3))], (2, 2))
    for images in ([], [np.ones((4, 4))]):
        with pytest.raises(InputError, match='H x W x K'):
            oversample(images, (2, 2))
