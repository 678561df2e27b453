"""Kernels, strides and padding of ONNX's convolutions and pooling, in Caffe's terms."""

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import numpy as np

# Pairs for height and width; `begin` and `end` are the zeros before and behind the map.
Geometry = namedtuple('Geometry', 'kernel strides begin end dilations')


def geometry(node: Any, kernel: Sequence[int]) -> Geometry:
    """Return the Geometry of a node with a kernel of two sides.

    Padding to the same size is known for a stride of 1; for others it depends on the image's size,
    and is refused.
    """
    kernel = tuple(int(side) for side in kernel)
    if len(kernel) != 2:
        node.refuse(f'its kernel {kernel} must have two dimensions')
    attributes = node.attributes
    strides, dilations = (tuple(attributes.get(name, (1, 1))) for name in ('strides', 'dilations'))
    auto = attributes.get('auto_pad', b'NOTSET').decode()
    pads = tuple(attributes.get('pads', (0, 0, 0, 0)))
    begin, end = pads[:2], pads[2:]
    if auto in ('SAME_UPPER', 'SAME_LOWER'):
        if strides != (1, 1):
            node.refuse(f'auto_pad {auto} with a stride depends on the size of the image and '
                        'cannot be imported')
        total = [step * (side - 1) for side, step in zip(kernel, dilations, strict=True)]
        less, more = tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)
        begin, end = (less, more) if auto == 'SAME_UPPER' else (more, less)
    elif auto == 'VALID':
        begin = end = (0, 0)
    if min((*begin, *end)) < 0:
        node.refuse('negative padding cannot be imported')
    return Geometry(kernel, strides, begin, end, dilations)


def grown(node: Any, weight: np.ndarray, place: Geometry) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a kernel and even padding that give the same as uneven padding.

    The side with less padding gets as many rows of zeros in the kernel as it lacks.
    """
    rows, pads = [(0, 0), (0, 0)], []
    for begin, end, step in zip(place.begin, place.end, place.dilations, strict=True):
        lacking, remainder = divmod(abs(end - begin), step)
        if remainder:
            node.refuse(f'padding {begin} and {end} with the dilation {step} cannot be imported')
        rows.append((lacking, 0) if begin < end else (0, lacking))
        pads.append(max(begin, end))
    return np.pad(weight, rows), tuple(pads)


def sides(pair: Sequence[int]) -> list[int]:
    """Return a pair as Caffe's repeated fields have it: one number if both are equal."""
    return sorted(set(pair)) if pair[0] == pair[1] else list(pair)


def average_is_caffes(node: Any, place: Geometry) -> bool:
    """Return whether the padding counts in the mean, as in Caffe, or there is none."""
    return not any(place.begin) or bool(node.attributes.get('count_include_pad'))
