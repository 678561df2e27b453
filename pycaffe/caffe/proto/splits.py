"""Insert Split layers where several layers read one blob (insert_splits.cpp).

A `loss_weight` counts as a reader: it moves to the first top of the Split. Caffe shows the Splits
in `net.blobs` and `net.layers`, so their names are part of its interface.
"""

from collections import defaultdict

from ..errors import CaffeError
from . import caffe_pb2


def insert_splits(layers):
    """Return the LayerParameters, with a Split after each top that more than one bottom reads.

    Raises CaffeError for a bottom that no earlier layer produces.
    """
    readers = defaultdict(list)     # (layer, top) -> the (layer, bottom) that read it
    makers = {}                     # blob name -> the (layer, top) that wrote it last
    for i, layer in enumerate(layers):
        for j, name in enumerate(layer.bottom):
            if name not in makers:
                raise CaffeError(
                    f'layer {layer.name!r}: no earlier layer produces its bottom {name!r}')
            readers[makers[name]].append((i, j))
        for j, name in enumerate(layer.top):
            makers[name] = (i, j)

    result = []
    renamed = {}                    # (layer, bottom) -> the split's top it reads
    for i, layer in enumerate(layers):
        copy = caffe_pb2.LayerParameter()
        copy.CopyFrom(layer)
        for j in range(len(copy.bottom)):
            copy.bottom[j] = renamed.get((i, j), copy.bottom[j])
        result.append(copy)
        for j, name in enumerate(layer.top):
            places = readers[i, j]
            weight = layer.loss_weight[j] if j < len(layer.loss_weight) else 0
            if len(places) + bool(weight) > 1:
                stem = f'{name}_{layer.name}_{j}_split'
                tops = [f'{stem}_{k}' for k in range(len(places) + bool(weight))]
                renamed.update(zip(places, tops[bool(weight):], strict=True))
                split = caffe_pb2.LayerParameter(name=stem, type='Split', bottom=[name], top=tops)
                if weight:
                    split.loss_weight.extend([weight] + [0] * len(places))
                    copy.loss_weight[j] = 0
                    if not any(copy.loss_weight):
                        del copy.loss_weight[:]     # a loss then gets its default, as in Caffe
                result.append(split)
    return result
