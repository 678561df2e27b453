"""The features of a folder's images, what the nets that distil learn from: a teacher's descriptors.

    items = images_of('datasets/landmark/clean')
    net = TeacherNet('proto/distilling/deploy_resnet101_teacher_pca512.prototxt', 'a.caffemodel')
    rows = convert(net, items, longer_side(items), 'features.npy', about={...})
    write_list('features.txt', items, rows, seed=0)

Row i of the features (N x D float32) is of the i-th image by name; a damaged one's is NaN, and the
list leaves it out. The list has a line `NAME ROW` an image: what convert_imageset makes an LMDB of,
whose labels are then the rows that FeatureLayer looks up.
"""

import logging
import os
from typing import NamedTuple

import caffe
import numpy as np
import yaml
from caffe.database import Database
from caffe.datum import parse_datum, read_list
from caffe.proto import caffe_pb2
from caffe.tools import convert_imageset

from deep_retrieval import store
from deep_retrieval.extraction import extract, extract_scales, images_of
from deep_retrieval.image_means import SIZES
from deep_retrieval.images import MEAN, ImageError, read_image, to_blob
from deep_retrieval.model import END as DEPLOY_END
from deep_retrieval.model import DescriptorNet, check_weights
from deep_retrieval.store import sha256
from deep_retrieval.training.solving import read_text

END = 'rmac/eltwise/normalized'     # layer and blob of a teacher's descriptor
logger = logging.getLogger(__name__)

ANY_SIZE = (192, 256)   # pixels of LMDB images, height x width, where a net's regions fit any


def longer_side(items, skip_bad=False):
    """Pixels of the first image's longer side: images of that size are taken as they are."""
    for item in items:
        try:
            return max(read_image(item.path).shape[:2])
        except ImageError:
            if not skip_bad:
                raise
    raise ValueError(f'none of the {len(items)} images can be read')


class TeacherNet:
    """A net that makes its own regions: input `data`, one descriptor an image in the blob `end`.

    Called with a list of images of one size (BGR uint8), it returns their descriptors, B x D.
    """

    def __init__(self, proto, weights, end=END, partial_weights=False):
        for path in (proto, weights):
            if not os.path.isfile(path):
                raise FileNotFoundError(2, 'there is no such file', str(path))
        layers = read_text(proto, caffe_pb2.NetParameter()).layer
        self.end, self.net = end, caffe.Net(str(proto), str(weights), caffe.TEST)
        if 'rois' in self.net.inputs:
            raise ValueError(f"{proto}: has an input 'rois', where a net that makes its own is "
                             'wanted; convert_image2features_multires.py takes it')
        for name in ('data', end):
            if name not in self.net.blobs:
                raise ValueError(f'{proto}: has no blob {name!r}; --end names its descriptor')
        if not partial_weights:
            check_weights(self.net, proto, weights)
        # ResizeLayers subtract the mean themselves
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
                             'images; --end names the descriptor, one an image')
        return rows.reshape(len(rows), -1).copy()


def open_net(proto, weights, L, end=None, partial_weights=False):
    """A DescriptorNet where the net has an input `rois`, for which L counts, else a TeacherNet.

    end : blob of the descriptor; by default the one that such nets have
    """
    param = read_text(proto, caffe_pb2.NetParameter())
    inputs = {*param.input, *(top for layer in param.layer if layer.type == 'Input'
                              for top in layer.top)}
    if 'rois' in inputs:
        return DescriptorNet(proto, weights, L, end or DEPLOY_END, partial_weights)
    return TeacherNet(proto, weights, end or END, partial_weights)


def convert(net, items, scales, features_npy, about, batch_size=1, skip_bad=False):
    """Write the descriptors of `items` as `features_npy`, and return them, N x D.

    scales : pixels of the longer side that the images are resized to: one number, or several,
        whose descriptors are summed and normalized; each scale's stay in a file beside it
    about : dict of what the features depend on besides scales and items
    Resumes an interrupted run; `skip_bad` and the errors are those of `extract`.
    """
    if isinstance(scales, int):
        return extract(net, items, scales, features_npy, about, batch_size, skip_bad)[0]
    stem = os.path.splitext(features_npy)[0]
    features, skipped = extract_scales(net, items, scales, lambda S: f'{stem}_S{S}.npy', about,
                                       batch_size, skip_bad)
    store.save_array(features_npy, features, {**about, 'scales': list(scales)}, skipped=skipped)
    return features


