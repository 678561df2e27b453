"""Map coordinates between the tops of a NetSpec, and compute the Crop layer that aligns them.

A map (axis, scale, shift) takes coordinate x to scale * x + shift, along the blob's axes after
`axis`; scale and shift are arrays if they differ between axes. (None, 1, 0) is the identity.

    from caffe.coord_map import crop
    n.score = crop(n.upscore, n.data)
"""

import numpy as np

from .errors import CaffeError
from .net_spec import layers as L

PASS_THROUGH_LAYERS = ['AbsVal', 'BatchNorm', 'Bias', 'BNLL', 'Dropout', 'Eltwise', 'ELU', 'Log',
                       'LRN', 'Exp', 'MVN', 'Power', 'ReLU', 'PReLU', 'Scale', 'Sigmoid', 'Split',
                       'TanH', 'Threshold']
IDENTITY = (None, 1, 0)


class UndefinedMapException(CaffeError):
    """A layer has no coordinate map."""


class AxisMismatchException(CaffeError):
    """Two maps begin at different axes."""


class CoordMapError(CaffeError, AssertionError):
    """Coordinates cannot be mapped or cropped; an AssertionError too, as in pycaffe."""


def conv_params(fn):
    """Return (axis, stride, dilated kernel size, pad) of a layer with a kernel."""
    params = fn.params.get('convolution_param') or fn.params.get('pooling_param') or fn.params
    legacy = {'pad_h', 'pad_w', 'kernel_h', 'kernel_w', 'stride_h', 'stride_w'} & set(params)
    if legacy or 'kernel_size' not in params:
        raise CoordMapError(f'{fn.type_name}: mapping takes kernel_size, stride and pad, '
                            f'not {", ".join(sorted(legacy)) or "without a kernel_size"}')
    kernel, dilation, stride, pad = (
        np.array(params.get(name, default), ndmin=1)
        for name, default in (('kernel_size', None), ('dilation', 1), ('stride', 1), ('pad', 0)))
    return params.get('axis', 1), stride, (kernel - 1) * dilation + 1, pad


def crop_params(fn):
    """Return (axis, offset) of a Crop layer."""
    params = fn.params.get('crop_param', fn.params)
    return params.get('axis', 2), np.array(params.get('offset', 0), ndmin=1)


def coord_map(fn):
    """Return the map from the bottom of a layer (a Function) to its top."""
    if fn.type_name in ('Convolution', 'Pooling', 'Im2col'):
        axis, stride, kernel, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (kernel - 1) / 2) / stride
    if fn.type_name == 'Deconvolution':
        axis, stride, kernel, pad = conv_params(fn)
        return axis, stride, (kernel - 1) / 2 - pad
    if fn.type_name in PASS_THROUGH_LAYERS:
        return IDENTITY
    if fn.type_name == 'Crop':
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset     # axis: the last one before the cropped axes
    raise UndefinedMapException(f'{fn.type_name} has no coordinate map')


def compose(base_map, next_map):
    """Return the map that applies `next_map` first, then `base_map`.

    >>> compose((1, 2, 1), (1, 3, 5))       # 2 (3 x + 5) + 1
    (1, 6, 11)
    """
    axis, scale, shift = base_map
    next_axis, next_scale, next_shift = next_map
    if axis is None:
        axis = next_axis
    elif next_axis not in (None, axis):
        raise AxisMismatchException(f'maps of axis {axis} and axis {next_axis} cannot be composed')
    return axis, scale * next_scale, scale * next_shift + shift


def inverse(coord_map):
    """Return the inverse map.

    >>> inverse((1, 2, 3))
    (1, 0.5, -1.5)
    """
    axis, scale, shift = coord_map
    return axis, 1 / scale, -shift / scale


def coord_map_from_to(top_from, top_to):
    """Return the map from one top's coordinates to another's, through a common ancestor."""
    from_maps = dict(_ancestors(top_from))
    for top, to_map in _ancestors(top_to):
        if top in from_maps:
            return compose(to_map, inverse(from_maps[top]))
    raise CaffeError('the tops have no common ancestor through layers that map coordinates')


def _ancestors(top):
    """Yield each ancestor of `top`, itself first, with the map from that ancestor to `top`."""
    maps = {top: IDENTITY}
    frontier = [top]
    while frontier:
        top = frontier.pop()
        yield top, maps[top]
        # a Crop's second bottom gives only the size
        bottoms = top.fn.inputs[:1] if top.fn.type_name == 'Crop' else top.fn.inputs
        for bottom in bottoms:
            if bottom in maps:
                continue
            try:
                maps[bottom] = compose(maps[top], coord_map(top.fn))
            except UndefinedMapException:
                break       # ancestors beyond are reached through other layers or not at all
            frontier.append(bottom)


def crop(top_from, top_to):
    """Return a Crop layer that cuts out of `top_from` the area that `top_to` covers."""
    axis, scale, shift = coord_map_from_to(top_from, top_to)
    offset = -np.atleast_1d(shift)
    if not np.all(scale == 1):
        raise CoordMapError(f'only a top of equal scale can be cropped, not one of {scale}')
    if not np.all(offset >= 0):
        raise CoordMapError(f'a crop cannot begin before its bottom, at {offset}')
    if not np.all(offset == np.round(offset)):
        raise CoordMapError(f'a crop cannot begin between pixels, at {offset}')
    axis = 2 if axis is None else axis + 1      # the first cropped; None: only pointwise layers
    return L.Crop(top_from, top_to, crop_param=dict(axis=axis, offset=[int(x) for x in offset]))
