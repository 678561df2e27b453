"""The net to train a narrow trunk with: it learns to classify images.

The original uses a pretrained trunk. The trunk of its tiny counterpart is trained with this net, on
images rendered by datasets/make_training_demo.py.
"""

from blocks import default_param
from caffe import NetSpec
from caffe import layers as L
from caffe import params as P
from data_layers import LANDMARK_CLASSES, MEAN
from frames import named, solver

HEIGHT, WIDTH, CROP = 192, 256, 160     # pixels of the images, and of the square cut from each
CLASSES = 120


def classes(size):
    """The trunk, average pooling of its last map, and the classes."""
    folder = f'{size.datasets}/{LANDMARK_CLASSES}'
    n = NetSpec()
    n.data, n.label = L.ImageData(
        ntop=2, source=f'{folder.rstrip("/")}.txt', root_folder=folder, batch_size=32,
        shuffle=True, new_height=HEIGHT, new_width=WIDTH,
        transform_param=dict(mirror=True, crop_size=CROP, mean_value=MEAN))
    size.trunk.build(n, n.data, param=default_param, use_global_stats=False,
                     weight_filler=dict(type='msra'))
    n.pool5 = L.Pooling(size.trunk.features(n, 5).top, pool=P.Pooling.AVE, global_pooling=True)
    n.classes = L.InnerProduct(n.pool5, num_output=CLASSES, weight_filler=dict(type='xavier'))
    n.loss = L.SoftmaxWithLoss(n.classes, n.label)
    return named(f'{size.name}-Classes', n)


def classes_solver(size):
    return solver(size, 'classes/train_{file}_classes.prototxt', 'classes', base_lr=0.05,
                  tiny_lr=0.05, lr_policy='poly', power=1, max_iter=150000, snapshot=150000,
                  random_seed=0)


NETS = {
    'classes/train_{file}_classes.prototxt': classes,
    'classes/train_{file}_classes_solver.prototxt': classes_solver,
}
