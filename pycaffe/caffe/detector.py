"""Detector: a net that scores windows of images.

    net = caffe.Detector('deploy.prototxt', 'net.caffemodel', mean=mean, raw_scale=255,
                         channel_swap=(2, 1, 0), context_pad=16)
    detections = net.detect_windows([('cat.jpg', [(ymin, xmin, ymax, xmax), ...]), ...])
"""

import os

import numpy as np

from .classifier import image_transformer
from .common import TEST
from .errors import CaffeError
from .io import InputError, load_image, resize_image
from .net import Net


class Detector(Net):
    """A net with one image input; returns its first output for windows resized to the input.

    mean, input_scale, raw_scale, channel_swap : the input's settings, see caffe.io.Transformer
    context_pad : width in pixels of the border of the input that shows the window's surroundings,
        as in R-CNN; pixels outside the image are filled with the mean
    """

    def __init__(self, model_file, pretrained_file, mean=None, input_scale=None, raw_scale=None,
                 channel_swap=None, context_pad=None):
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = image_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows):
        """Score windows of images.

        images_windows : pairs of an image file and a list of windows (ymin, xmin, ymax, xmax)
        Returns one dict per window, with `window`, `prediction` and `filename`.
        """
        in_ = self.inputs[0]
        detections, data = [], []
        for filename, windows in images_windows:
            image = load_image(filename)
            for window in windows:
                data.append(self.transformer.preprocess(in_, self.crop(image, window)))
                detections.append({'window': window, 'filename': filename})
        if detections:
            predictions = self.forward_all(**{in_: np.stack(data)})[self.outputs[0]]
            for detection, prediction in zip(detections, predictions, strict=True):
                detection['prediction'] = prediction
        return detections

    def detect_selective_search(self, image_fnames):
        """`detect_windows` over the proposals of Selective Search, which needs MATLAB."""
        try:
            import selective_search_ijcv_with_python as selective_search
        except ImportError:
            raise CaffeError(
                'detect_selective_search needs the module selective_search_ijcv_with_python '
                '(https://github.com/sergeyk/selective_search_ijcv_with_python)') from None
        filenames = [os.path.abspath(name) for name in image_fnames]    # for MATLAB
        windows = selective_search.get_windows(filenames, cmd='selective_search_rcnn')
        return self.detect_windows(zip(filenames, windows, strict=True))

    def crop(self, im, window):
        """Cut a window out of an H x W x K image; with context, it has the input's size."""
        ymin, xmin, ymax, xmax = box = np.array(window).astype(int)
        inside = im[max(ymin, 0):max(ymax, 0), max(xmin, 0):max(xmax, 0)]
        if inside.size == 0:
            raise InputError(f'the window {box.tolist()} (ymin, xmin, ymax, xmax) has no pixels '
                             f'of an image of {im.shape[0]} x {im.shape[1]}')
        return self._with_context(im, box[:2], box[2:]) if self.context_pad else inside

    def _with_context(self, im, low, high):
        size = self.blobs[self.inputs[0]].width
        half = (high - low + 1) / 2
        reach = half * size / (size - 2 * self.context_pad)
        low, high = np.round(low + half - reach), np.round(low + half + reach)
        scale = size / (high - low + 1)
        pad = np.round(np.maximum(0, -low) * scale).astype(int)     # pixels outside the image
        low, high = (np.clip(corner, 0, im.shape[:2]).astype(int) for corner in (low, high))
        dims = np.minimum(np.round((high - low + 1) * scale).astype(int), size - pad)
        result = self.crop_mean.copy()
        result[pad[0]:pad[0] + dims[0], pad[1]:pad[1] + dims[1]] = resize_image(
            im[low[0]:high[0], low[1]:high[1]], dims)
        return result

    def configure_crop(self, context_pad):
        """Set `context_pad` (None for windows without context) and the mean used for padding."""
        in_ = self.inputs[0]
        shape = self.blobs[in_].shape[1:]
        back = np.argsort(self.transformer.transpose[in_])
        self.crop_dims = np.array(shape)[back]
        self.context_pad = context_pad
        if not context_pad:
            return
        if shape[1] != shape[2] or not 0 < 2 * context_pad < shape[2]:
            raise InputError(f'context_pad {context_pad} needs a square input wider than '
                             f'{2 * context_pad}, not {shape[1]} x {shape[2]}')
        # the mean of images as they are before preprocessing
        mean = self.transformer.mean.get(in_, np.zeros(1))
        mean = np.broadcast_to(mean, shape).transpose(back)
        if in_ in self.transformer.channel_swap:
            mean = mean[:, :, np.argsort(self.transformer.channel_swap[in_])]
        self.crop_mean = (mean / self.transformer.raw_scale.get(in_, 1)).astype(np.float32)
