"""Read and check the parameters of the nets' Python layers; helpers shared by these layers."""

from collections.abc import Sequence

import caffe
import numpy as np
import yaml


class ConstantLayer(caffe.Layer):
    """Base of layers without gradients."""

    def backward(self, top: Sequence, propagate_down: Sequence[bool], bottom: Sequence) -> None:
        for i, wanted in enumerate(propagate_down):
            if wanted:
                bottom[i].diff[...] = 0


def as_list(blobs: Sequence) -> list:
    """Return bottoms or tops as a list: those of genuine pycaffe cannot be iterated over."""
    return [blobs[i] for i in range(len(blobs))]


def param_values(param_str: str, owner: str) -> dict:
    """Return the dict in a Python layer's `param_str`, which is YAML; empty without one.

    Raises
    ------
    ValueError
        The text is not a dict in YAML; the message begins with `owner`.
    """
    try:
        values = yaml.safe_load(param_str or '{}') or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = ' '.join(str(error).split())
        raise ValueError(f'{owner}: param_str is not YAML: {reason}') from None
    if not isinstance(values, dict):
        raise ValueError(f'{owner}: param_str must be a dict; it is {param_str}')
    return values


def parameters(layer: caffe.Layer, *required: str, **optional) -> dict:
    """Return the dict in a Python layer's `param_str`, with the defaults of `optional`.

    Parameters
    ----------
    layer : caffe.Layer
    required : required keys
    optional : optional keys with their defaults

    Raises
    ------
    ValueError
        The text is not a dict in YAML, lacks a required key, or has an unknown one.
    """
    name, text = type(layer).__name__, getattr(layer, 'param_str', '')
    values = param_values(text, name)
    if not set(required) <= set(values) <= {*required, *optional}:
        raise ValueError(f'{name}: param_str must be a dict with '
                         f'{", ".join(required) or "nothing"}, and may have '
                         f'{", ".join(optional) or "nothing else"}; it is {text}')
    return {**optional, **values}


def check_counts(layer: caffe.Layer, bottom: Sequence, top: Sequence, bottoms: Sequence[int],
                 tops: int = 1) -> None:
    """Raise ValueError unless a layer has `tops` tops, and as many bottoms as one of `bottoms`."""
    if len(bottom) not in bottoms or len(top) != tops:
        raise ValueError(f'{type(layer).__name__} takes {" or ".join(map(str, bottoms))} bottoms '
                         f'and {tops} top, not {len(bottom)} and {len(top)}')


def integer(layer: caffe.Layer, key: str, value: object, least: int = 1) -> int:
    """Return `value` if it is an integer of at least `least`; otherwise raise ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        wanted = 'a positive integer' if least == 1 else f'an integer of at least {least}'
        raise ValueError(f'{type(layer).__name__}: {key} must be {wanted}, not {value!r}')
    return value


def positive(layer: caffe.Layer, key: str, value: object) -> float:
    """Return `value` if it is a positive, finite number; otherwise raise ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < np.inf:
        raise ValueError(f'{type(layer).__name__}: {key} must be a positive number, not {value!r}')
    return float(value)


def channel_mean(layer: caffe.Layer, value: object, channels: int = 3) -> np.ndarray:
    """Return `value`, one number per channel, as channels x 1 x 1 float32; ValueError otherwise."""
    try:
        mean = np.array(value, np.float32)
    except (TypeError, ValueError):
        mean = np.zeros(0)
    if mean.shape != (channels,):
        raise ValueError(f'{type(layer).__name__}: mean must be {channels} numbers, not {value!r}')
    return mean[:, None, None]
