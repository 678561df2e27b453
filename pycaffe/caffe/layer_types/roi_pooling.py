"""ROIPooling of Fast R-CNN (Girshick, 2015)."""

import numpy as np
import torch

from ..errors import CaffeError
from ..layer import TensorLayer, register


@register
class ROIPooling(TensorLayer):
    """The maximum of each of pooled_h x pooled_w bins of each region.

    Bottoms: features (B x C x H x W) and regions (R x 5, or any shape of that count: image index,
    x1, y1, x2, y2 in image pixels, corners inclusive). The corners times `spatial_scale` are
    rounded to cells, a region has at least one cell, and an empty bin gives 0.
    """
    bottom_count = (2, 2)

    def setup(self, bottom, top):
        param = self.layer_param.roi_pooling_param
        if param.pooled_h < 1 or param.pooled_w < 1:
            raise CaffeError('pooled_h and pooled_w must be positive')

    def shape(self, features, rois):
        param = self.layer_param.roi_pooling_param
        if len(features) != 4:
            raise CaffeError(f'the features must have 4 axes, not the shape {features}')
        if rois[-1] != 5:
            raise CaffeError(f'a region has 5 numbers, the second bottom is {rois}')
        return [(int(np.prod(rois)) // 5, features[1], param.pooled_h, param.pooled_w)]

    def compute(self, features, rois):
        param = self.layer_param.roi_pooling_param
        rois = rois.detach().reshape(-1, 5).cpu().numpy().astype(np.float32)
        images, _, height, width = features.shape
        index = rois[:, 0].astype(int)
        if len(index) and not 0 <= index.min() <= index.max() < images:
            raise CaffeError(f'the regions name images {index.min()} to {index.max()} '
                             f'of a batch of {images}')
        corners = np.floor(rois[:, 1:] * np.float32(param.spatial_scale) + np.float32(0.5))
        x1, y1, x2, y2 = corners.astype(int).T
        rows = _bins(y1, y2, param.pooled_h, height)
        columns = _bins(x1, x2, param.pooled_w, width)
        y = features.new_zeros(len(rois), features.shape[1], param.pooled_h, param.pooled_w)
        for r, image in enumerate(index):
            for i, (top, bottom) in enumerate(rows[r]):
                for j, (left, right) in enumerate(columns[r]):
                    if top < bottom and left < right:
                        y[r, :, i, j] = features[image, :, top:bottom, left:right].amax((1, 2))
        return y


def _bins(first, last, count, length):
    """Start and end (exclusive) of `count` bins in cells first .. last, inside 0 .. length.

    Arrays of R regions in, R x count x 2 out; in float32, whose rounding decides the cells.
    """
    size = np.maximum(last - first + 1, 1).astype(np.float32) / np.float32(count)
    steps = np.arange(count, dtype=np.float32)
    start = np.floor(steps * size[:, None]).astype(int) + first[:, None]
    end = np.ceil((steps + 1) * size[:, None]).astype(int) + first[:, None]
    return np.clip(np.stack([start, end], -1), 0, length)
