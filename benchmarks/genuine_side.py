"""The half of compare_genuine.py that genuine Caffe runs: Python 3.9, genuine pycaffe, NumPy.

    python3 genuine_side.py FOLDER

FOLDER holds job.json (end, timed, time_end, repeats), net.prototxt, net.caffemodel and inputs.npz
(data_I and rois_I). result.npz gets the blob `end` for each input, and the seconds of
forward(end=time_end) with input `timed`.
"""

import json
import os
import sys
import time

os.environ.setdefault('GLOG_minloglevel', '2')

import caffe
import numpy as np


class ROIPoolingLayer(caffe.Layer):
    """Fast R-CNN's ROIPooling to 1 x 1, which BVLC Caffe lacks; naive, in NumPy."""

    def setup(self, bottom, top):
        self.scale = np.float32(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(bottom[1].count // 5, bottom[0].channels, 1, 1)

    def forward(self, bottom, top):
        features = bottom[0].data
        for r, roi in enumerate(bottom[1].data.reshape(-1, 5)):
            x1, y1, x2, y2 = np.floor(roi[1:] * self.scale + np.float32(0.5)).astype(int)
            x2, y2 = max(x2, x1), max(y2, y1)
            window = features[int(roi[0]), :, max(y1, 0):y2 + 1, max(x1, 0):x2 + 1]
            empty = window.shape[1] * window.shape[2] == 0
            top[0].data[r, :, 0, 0] = 0 if empty else window.max((1, 2))

    def backward(self, top, propagate_down, bottom):
        pass


def feed(net, inputs, i):
    for name in ('data', 'rois'):
        array = inputs['%s_%d' % (name, i)]
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
        result['out_%d' % i] = net.blobs[job['end']].data.copy()
    feed(net, inputs, job['timed'])
    seconds = []
    for _ in range(job['repeats']):
        start = time.perf_counter()
        net.forward(end=job['time_end'])
        seconds.append(time.perf_counter() - start)
    np.savez(os.path.join(folder, 'result.npz'), seconds=seconds, **result)


if __name__ == '__main__':
    main(sys.argv[1])
