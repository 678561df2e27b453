"""One side of training_rate.py; each engine runs it in a separate process (Python 3.9 or later).

    python3 training_side.py SOLVER REPEATS

Prints a JSON object: seconds (of each iteration), peak (in bytes of memory), loss.
"""

import json
import os
import resource
import sys
import time

if __name__ == '__main__':      # before the import: Caffe reads it then
    os.environ.setdefault('GLOG_minloglevel', '2')

import caffe
import numpy as np


def set_statistics(net):
    """Give every BatchNorm mean 0 and variance 1; otherwise activations overflow."""
    for layer in net.layers:
        if layer.type == 'BatchNorm':
            for blob, value in zip(layer.blobs, (0, 1, 1)):     # noqa: B905
                blob.data[...] = value


def main(solver_file, repeats):
    solver = caffe.get_solver(solver_file)
    rng = np.random.RandomState(0)
    for name in solver.net.inputs:
        blob = solver.net.blobs[name]
        if name == 'data':
            blob.data[...] = rng.uniform(-120, 130, blob.data.shape)
        elif name == 'label':       # each class has a pair
            blob.data.flat = np.arange(blob.data.size) // 2
        elif name == 'rois':        # the whole of each image
            height, width = solver.net.blobs['data'].data.shape[2:]
            count = blob.data.size // 5 // solver.net.blobs['data'].data.shape[0]
            blob.data.reshape(-1, 5)[...] = [[i // count, 0, 0, width - 1, height - 1]
                                             for i in range(blob.data.size // 5)]
    set_statistics(solver.net)
    solver.step(1)
    seconds = []
    for _ in range(repeats):
        start = time.time()
        solver.step(1)
        seconds.append(time.time() - start)
    print(json.dumps({'seconds': seconds, 'loss': float(solver.net.blobs['loss'].data),
                      'peak': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]))