def write_list(path, items, features, seed):
    """Write a line `NAME ROW` for each image that has features, shuffled by the seed."""
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    order = np.random.default_rng(seed).permutation(len(items))
    text = ''.join(f'{items[row].name} {row}\n' for row in order
                   if np.isfinite(features[row]).all())
    store.write(path, text)


def write_rows(path, items, features):
    """Write a line `ROW<TAB>NAME` for each image that has features, by row."""
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    text = ''.join(f'{row}\t{item.name}\n' for row, item in enumerate(items)
                   if np.isfinite(features[row]).all())
    store.write(path, text)


class Places(NamedTuple):
    """Where a training net reads from, and the size of its images (height, width in pixels)."""
    lmdb: str
    features: str
    size: tuple


def places(proto, phase='TRAIN'):
    """The Places of the net in the file `proto`, which has a Data layer and a FeatureLayer."""
    lmdb, features, size = None, None, ANY_SIZE
    for layer in read_text(proto, caffe_pb2.NetParameter()).layer:
        if layer.include and caffe_pb2.Phase.Value(phase) not in [
                rule.phase for rule in layer.include]:
            continue
        if layer.type == 'Data':
            lmdb = layer.data_param.source
        elif layer.python_param.layer == 'FeatureLayer':
            features = _param(layer).get('features')
        elif layer.python_param.layer == 'RigidGridLayer':
            size = SIZES.get(_param(layer).get('dataset'), size)
    if not (lmdb and features):
        raise ValueError(f'{proto}: has no Data layer with a FeatureLayer in phase {phase}: it '
                         'does not learn from features')
    return Places(lmdb, features, size)


def _param(layer):
    return yaml.safe_load(layer.python_param.param_str) or {}


def make_lmdb(folder, list_file, path, size):
    """Make the LMDB `path` of the images in a list, resized, unless it is there already."""
    if os.path.lexists(path):
        _check_lmdb(path, read_list(list_file), size)
        logger.info('%s: exists already, with the images of %s', path, list_file)
        return
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    convert_imageset.main([f'--resize_height={size[0]}', f'--resize_width={size[1]}', '--',
                           os.path.join(folder, ''), list_file, path])


def _check_lmdb(path, pairs, size):
    """Raise ValueError unless the LMDB has the images of the list, of this size, in its order."""
    records = Database(path)
    same = len(records) == len(pairs)
    for index, ((key, value), (name, label)) in enumerate(zip(records, pairs)):
        if not same:
            break
        same = bytes(key) == os.fsencode(f'{index:08d}_{name}')
        if same and index == 0:
            datum = parse_datum(value)
            same = (datum.height, datum.width, datum.label) == (*size, label)
    if not same:
        raise ValueError(f'{path}: is there already, with other images, sizes or rows; remove it')


def teach(img_dir, proto, weights, features_npy, features_txt, *, S=None, end=END, batch_size=4,
          skip_bad=False, seed=0, partial_weights=False):
    """Write a teacher's features of a folder's images, and the shuffled list of them.

    Parameters
    ----------
    img_dir : folder of images, searched recursively
    proto, weights : the teacher net
    features_npy, features_txt : files to write
    S : longer side in pixels that images are resized to; by default that of the first image

    Returns
    -------
    ndarray, N x D float32
    """
    items = images_of(img_dir)
    net = TeacherNet(proto, weights, end, partial_weights)
    made_from = {'weights': sha256(weights), 'proto': sha256(proto), 'end': end}
    features = convert(net, items, S or longer_side(items, skip_bad), features_npy, made_from,
                       batch_size, skip_bad)
    write_list(features_txt, items, features, seed)
    return features
