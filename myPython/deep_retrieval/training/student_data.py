"""The training data of a student: the files that its net reads, and how to make the LMDB.

    lmdb, features, size = places('proto/distilling/pca512/train_resnet101_student_pca512.prototxt')
    make_lmdb('datasets/landmark/clean', 'features.txt', lmdb, size)
"""

import logging
import os
from typing import NamedTuple

from caffe.database import Database
from caffe.datum import parse_datum, read_list
from caffe.proto import caffe_pb2
from caffe.tools import convert_imageset

from deep_retrieval import store
from deep_retrieval.image_means import SIZES
from deep_retrieval.training.layer_parameters import param_values
from deep_retrieval.training.settings import read_prototxt

ANY_SIZE = (192, 256)   # height and width in pixels of the images, if the net accepts any size

logger = logging.getLogger(__name__)


class Places(NamedTuple):
    """The files that a training net reads, and the size of its images.

    lmdb, features : paths
    size : height and width in pixels
    """

    lmdb: str
    features: str
    size: tuple[int, int]


def places(proto: str, phase: str = 'TRAIN') -> Places:
    """Return the Places of a training net with a Data layer and a FeatureLayer.

    Parameters
    ----------
    proto : path
    phase : {'TRAIN', 'TEST'}

    Raises
    ------
    ValueError
        The net has no such layers in this phase.
    """
    lmdb, features, size = None, None, ANY_SIZE
    for layer in read_prototxt(proto, caffe_pb2.NetParameter()).layer:
        if layer.include and caffe_pb2.Phase.Value(phase) not in [
                rule.phase for rule in layer.include]:
            continue
        param = param_values(layer.python_param.param_str, f'{proto}: layer {layer.name!r}')
        if layer.type == 'Data':
            lmdb = layer.data_param.source
        elif layer.python_param.layer == 'FeatureLayer':
            features = param.get('features')
        elif layer.python_param.layer == 'RigidGridLayer':
            size = SIZES.get(param.get('dataset'), size)
    if not (lmdb and features):
        raise ValueError(f'{proto}: has no Data layer with a FeatureLayer in phase {phase}: it '
                         'does not learn from features')
    return Places(lmdb, features, size)


def make_lmdb(folder: str, list_file: str, path: str, size: tuple[int, int]) -> None:
    """Make an LMDB of the images in a list, unless it exists already.

    Parameters
    ----------
    folder : folder that the names in the list are relative to
    list_file : file with one line `NAME LABEL` per image
    path : the LMDB
    size : height and width in pixels that images are resized to

    Raises
    ------
    ValueError
        The LMDB exists with other images, labels or sizes.
    """
    if os.path.lexists(path):
        _check_lmdb(path, read_list(list_file), size)
        logger.info('%s: exists already, with the images of %s', path, list_file)
        return
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    convert_imageset.main([f'--resize_height={size[0]}', f'--resize_width={size[1]}', '--',
                           os.path.join(folder, ''), list_file, path])


def _check_lmdb(path, pairs, size):
    """Raise ValueError unless the LMDB has the images of the list, in its order and of this size.
    """
    with store.reading(path, 'an LMDB'):
        records = Database(path)
        same = len(records) == len(pairs)
        for index, ((key, value), (name, label)) in enumerate(zip(records, pairs, strict=False)):
            if not same:
                break
            same = bytes(key) == os.fsencode(f'{index:08d}_{name}')
            if same and index == 0:
                datum = parse_datum(value)
                same = (datum.height, datum.width, datum.label) == (*size, label)
    if not same:
        raise ValueError(f'{path}: exists already, with other images, sizes or rows; remove it')
