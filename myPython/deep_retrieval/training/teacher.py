"""Describe the images of a folder with a teacher net, for students to learn.

    teach('datasets/landmark/clean', 'teacher.prototxt', 'teacher.caffemodel',
          'features.npy', 'features.txt')

Row i of the features (N x D float32) belongs to the i-th image by name. The row of a damaged image
is NaN, and the image is not in the list. The list has one line `NAME ROW` per image; from it,
`student_data.make_lmdb` makes an LMDB whose labels are the rows for FeatureLayer to look up.
"""

import os
from collections.abc import Callable, Sequence

import caffe
import numpy as np
from caffe.proto import caffe_pb2

from deep_retrieval import store
from deep_retrieval.extraction import Item, extract, extract_scales, images_of
from deep_retrieval.images import MEAN, ImageError, read_image, to_blob
from deep_retrieval.model import END as DEPLOY_END
from deep_retrieval.model import DescriptorNet, check_file, check_weights, check_weights_file
from deep_retrieval.training.settings import read_prototxt

END = 'rmac/eltwise/normalized'     # layer and blob of a teacher's descriptor


def longer_side(items: Sequence[Item], skip_bad: bool = False) -> int:
    """Return the longer side in pixels of the first image that can be read.

    Images of that size are not resized.

    Raises
    ------
    ImageError
        The first image is damaged, and `skip_bad` is False.
    ValueError
        No image can be read.
    """
    for item in items:
        try:
            return max(read_image(item.path).shape[:2])
        except ImageError:
            if not skip_bad:
                raise
    raise ValueError(f'none of the {len(items)} images can be read')


class TeacherNet:
    """A net that makes its own regions: it has an input `data` and one descriptor per image.

    Called with a list of B images of one size (H x W x 3 uint8, B G R), it returns their
    descriptors, B x D float32.

    Parameters
    ----------
    proto, weights : paths
    end : blob of the descriptor
    partial_weights : accept weights that do not have the same layers as the net

    Raises
    ------
    ValueError, RuntimeError, FileNotFoundError
        The files do not match or cannot be read. The one-line message names the file.
    """

    def __init__(self, proto: str, weights: str, end: str = END, partial_weights: bool = False):
        check_file(proto)
        check_weights_file(weights)
        layers = read_prototxt(proto, caffe_pb2.NetParameter()).layer
        self.end, self.net = end, caffe.Net(str(proto), str(weights), caffe.TEST)
        if 'rois' in self.net.inputs:
            raise ValueError(f"{proto}: has an input 'rois', but the net must make its own "
                             'regions; use convert_image2features_multires.py')
        for name in ('data', end):
            if name not in self.net.blobs:
                raise ValueError(f'{proto}: has no blob {name!r}; --end names its descriptor')
        if not partial_weights:
            check_weights(self.net, proto, weights)
        # a ResizeLayer subtracts the mean itself
        resizes = any(layer.python_param.layer == 'ResizeLayer' and 'data' in layer.bottom
                      for layer in layers)
        self.added = MEAN[:, None, None] if resizes else 0

    def __call__(self, images):
        blob = to_blob(images)
        self.net.blobs['data'].reshape(*blob.shape)
        self.net.blobs['data'].data[...] = blob + self.added
        self.net.forward(end=self.end)
        rows = self.net.blobs[self.end].data
        if len(rows) != len(images):
            raise ValueError(f'the blob {self.end!r} has {len(rows)} rows for {len(images)} '
                             'images; --end names the descriptor, one per image')
        return rows.reshape(len(rows), -1).copy()


def open_net(proto: str, weights: str, L: int, end: str | None = None,
             partial_weights: bool = False) -> DescriptorNet | TeacherNet:
    """Return a DescriptorNet if the net has an input `rois`, otherwise a TeacherNet.

    Parameters
    ----------
    proto, weights, partial_weights : see TeacherNet
    L : levels of the rigid grid, for a net with an input `rois`
    end : blob of the descriptor; the default depends on the kind of net
    """
    param = read_prototxt(proto, caffe_pb2.NetParameter())
    inputs = {*param.input, *(top for layer in param.layer if layer.type == 'Input'
                              for top in layer.top)}
    if 'rois' in inputs:
        return DescriptorNet(proto, weights, L, end or DEPLOY_END, partial_weights)
    return TeacherNet(proto, weights, end or END, partial_weights)


def convert(net: Callable, items: Sequence[Item], scales: int | Sequence[int], features_npy: str,
            about: dict, batch_size: int = 1, skip_bad: bool = False) -> np.ndarray:
    """Write the descriptors of `items` with their manifest, and return them, N x D float32.

    An interrupted run resumes.

    Parameters
    ----------
    net : DescriptorNet, TeacherNet, or a similar function
    items : list of Item
    scales : int or list of int
        Longer side in pixels that images are resized to. With a list, the descriptors are summed
        over the scales and normalized, and those of each scale are kept in a separate file.
    features_npy : str
        The file to write. Features that were made from something else are recomputed.
    about : dict
        What the features depend on besides scales and items.
    batch_size, skip_bad : see `extraction.extract`, also for errors
    """
    if isinstance(scales, int):
        return extract(net, items, scales, features_npy, about, batch_size, skip_bad)[0]
    stem = os.path.splitext(features_npy)[0]
    features, skipped = extract_scales(net, items, scales, lambda S: f'{stem}_S{S}.npy', about,
                                       batch_size, skip_bad)
    store.save_array(features_npy, features, {**about, 'scales': list(scales)}, skipped=skipped)
    return features


def write_list(path: str, items: Sequence[Item], features: np.ndarray, seed: int) -> None:
    """Write one line `NAME ROW` per image with features, shuffled by `seed`."""
    order = np.random.default_rng(seed).permutation(len(items))
    store.write(path, ''.join(f'{items[row].name} {row}\n' for row in order
                              if np.isfinite(features[row]).all()))


def write_rows(path: str, items: Sequence[Item], features: np.ndarray) -> None:
    """Write one line `ROW<TAB>NAME` per image with features, by row."""
    store.write(path, ''.join(f'{row}\t{item.name}\n' for row, item in enumerate(items)
                              if np.isfinite(features[row]).all()))


def teach(img_dir: str, proto: str, weights: str, features_npy: str, features_txt: str, *,
          S: int | None = None, end: str = END, batch_size: int = 4, skip_bad: bool = False,
          seed: int = 0, partial_weights: bool = False) -> np.ndarray:
    """Write a teacher's features of a folder's images, and the shuffled list of the images.

    Parameters
    ----------
    img_dir : folder of images, searched recursively
    proto, weights, end, partial_weights : see TeacherNet
    features_npy, features_txt : files to write
    S : longer side in pixels that images are resized to; by default that of the first image
    batch_size, skip_bad : see `extraction.extract`
    seed : random seed of the list's order

    Returns
    -------
    ndarray, N x D float32
    """
    items = images_of(img_dir)
    net = TeacherNet(proto, weights, end, partial_weights)
    made_from = {'weights': store.sha256(weights), 'proto': store.sha256(proto), 'end': end}
    features = convert(net, items, S or longer_side(items, skip_bad), features_npy, made_from,
                       batch_size, skip_bad)
    write_list(features_txt, items, features, seed)
    return features
