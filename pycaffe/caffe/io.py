"""Convert arrays to Caffe's messages, and images to the input of a net.

    image = caffe.io.load_image('cat.jpg')                  # H x W x 3, RGB, in [0, 1]
    transformer = caffe.io.Transformer({'data': net.blobs['data'].data.shape})
    transformer.set_transpose('data', (2, 0, 1))            # to K x H x W
    transformer.set_channel_swap('data', (2, 1, 0))         # to BGR
    transformer.set_raw_scale('data', 255)
    net.blobs['data'].data[...] = transformer.preprocess('data', image)
"""

import os
from contextlib import contextmanager

import cv2
import numpy as np
from google.protobuf.message import DecodeError

from .errors import CaffeError
from .proto import caffe_pb2
from .resample import InputError, resize_image

GREY = (0.2125, 0.7154, 0.0721)     # weights of R, G and B in the intensity


def blobproto_to_array(blob, return_diff=False):
    """Return the data (or the diff) of a BlobProto as a float64 array of the blob's shape."""
    values = (blob.double_diff or blob.diff) if return_diff else (blob.double_data or blob.data)
    legacy = any(blob.HasField(name) for name in ('num', 'channels', 'height', 'width'))
    shape = ((blob.num, blob.channels, blob.height, blob.width) if legacy
             else tuple(blob.shape.dim))
    return _shaped(np.array(values, float), shape, 'blob')


def array_to_blobproto(arr, diff=None):
    """Return a BlobProto with the values and shape of an array, and optionally a diff.

    >>> blobproto_to_array(array_to_blobproto(np.array([[1, 2, 3]])))
    array([[1., 2., 3.]])
    """
    blob = caffe_pb2.BlobProto(data=arr.astype(float).flat)
    blob.shape.dim.extend(arr.shape)
    if diff is not None:
        blob.diff.extend(diff.astype(float).flat)
    return blob


def arraylist_to_blobprotovector_str(arraylist):
    """Serialize a list of arrays as a BlobProtoVector (bytes)."""
    blobs = [array_to_blobproto(arr) for arr in arraylist]
    return caffe_pb2.BlobProtoVector(blobs=blobs).SerializeToString()


def blobprotovector_str_to_arraylist(str):
    """Return the list of arrays in a serialized BlobProtoVector."""
    try:
        vector = caffe_pb2.BlobProtoVector.FromString(str)
    except DecodeError:
        raise InputError('these bytes are not a BlobProtoVector') from None
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr, label=None):
    """Return a K x H x W array as a Datum: uint8 is stored as bytes, any other type as floats.

    >>> datum = array_to_datum(np.zeros((3, 4, 5), np.uint8), label=7)
    >>> (datum.channels, datum.height, datum.width, datum.label), len(datum.data)
    ((3, 4, 5, 7), 60)
    """
    if arr.ndim != 3:
        raise InputError(f'a datum needs an array of 3 axes, K x H x W, not of shape {arr.shape}')
    channels, height, width = arr.shape
    datum = caffe_pb2.Datum(channels=channels, height=height, width=width, label=label)
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(float).flat)
    return datum


def datum_to_array(datum):
    """Return the K x H x W array of a Datum, uint8 or float64; its label is `datum.label`."""
    if datum.encoded:
        raise InputError('the datum is an encoded image: see caffe.datum.datum_to_array')
    values = (np.frombuffer(datum.data, np.uint8).copy() if datum.data
              else np.array(datum.float_data, float))
    return _shaped(values, (datum.channels, datum.height, datum.width), 'datum')


def _shaped(values, shape, what):
    if values.size != np.prod(shape):
        raise InputError(f'the {what} has {values.size} values for the shape {shape}')
    return values.reshape(shape)


