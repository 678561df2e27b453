"""Classifier: a net that classifies images of any size.

    net = caffe.Classifier('deploy.prototxt', 'net.caffemodel', image_dims=(256, 256), mean=mean,
                           raw_scale=255, channel_swap=(2, 1, 0))
    probabilities = net.predict([caffe.io.load_image('cat.jpg')])       # N x classes
"""

import numpy as np

from .common import TEST
from .io import InputError, Transformer, resize_image
from .io import oversample as ten_crops
from .net import Net


class Classifier(Net):
    """A net with one image input; predicts from the centre crop or the mean of ten crops.

    image_dims : (height, width) that images are resized to before cropping; None for the input's
    mean, input_scale, raw_scale, channel_swap : the input's settings, see caffe.io.Transformer
    """

    def __init__(self, model_file, pretrained_file, image_dims=None, mean=None, input_scale=None,
                 raw_scale=None, channel_swap=None):
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = image_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else image_dims

    def predict(self, inputs, oversample=True):
        """Return the net's first output for each image, N x C.

        inputs : list of N arrays H x W x K
        oversample : True for the mean over ten crops (corners, centre and their mirror images),
            False for the centre crop alone
        """
        if len(inputs) == 0:
            raise InputError('predict needs at least one image')
        if any(self.image_dims < self.crop_dims):
            raise InputError(f'images resized to {tuple(self.image_dims)} are smaller than the '
                             f'input, {tuple(self.crop_dims.tolist())}')
        images = np.stack([resize_image(image, self.image_dims) for image in inputs])
        if oversample:
            images = ten_crops(images, self.crop_dims)
        else:
            top, left = (np.array(self.image_dims) - self.crop_dims) // 2
            height, width = self.crop_dims
            images = images[:, top:top + height, left:left + width]
        in_ = self.inputs[0]
        data = np.stack([self.transformer.preprocess(in_, image) for image in images])
        predictions = self.forward_all(**{in_: data})[self.outputs[0]]
        if oversample:
            predictions = predictions.reshape(len(inputs), 10, -1).mean(1)
        return predictions


def image_transformer(net, mean, input_scale, raw_scale, channel_swap):
    """Return the Transformer for a net with one image input; None skips a setting."""
    if len(net.inputs) != 1 or len(net.blobs[net.inputs[0]].shape) != 4:
        shapes = [net.blobs[name].shape for name in net.inputs]
        raise InputError(f'{net!r} should have one input N x K x H x W, it has {shapes}')
    in_ = net.inputs[0]
    transformer = Transformer({in_: net.blobs[in_].shape})
    transformer.set_transpose(in_, (2, 0, 1))
    if mean is not None:
        transformer.set_mean(in_, mean)
    if input_scale is not None:
        transformer.set_input_scale(in_, input_scale)
    if raw_scale is not None:
        transformer.set_raw_scale(in_, raw_scale)
    if channel_swap is not None:
        transformer.set_channel_swap(in_, channel_swap)
    return transformer
