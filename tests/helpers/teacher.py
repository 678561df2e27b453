"""Write random weights of the tiny teacher to the file that is named."""

import sys
from pathlib import Path

import caffe
import numpy as np

PROTO = 'proto/tiny/distilling/deploy_resnet_tiny_teacher_pca32.prototxt'

if __name__ == '__main__':
    net = caffe.Net(str(Path(__file__).resolve().parents[2] / PROTO), caffe.TEST)
    rng = np.random.default_rng(0)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.uniform(0.01, 0.1, blob.shape)
    net.save(sys.argv[1])
