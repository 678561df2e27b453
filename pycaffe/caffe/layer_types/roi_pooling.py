"""ROIPooling of Fast R-CNN (Girshick, 2015)."""

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import CaffeError
from ..layer import TensorLayer, register


@register
class ROIPooling(TensorLayer):
    """The maximum in each of the pooled_h x pooled_w bins of each region.

    Bottoms: features (B x C x H x W) and regions (R x 5, or any shape of that count: image index,
    x1, y1, x2, y2 in image pixels, corners inclusive). The corners times `spatial_scale` are
    rounded to cells, a region has at least one cell, and an empty bin gives 0.
    """
    repeatable = True
    bottom_count = (2, 2)
    no_gradient = (1,)

    def setup(self, bottom, top):
        param = self.layer_param.roi_pooling_param
        if param.pooled_h < 1 or param.pooled_w < 1:
            raise CaffeError('pooled_h and pooled_w must be positive')

    def shape(self, features, rois):
        param = self.layer_param.roi_pooling_param
        if len(features) != 4:
            raise CaffeError(f'the features must have 4 axes, not the shape {features}')
        if rois[-1] != 5:
            raise CaffeError(f'the second bottom must have 5 numbers per region, not shape {rois}')
        return [(int(np.prod(rois)) // 5, features[1], param.pooled_h, param.pooled_w)]

    def compute(self, features, rois):
        param = self.layer_param.roi_pooling_param
        rois = rois.detach().reshape(-1, 5).cpu().numpy().astype(np.float32)
        images, channels, height, width = features.shape
        index = rois[:, 0].astype(int)
        if len(index) and not 0 <= index.min() <= index.max() < images:
            raise CaffeError(f'the regions refer to images {index.min()} to {index.max()} '
                             f'of a batch of {images}')
        corners = np.floor(rois[:, 1:] * np.float32(param.spatial_scale) + np.float32(0.5))
        x1, y1, x2, y2 = corners.astype(int).T
        bins = np.empty((len(rois), param.pooled_h, param.pooled_w, 5), int)
        bins[..., 0] = index[:, None, None]
        bins[..., 1:3] = _bins(y1, y2, param.pooled_h, height)[:, :, None]
        bins[..., 3:5] = _bins(x1, x2, param.pooled_w, width)[:, None]
        maps = features.permute(0, 2, 3, 1)     # comparing is faster with channels last
        with torch.no_grad():
            cell = _largest_cells(maps.contiguous(), bins.reshape(-1, 5))
        channel = torch.arange(channels, device=cell.device)
        y = maps.reshape(-1, channels)[cell.clamp(min=0), channel].where(cell >= 0, 0)
        return y.reshape(*bins.shape[:3], channels).permute(0, 3, 1, 2)


def _largest_cells(maps, bins):
    """Return the cell of each channel's first maximum in each bin, bins x C.

    maps : B x H x W x C
    bins : (image, top, bottom, left, right) of each bin
    Cells are numbered through all images; -1 stands for an empty bin.
    """
    _, height, width, channels = maps.shape
    cells = torch.full((len(bins), channels), -1, device=maps.device)
    windows, kind = np.unique(bins[:, 1:], axis=0, return_inverse=True)
    for i, (top, bottom, left, right) in enumerate(windows.tolist()):
        rows, columns = bottom - top, right - left
        if rows < 1 or columns < 1:
            continue
        same = np.flatnonzero(kind.reshape(-1) == i)
        images = bins[same, 0]
        stack = maps.new_empty(len(same), rows, columns, channels)
        for copy, image in zip(stack, images.tolist(), strict=True):
            copy.copy_(maps[image, top:bottom, left:right])     # much faster than maps[images, ...]
        # max_pool2d is several times as fast as argmax
        place = F.max_pool2d(stack.permute(0, 3, 1, 2), (rows, columns), return_indices=True)[1]
        place = place.flatten(1)
        first = torch.from_numpy((images[:, None] * height + top) * width + left).to(maps.device)
        cells[torch.from_numpy(same)] = first + place // columns * width + place % columns
    return cells


def _bins(first, last, count, length):
    """Return start and end (exclusive) of `count` bins in cells first .. last, within 0 .. length.

    first, last : arrays of R regions
    Returns R x count x 2. Computed in float32 as in Caffe, because rounding decides the cells.
    """
    size = np.maximum(last - first + 1, 1).astype(np.float32) / np.float32(count)
    steps = np.arange(count, dtype=np.float32)
    start = np.floor(steps * size[:, None]).astype(int) + first[:, None]
    end = np.ceil((steps + 1) * size[:, None]).astype(int) + first[:, None]
    return np.clip(np.stack([start, end], -1), 0, length)
