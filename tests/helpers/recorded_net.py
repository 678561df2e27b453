"""The net that genuine pycaffe's Classifier and Detector were recorded with."""

from pathlib import Path

import numpy as np

GENUINE = np.load(Path(__file__).parents[1] / 'data' / 'genuine' / 'io.npz')


def save_recorded_net(make_net, tmp_path):
    """Save the recorded net; returns the paths of its prototxt and caffemodel."""
    net = make_net(str(GENUINE['net/prototxt']))
    for name, blobs in net.params.items():
        for index, blob in enumerate(blobs):
            blob.data[...] = GENUINE[f'net/{name}/{index}']
    net.save(tmp_path / 'net.caffemodel')
    return str(tmp_path / 'net.prototxt'), str(tmp_path / 'net.caffemodel')
