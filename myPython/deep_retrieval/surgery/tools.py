"""The subcommands of model_tools.py, as functions of files that write files or return values.

    tools = ModelTools('proto/deploy_resnet101.prototxt', 'caffemodel/model.caffemodel')
    tools.check_blob_shape()['conv1[0]']        # (64, 3, 7, 7)
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2

from deep_retrieval import store
from deep_retrieval.surgery import branches, nets, report
from deep_retrieval.surgery.clip import clip
from deep_retrieval.surgery.fold import fold as fold_net

File = str | os.PathLike


class ModelTools:
    """The original's class, with the same methods.

    Parameters
    ----------
    proto : path of the net's prototxt
    weights : path of its caffemodel, optional
    """

    def __init__(self, proto: File | None, weights: File | None = None):
        self.proto, self.weights = proto, weights

    def check_blob_shape(self) -> dict[str, tuple]:
        """Return the shape of each blob and parameter by name; see `report.shapes`."""
        return report.shapes(self.proto)

    def check_blob_data(self, layers: Sequence[str] = (), **image) -> list[tuple[str, dict]]:
        """Return statistics of the layers' parameters and of their blobs; see `report.data`."""
        return report.data(self.proto, self.weights, layers, **image)

    def compare_model(self, other_proto: File) -> dict[str, list[str]]:
        """Return the layers with parameters that differ; see `nets.compare`."""
        return nets.compare(self._net(), nets.read_net(other_proto))

    def remove_learning_params(self, new_proto: File) -> None:
        """Write the net without any `param`."""
        nets.write_net(new_proto, nets.strip(self._net()))

    def add_learning_params(self, new_proto: File, l: str | None = None, h: str | None = None
                            ) -> None:
        """Write the net with lr_mult 0 from layer `l` to layer `h`; see `nets.freeze`."""
        nets.write_net(new_proto, nets.freeze(self._net(), l, h))

    def make_teacher_network(self, new_proto: File, **size) -> None:
        """Write the net at three resolutions, l_, m_ and h_; see `branches.make_teacher`."""
        nets.write_net(new_proto, branches.make_teacher(self._net(), **size))

    def save_teacher_network_weights(self, teacher_proto: File, caffemodel: File) -> None:
        """Write the weights for a net that consists of copies of this one."""
        copies = nets.read_net(teacher_proto)
        weights = branches.branch_weights(copies, nets.load_weights(self.weights))
        nets.save_weights(caffemodel, copies, weights)

    def make_triplet_network(self, new_proto: File, **options) -> None:
        """Write three copies of the net (no prefix, p_ and n_); see `branches.make_triplet`."""
        nets.write_net(new_proto, branches.make_triplet(self._net(), **options))

    def clip_blob_data(self, layer: str, dim: int, rows: Sequence[int] | None = None
                       ) -> list[np.ndarray]:
        """Return the parameters of the InnerProduct `layer` with `dim` outputs."""
        weights = nets.load_weights(self.weights)
        return clip(self._net(), weights, layer, dim, 'new', rows)[1]['new']

    def assign_blob_data(self, layers: Sequence[str], new_layers: Sequence[str],
                         new_proto: File, new_weights: File, dim: int,
                         rows: Sequence[int] | None = None, mix: np.ndarray | None = None) -> None:
        """Write net and weights in which each of `layers` has `dim` outputs and a new name.

        See `clip.clip` for `rows` and `mix`.
        """
        net, weights = self._net(), nets.load_weights(self.weights)
        for layer, new_layer in zip(layers, new_layers, strict=True):
            net, weights = clip(net, weights, layer, dim, new_layer, rows, mix)
        write(new_proto, new_weights, net, weights)

    def _net(self):
        return nets.read_net(self.proto)


def write(proto: File, path: File, net: caffe_pb2.NetParameter, weights: nets.Weights) -> None:
    """Write a net and its weights."""
    nets.save_weights(path, net, weights)
    nets.write_net(proto, net)


def clip_layer(proto: File, weights: File, output_proto: File, output: File, *,
               layer: str = 'pooled_rois/pca', new_layer: str | None = None, dim: int = 512,
               rows: File | None = None, mix_weights: File | None = None,
               mix_layer: str = 'pooled_rois/reduce') -> None:
    """Write net and weights in which the InnerProduct `layer` has fewer outputs.

    Parameters
    ----------
    proto, weights, output_proto, output : paths
    layer, new_layer : the layer, and its new name; by default LAYER_DIM
    dim : number of outputs to keep, the first ones
    rows : text file with the indices of the outputs to keep, instead of `dim`
    mix_weights, mix_layer : caffemodel and its InnerProduct, whose rows are the new outputs as
        mixtures of the old ones, instead of `dim`
    """
    kept = None if rows is None else read_integers(rows)
    mix = None if mix_weights is None else read_mixtures(mix_weights, mix_layer)
    chosen = kept if mix is None else mix
    dim = dim if chosen is None else len(chosen)
    ModelTools(proto, weights).assign_blob_data(
        [layer], [new_layer or f'{layer}_{dim}'], output_proto, output, dim, kept, mix)


def fold(proto: File, weights: File, output_proto: File, output: File) -> tuple[int, int]:
    """Write the net with BatchNorm and Scale folded into the convolutions.

    Returns
    -------
    folded, left : numbers of layers
    """
    net, arrays, gone = fold_net(proto, weights)
    write(output_proto, output, net, arrays)
    return len(gone), len(net.layer)


def import_torch(proto: File, state_dict: File, output_proto: File, output: File,
                 mean: Sequence[float], std: Sequence[float]) -> list[str]:
    """Convert a PyTorch ResNet to a net and weights; return the names of unused tensors.

    See `torch_import.convert` for `mean` and `std`.
    """
    from deep_retrieval.surgery.torch_import import convert, read_state_dict
    net, state = nets.read_net(proto), read_state_dict(state_dict)
    try:
        net, weights, unused = convert(net, state, mean, std)
    except ValueError as error:
        raise ValueError(f'{state_dict}: {error}') from error
    write(output_proto, output, net, weights)
    return unused


def export_onnx(proto: File, weights: File, end: str, output: File) -> None:
    """Export a deploy net, up to the blob `end`, to ONNX."""
    from deep_retrieval.surgery import onnx_export
    model = onnx_export.export(proto, weights, end)
    store.write(output, model.SerializeToString(deterministic=True))


def read_integers(path: File) -> list[int]:
    """Read the integers in a text file, separated by spaces or line breaks."""
    with store.reading(path, 'a list of integers'):
        return [int(word) for word in Path(path).read_text().split()]


def read_mixtures(path: File, layer: str) -> np.ndarray:
    """Read the weights of an InnerProduct layer of a caffemodel: M x N."""
    weights = nets.load_weights(path)
    if layer not in weights or weights[layer][0].ndim != 2:
        raise ValueError(f'{path}: has no InnerProduct layer {layer!r}')
    return weights[layer][0]
