"""An imported net: its files, and its difference from the source."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2

from deep_retrieval.model import info_path, write_info
from deep_retrieval.surgery import nets

TOLERANCE = 1e-4                            # of the largest value
SIZES = ((97, 130), (128, 96), (161, 161))  # height and width of the random images


@dataclasses.dataclass(frozen=True)
class Imported:
    """A deploy net, its weights, and how to use them.

    net : NetParameter. weights : dict of str to list of ndarray. map : blob of the last feature
    map, or None. blob : blob of the descriptor. mean : B, G, R that is subtracted from the image.
    dimension : of the descriptor. stride : pixels per cell of the map. source : what it was made
    from. L : levels of the rigid grid; 0 for nets that do not read the regions. checked : the
    framework that it was compared with, and the largest difference; None without one.
    """

    net: caffe_pb2.NetParameter
    weights: nets.Weights
    map: str | None
    blob: str
    mean: tuple[float, ...]
    dimension: int
    stride: int
    source: str
    L: int = 0
    checked: tuple[str, float] | None = None

    def save(self, output: str | os.PathLike, S: int, licence: str | None = None,
             output_proto: str | os.PathLike | None = None) -> None:
        """Write prototxt, caffemodel and json.

        Parameters
        ----------
        output : path of the caffemodel
            The json lies beside it.
        S : recommended longer side of images in pixels
        licence : of the weights, for the json
        output_proto : path of the prototxt; by default beside the caffemodel

        Raises
        ------
        ValueError
            S is below the net's stride.
        """
        if S < self.stride:
            raise ValueError(f'images of {S} pixels are smaller than the stride of the net, '
                             f'{self.stride} pixels')
        proto = Path(output_proto or os.path.splitext(output)[0] + '.prototxt')
        nets.save_weights(output, self.net, self.weights)
        nets.write_net(proto, self.net)
        folder = Path(info_path(output)).absolute().parent
        net = os.path.relpath(proto.absolute(), folder)
        values = dict(net=net, blob=self.blob, mean=list(self.mean), scale=1, colour='BGR', S=S,
                      L=self.L, dimension=self.dimension, source=self.source, licence=licence)
        write_info(output, **{key: value for key, value in values.items() if value is not None})

    def run(self, bgr: np.ndarray, blob: str | None = None) -> np.ndarray:
        """Return a blob, by default the descriptor, for images (B x 3 x H x W; B, G, R, 0 to 255).
        """
        from region_generator import get_rmac_region_coordinates, pack_regions_for_network
        built = nets.build(self.net, self.weights)
        regions = get_rmac_region_coordinates(*bgr.shape[2:], self.L)
        inputs = {'data': bgr - np.array(self.mean, np.float32)[:, None, None],
                  'rois': pack_regions_for_network([regions] * len(bgr))}
        for name, array in inputs.items():
            built.blobs[name].reshape(*array.shape)
            built.blobs[name].data[...] = array
        built.forward(end=self._layer_of(blob or self.blob))
        return built.blobs[blob or self.blob].data.copy()

    def _layer_of(self, blob):
        """The last layer that writes a blob; others may follow in place."""
        return [layer.name for layer in self.net.layer if blob in layer.top][-1]


def difference(made: Imported, source: Callable[[np.ndarray], np.ndarray], blob: str | None = None,
               sizes: Sequence[tuple[int, int]] = SIZES) -> float:
    """Return the largest difference from the source on random images.

    Parameters
    ----------
    made : Imported
    source : function of images, B x 3 x H x W, R G B from 0 to 255
    blob : the blob that `source` returns, by default the descriptor
    sizes : (height, width) of the images

    Returns
    -------
    float
        Relative to the largest absolute value of the source's array.

    Raises
    ------
    ValueError
        The difference exceeds TOLERANCE, or the arrays have different shapes.
    """
    largest = 0.0
    for size in sizes:
        bgr = np.random.default_rng(sum(size)).integers(0, 256, (1, 3, *size)).astype(np.float32)
        theirs, ours = np.asarray(source(bgr[:, ::-1].copy())), made.run(bgr, blob)
        if theirs.size != ours.size:
            raise ValueError(f'{made.source}: at {size[0]} x {size[1]} pixels the source gives '
                             f'{theirs.shape}, the imported net {ours.shape}')
        error = np.abs(ours - theirs.reshape(ours.shape)).max() / np.abs(theirs).max()
        largest = max(largest, float(error))
        if not error <= TOLERANCE:
            raise ValueError(f'{made.source}: the imported net differs from the source by '
                             f'{error:.2g} at {size[0]} x {size[1]} pixels')
    return largest


def normalized(rgb: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Return R, G, B from 0 to 255 as PyTorch nets take them: from 0 to 1, less mean, over std."""
    mean, std = (np.array(values, np.float64)[:, None, None] for values in (mean, std))
    return ((rgb / 255 - mean) / std).astype(np.float32)


def folded_input(weight: np.ndarray, std: Sequence[float]) -> np.ndarray:
    """Return the first convolution for B, G, R from 0 to 255 instead of R, G, B from 0 to 1.

    Parameters
    ----------
    weight : N x 3 x H x W
    std : R, G, B that the source divides its input by

    Raises
    ------
    ValueError
        A deviation is not positive, or the convolution does not take three channels.
    """
    if min(std) <= 0:
        raise ValueError(f'the deviations {tuple(std)} must be above 0')
    if weight.ndim != 4 or weight.shape[1] != 3:
        raise ValueError(f'the first convolution has the shape {weight.shape}, but must take 3 '
                         'channels')
    scale = 255 * np.array(std, np.float64)[:, None, None]
    return np.ascontiguousarray((weight / scale)[:, ::-1].astype(np.float32))


def input_mean(mean: Sequence[float]) -> tuple[float, ...]:
    """Return B, G, R from 0 to 255 of a mean R, G, B from 0 to 1."""
    return tuple(255 * float(value) for value in reversed(mean))
