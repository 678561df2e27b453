#!/usr/bin/env python3
"""Record what genuine Caffe computes with the tiny deploy net, as data for the tests.

    python benchmarks/record_descriptors.py --chroot FOLDER

Writes tests/data/genuine/tiny.caffemodel, seeded weights with statistics and a projection that are
not trivial, and descriptors.npz: the inputs (data_I, rois_I) and the descriptors (out_I).
"""

import argparse

import caffe
import numpy as np
from compare_genuine import add_chroot_flag, describe_sizes, genuine
from deep_retrieval import cli
from deep_retrieval.paths import ROOT

DATA = ROOT / 'tests/data/genuine'
SIZES = {'landscape': (96, 130), 'portrait': (131, 97), 'square': (112, 112)}


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_chroot_flag(parser)
    parser.add_argument('--proto', default=ROOT / 'proto/deploy_resnet_tiny_normpython.prototxt',
                        help='net to record')
    parser.add_argument('--weights', default=DATA / 'tiny.caffemodel', help='weights to write')
    parser.add_argument('--output', default=DATA / 'descriptors.npz', help='file to write')
    return parser.parse_args()


def main(args):
    args.repeats = 0
    seeded_net(args.proto, seed=0).save(str(args.weights))
    _, inputs = describe_sizes(SIZES)
    result = genuine(args, inputs)
    del result['seconds']
    np.savez_compressed(args.output, **{name: array.astype(np.float32)
                                        for name, array in {**inputs, **result}.items()})


def seeded_net(proto, seed):
    """The net of `proto` with random weights of the usual scale."""
    net = caffe.Net(str(proto), caffe.TEST)
    rng = np.random.default_rng(seed)
    for name, blobs in net.params.items():
        kind = net.layer_dict[name].type
        if kind == 'BatchNorm':
            mean, variance, weight = blobs
            mean.data[...] = rng.normal(0, 0.5, mean.shape)
            variance.data[...] = rng.uniform(0.5, 2, variance.shape)
            weight.data[...] = 1
        elif kind == 'Scale':
            blobs[0].data[...] = rng.uniform(0.5, 1.5, blobs[0].shape)
            blobs[1].data[...] = rng.normal(0, 0.1, blobs[1].shape)
        else:
            fan_in = np.prod(blobs[0].shape[1:])
            blobs[0].data[...] = rng.normal(0, np.sqrt(2 / fan_in), blobs[0].shape)
    return net


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
