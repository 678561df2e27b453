"""A net of one weight per pixel, its solver and its data, for the command `caffe`."""

import caffe
import numpy as np
from caffe.database import write_database
from caffe.datum import image_to_datum

NET = '''name: "line"
layer { name: "data" type: "Data" top: "data" top: "label"
        data_param { source: "db" batch_size: 2 backend: LMDB } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 1 bias_term: false } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "mean" type: "Reduction" bottom: "ip" top: "mean" include { phase: TEST }
        reduction_param { operation: MEAN } }
layer { name: "twice" type: "Power" bottom: "ip" top: "twice" power_param { scale: 2 }
        include { min_level: 1 stage: "more" } }
'''
SOLVER = '''net: "net.prototxt" base_lr: 0.1 lr_policy: "step" stepsize: 2 gamma: 0.5 momentum: 0.5
max_iter: 8 display: 2 test_iter: 2 test_interval: 4 snapshot: 4 snapshot_prefix: "line"
solver_mode: CPU
'''


def make_folder(path):
    """A folder with net, solver, and four records (x, 1) of label x."""
    records = [image_to_datum(np.array([[[x, 1]]], np.uint8), x) for x in range(4)]
    write_database(str(path / 'db'), [(b'%04d' % x, record.SerializeToString())
                                      for x, record in enumerate(records)])
    (path / 'net.prototxt').write_text(NET)
    (path / 'solver.prototxt').write_text(SOLVER)
    return path


def save_weights(path, *weights):
    net = caffe.Net('net.prototxt', caffe.TEST)
    net.params['ip'][0].data[...] = weights
    net.save(path)
