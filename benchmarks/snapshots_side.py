"""The part of snapshots_genuine.py that runs in genuine Caffe: Python 3.9, genuine pycaffe, NumPy.

    python3 snapshots_side.py FOLDER

FOLDER contains job.json (a list of: name, state, iters), NAME.prototxt (solvers) and inputs.npz
(NAME/X, NAME/T). The script writes result.npz: NAME/LAYER/J are the parameters that genuine Caffe
reaches from the states.
"""

import json
import os
import sys

if __name__ == '__main__':      # before the import: Caffe reads it then
    os.environ.setdefault('GLOG_minloglevel', '2')

import caffe
import numpy as np


def main(folder):
    os.chdir(folder)
    with open('job.json') as file:
        jobs = json.load(file)
    inputs, result = np.load('inputs.npz'), {}
    for job in jobs:
        name = job['name']
        solver = caffe.get_solver(name + '.prototxt')
        solver.restore(job['state'])
        for k in range(solver.iter, job['iters']):
            solver.net.blobs['data'].data[...] = inputs[name + '/X'][k]
            solver.net.blobs['target'].data[...] = inputs[name + '/T'][k]
            solver.step(1)
        for layer, blobs in solver.net.params.items():
            for j, blob in enumerate(blobs):
                result[f'{name}/{layer}/{j}'] = blob.data.copy()
    np.savez('result.npz', **result)


if __name__ == '__main__':
    main(sys.argv[1])