class Transformer:
    """Preprocess images for the inputs of a net, and undo it.

    The steps are, in order: resize, transpose the axes, swap the channels, multiply by `raw_scale`,
    subtract the mean, multiply by `input_scale`. Steps that were not set are skipped.

    inputs : dict, input name -> shape of its blob, N x K x H x W
    """

    def __init__(self, inputs):
        self.inputs = inputs
        self.transpose = {}
        self.channel_swap = {}
        self.raw_scale = {}
        self.mean = {}
        self.input_scale = {}

    def _shape(self, in_):
        """Return the shape of one item of the input, K x H x W."""
        if in_ not in self.inputs:
            raise InputError(f'{in_!r} is not one of the inputs {", ".join(self.inputs)}')
        return tuple(self.inputs[in_][1:])

    def preprocess(self, in_, data):
        """Return the K x H x W float32 array that the input `in_` takes for an image.

        data : H x W x K image of any size; it is not modified
        """
        dims = self._shape(in_)[1:]
        result = np.array(data, np.float32)
        with _fitting(in_, data):
            if result.shape[:2] != dims:
                result = resize_image(result, dims)
            if in_ in self.transpose:
                result = result.transpose(self.transpose[in_])
            if in_ in self.channel_swap:
                result = result[list(self.channel_swap[in_])]
            if in_ in self.raw_scale:
                result *= self.raw_scale[in_]
            if in_ in self.mean:
                result -= self.mean[in_]
            if in_ in self.input_scale:
                result *= self.input_scale[in_]
        return result

    def deprocess(self, in_, data):
        """Undo `preprocess`, except for the resizing: return an H x W x K image.

        data : K x H x W array, with or without leading axes of length 1; it is not modified
        """
        self._shape(in_)
        result = np.array(data).squeeze()
        if not np.issubdtype(result.dtype, np.floating):
            result = result.astype(np.float32)
        order = self.transpose.get(in_)
        with _fitting(in_, data):
            if order is not None and result.ndim < len(order):
                result = result.reshape(np.shape(data)[-len(order):])   # keep its axes of length 1
            if in_ in self.input_scale:
                result /= self.input_scale[in_]
            if in_ in self.mean:
                result += self.mean[in_]
            if in_ in self.raw_scale:
                result /= self.raw_scale[in_]
            if in_ in self.channel_swap:
                result = result[np.argsort(self.channel_swap[in_])]
            if order is not None:
                result = result.transpose(np.argsort(order))
        return result

    def set_transpose(self, in_, order):
        """Set the order of the axes, such as (2, 0, 1) from H x W x K to K x H x W."""
        axes = len(self._shape(in_))
        if len(order) != axes:
            raise InputError(f'{in_!r}: {tuple(order)} is not an order of {axes} axes')
        self.transpose[in_] = order

    def set_channel_swap(self, in_, order):
        """Set the order of the channels (axis 0 after the transpose): (2, 1, 0) for RGB to BGR."""
        channels = self._shape(in_)[0]
        if len(order) != channels:
            raise InputError(f'{in_!r}: {tuple(order)} is not an order of {channels} channels')
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_, scale):
        """Set the factor applied before the mean is subtracted: 255 for images in [0, 1]."""
        self._shape(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_, mean):
        """Set the mean: K values, H x W or K x H x W; it is resized to the input if necessary."""
        channels, *dims = self._shape(in_)
        mean = np.asarray(mean)
        if mean.ndim not in (1, 2, 3):
            raise InputError(f'{in_!r}: a mean has 1 to 3 axes, not the shape {mean.shape}')
        if mean.ndim == 2:
            mean = mean[np.newaxis]
        if len(mean) != channels and (mean.ndim == 1 or len(mean) != 1):
            raise InputError(f'{in_!r} has {channels} channels, its mean has {len(mean)}')
        if mean.ndim == 1:
            mean = mean[:, np.newaxis, np.newaxis]
        elif mean.shape[1:] != tuple(dims):
            mean = resize_image(mean.transpose(1, 2, 0).astype(float), dims).transpose(2, 0, 1)
        self.mean[in_] = mean

    def set_input_scale(self, in_, scale):
        """Set the factor applied after the mean is subtracted."""
        self._shape(in_)
        self.input_scale[in_] = scale


@contextmanager
def _fitting(in_, data):
    """Name the input and the shape in errors of NumPy about an array that does not fit."""
    try:
        yield
    except (ValueError, IndexError) as error:
        raise InputError(f'{in_!r}: an array of shape {np.shape(data)} does not fit: '
                         f'{error}') from None


def load_image(filename, color=True):
    """Load an image as a float32 array in [0, 1]: H x W x 3 (RGB), or H x W x 1 if not `color`."""
    image = _read(filename)
    if np.issubdtype(image.dtype, np.integer):
        image = image / np.iinfo(image.dtype).max
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
        return np.tile(image, 3 if color else 1).astype(np.float32)
    rgb = image[:, :, 2::-1]
    if not color:
        if image.shape[2] == 4:     # blend with a white background
            rgb = 1 + (rgb - 1) * image[:, :, 3:]
        rgb = rgb @ np.array(GREY)[:, np.newaxis]
    return rgb.astype(np.float32)


def _read(filename):
    """Read an image file in its own type: H x W (grey), H x W x 3 (BGR) or H x W x 4 (BGRA)."""
    try:
        data = np.fromfile(filename, np.uint8)
    except OSError as error:
        raise CaffeError(f'{filename}: {error.strerror}') from None
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if image is None:
        raise CaffeError(f'{filename}: is not an image, or is damaged')
    png = os.fspath(filename).lower().endswith('.png')
    if png and image.dtype == np.uint16 and image.ndim == 3:
        image = (image >> 8).astype(np.uint8)   # Pillow, and thus pycaffe, reads 8 bits of colours
    return image


def oversample(images, crop_dims):
    """Crop each image ten times: the four corners and the centre, then their mirror images.

    images : N x H x W x K array, or a list of N arrays of the same shape
    crop_dims : (height, width) in pixels
    Returns a 10N x height x width x K float32 array. Raises InputError if a crop does not fit.

    >>> oversample(np.zeros((2, 8, 8, 3)), (6, 6)).shape
    (20, 6, 6, 3)
    """
    height, width = (int(dim) for dim in crop_dims)
    if len({np.shape(im) for im in images}) != 1 or np.ndim(images[0]) != 3:
        raise InputError('oversample needs H x W x K images of the same shape, not of '
                         f'{sorted({np.shape(im) for im in images})}')
    images = np.asarray(images, np.float32)
    bottom, right = images.shape[1] - height, images.shape[2] - width
    if min(bottom, right) < 0 or min(height, width) < 1:
        raise InputError(f'a crop of {height} x {width} does not fit into an image of '
                         f'{images.shape[1]} x {images.shape[2]}')
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    crops = [images[:, y:y + height, x:x + width] for y, x in corners]
    crops += [crop[:, :, ::-1] for crop in crops]
    return np.stack(crops, axis=1).reshape(-1, height, width, images.shape[3])
