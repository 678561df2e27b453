"""The part of compare_genuine.py that runs in genuine Caffe: Python 3.9, genuine pycaffe, NumPy.

    python3 genuine_side.py FOLDER

FOLDER contains job.json (end, timed, time_end, repeats), net.prototxt, net.caffemodel and
inputs.npz (data_I and rois_I). The script writes result.npz: the blob `end` for each input, and the
seconds of forward(end=time_end) for the input `timed`. Layers that BVLC Caffe lacks are implemented
naively in NumPy.
"""

import json
import os
import sys
import time

if __name__ == '__main__':      # before the import: Caffe reads it then
    os.environ.setdefault('GLOG_minloglevel', '2')

import caffe
import numpy as np


class NaiveLayer(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def backward(self, top, propagate_down, bottom):
        pass


class ROIPoolingLayer(NaiveLayer):
    """ROIPooling of Fast R-CNN (Girshick, ICCV 2015) to 1 x 1."""

    def reshape(self, bottom, top):
        top[0].reshape(bottom[1].count // 5, bottom[0].channels, 1, 1)

    def forward(self, bottom, top):
        features, scale = bottom[0].data, np.float32(self.param_str)
        for r, roi in enumerate(bottom[1].data.reshape(-1, 5)):
            x1, y1, x2, y2 = np.floor(roi[1:] * scale + np.float32(0.5)).astype(int)
            x2, y2 = max(x2, x1), max(y2, y1)
            window = features[int(roi[0]), :, max(y1, 0):y2 + 1, max(x1, 0):x2 + 1]
            empty = window.shape[1] * window.shape[2] == 0
            top[0].data[r, :, 0, 0] = 0 if empty else window.max((1, 2))


class NormalizeLayer(NaiveLayer):
    """Each row divided by its L2 norm."""

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        for row, values in enumerate(bottom[0].data):
            top[0].data[row, ...] = values / (1e-8 + np.sqrt((values ** 2).sum()))


class AggregateLayer(NaiveLayer):
    """The sum of the regions' vectors of each image."""

    def reshape(self, bottom, top):
        images = int(bottom[1].data.reshape(-1, 5)[:, 0].max()) + 1
        top[0].reshape(images, *bottom[0].data.shape[1:])

    def forward(self, bottom, top):
        top[0].data[...] = 0
        for values, image in zip(bottom[0].data, bottom[1].data.reshape(-1, 5)[:, 0]):  # noqa: B905
            top[0].data[int(image), ...] += values


def feed(net, inputs, i):
    for name in ('data', 'rois'):
        array = inputs[f'{name}_{i}']
        net.blobs[name].reshape(*array.shape)
        net.blobs[name].data[...] = array


def main(folder):
    sys.path.insert(0, folder)
    with open(os.path.join(folder, 'job.json')) as file:
        job = json.load(file)
    net = caffe.Net(os.path.join(folder, 'net.prototxt'), os.path.join(folder, 'net.caffemodel'),
                    caffe.TEST)
    inputs = np.load(os.path.join(folder, 'inputs.npz'))
    result = {}
    for i in range(len(inputs.files) // 2):
        feed(net, inputs, i)
        net.forward(end=job['end'])
        result[f'out_{i}'] = net.blobs[job['end']].data.copy()
    feed(net, inputs, job['timed'])
    seconds = []
    for _ in range(job['repeats']):
        start = time.perf_counter()
        net.forward(end=job['time_end'])
        seconds.append(time.perf_counter() - start)
    np.savez(os.path.join(folder, 'result.npz'), seconds=seconds, **result)


if __name__ == '__main__':
    main(sys.argv[1])
