"""What the nets' Python layers have in common: their parameters, and how these are checked."""

import caffe
import numpy as np
import yaml


class ConstantLayer(caffe.Layer):
    """Base of layers that no gradient passes."""

    def backward(self, top, propagate_down, bottom):
        for blob, wanted in zip(as_list(bottom), propagate_down):
            if wanted:
                blob.diff[...] = 0


def as_list(blobs):
    """Bottoms or tops as a list: genuine pycaffe's can be indexed, but not looped over."""
    return [blobs[i] for i in range(len(blobs))]


def parameters(layer, *required, **optional):
    """The dict in a Python layer's `param_str`, which is YAML, with the defaults of `optional`.

    ValueError where a required key is missing or a key is none of these.
    """
    name = type(layer).__name__
    try:
        values = yaml.safe_load(getattr(layer, 'param_str', '') or '{}') or {}
    except yaml.YAMLError as error:
        raise ValueError(f'{name}: param_str is no YAML: {" ".join(str(error).split())}') from None
    known = {*required, *optional}
    if not isinstance(values, dict) or not set(required) <= set(values) <= known:
        raise ValueError(f'{name}: param_str must be a dict with '
                         f'{", ".join(required) or "nothing"}, and may have '
                         f'{", ".join(optional) or "nothing else"}; it is {layer.param_str}')
    return {**optional, **values}


def check_counts(layer, bottom, top, bottoms, tops=1):
    """Raise ValueError unless the layer has one of the numbers of bottoms, and `tops` tops."""
    if len(bottom) not in bottoms or len(top) != tops:
        raise ValueError(f'{type(layer).__name__} takes {" or ".join(map(str, bottoms))} bottoms '
                         f'and {tops} top, not {len(bottom)} and {len(top)}')


def integer(layer, key, value, least=1):
    """`value` if it is an integer from `least` on; else ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        wanted = 'a positive integer' if least == 1 else f'an integer from {least} on'
        raise ValueError(f'{type(layer).__name__}: {key} must be {wanted}, not {value!r}')
    return value


def channel_mean(layer, value, channels=3):
    """`value`, a number a channel, as channels x 1 x 1 float32; else ValueError."""
    try:
        mean = np.array(value, np.float32)
    except (TypeError, ValueError):
        mean = np.zeros(0)
    if mean.shape != (channels,):
        raise ValueError(f'{type(layer).__name__}: mean must be {channels} numbers, not {value!r}')
    return mean[:, None, None]
