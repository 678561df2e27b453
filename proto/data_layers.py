"""The training data of the nets, and the layers that read it.

A block adds layers to the NetSpec `n` for one phase; `size` is the Size of its net.
"""

from collections import namedtuple

from blocks import python_layer
from caffe import layers as L
from deep_retrieval import image_means
from deep_retrieval.images import MEAN

# as published: float32 would print more digits
MEAN = [round(float(channel), 8) for channel in MEAN]       # B, G, R

# Images in an LMDB whose labels are rows of the teacher's `features`. Paths are relative to the
# Size's folder of datasets; `grid` is the dataset that defines the images' regions. `mean` replaces
# that of the Size.
Source = namedtuple('Source', 'lmdb features grid mean', defaults=[None])

COVER = Source('cover/training/cover_training_lmdb', 'cover/training/features.npy', 'cover',
               list(image_means.COVER))
PARIS = Source('Paris/aug/paris_aug_lmdb', 'Paris/aug/features.npy', 'paris')
OXFORD = Source('Oxford/val/val_oxford_lmdb', 'Oxford/val/features.npy', 'paris')
LANDMARK = Source('landmark/training/Landmark_training_lmdb', 'landmark/training/features.npy',
                  'paris')

# Images in one folder per class.
LANDMARK_CLASSES = 'landmark/clean/'
LANDMARK_TEST_CLASSES = 'landmark/test/'
PARIS_TRIPLETS = 'Paris/triplet/'


def grid(n, size, dataset, data='data', rois='rois'):
    """The blob `rois` with the regions of the images in the blob `data`."""
    n[rois] = python_layer('RigidGridLayer', {'dataset': size.grid(dataset)}, n[data])
    return n[rois]


def images_with_features(n, size, source, batch_size):
    """`data` and `label` from an LMDB, the labels' `features`, and `rois`."""
    n.data, n.label = L.Data(
        ntop=2, transform_param=dict(mirror=True, mean_value=source.mean or size.mean),
        source=f'{size.datasets}/{source.lmdb}', batch_size=batch_size, backend='LMDB')
    n.features = python_layer(
        'FeatureLayer', {'features': f'{size.datasets}/{source.features}'}, n.label)
    return grid(n, size, source.grid)


def images_of_classes(n, layer, size, folder, batch_size, tops=('data',), **param_str):
    """`tops` from a layer that draws images by class."""
    values = {'batch_size': batch_size, 'cls_dir': f'{size.datasets}/{folder}', 'mean': size.mean,
              **param_str}
    made = python_layer(layer, values, ntop=len(tops))
    for name, top in zip(tops, [made] if len(tops) == 1 else made, strict=True):
        n[name] = top
