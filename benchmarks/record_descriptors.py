#!/usr/bin/env python3
"""Record the output of genuine Caffe for the tiny deploy net, as data for the tests.

    python benchmarks/record_descriptors.py --chroot FOLDER

Writes tests/data/genuine/tiny.caffemodel (seeded random weights with non-trivial statistics and
projection) and descriptors.npz: the inputs (data_I, rois_I) and the descriptors (out_I).
"""

import tempfile
from pathlib import Path

import genuine
from deep_retrieval import cli, paths

DATA = paths.ROOT / 'tests/data/genuine'
SIZES = {'landscape': (96, 130), 'portrait': (131, 97), 'square': (112, 112)}


def parse_args():
    parser = cli.parser(__doc__)
    genuine.add_chroot_flag(parser)
    parser.add_argument('--proto',
                        default=paths.ROOT / 'proto/deploy_resnet_tiny_normpython.prototxt',
                        help='net to record')
    parser.add_argument('--weights', default=DATA / 'tiny.caffemodel', help='weights to write')
    parser.add_argument('--output', default=DATA / 'descriptors.npz', help='file to write')
    return parser.parse_args()


def main(args):
    import numpy as np
    from compare_genuine import inputs_of, run_genuine
    from deep_retrieval import store
    _, inputs = inputs_of(SIZES)
    with tempfile.TemporaryDirectory() as folder:   # both are replaced, or none
        made = Path(folder, 'net.caffemodel')
        seeded_net(args.proto, seed=0).save(str(made))
        result = run_genuine(args.chroot, args.proto, made, inputs, repeats=0)
        store.write(args.weights, lambda file: file.write(made.read_bytes()))
    del result['seconds']
    arrays = {name: array.astype(np.float32) for name, array in {**inputs, **result}.items()}
    store.write(args.output, lambda file: np.savez_compressed(file, **arrays))


def seeded_net(proto, seed):
    """Return the net of `proto` with random weights of a realistic scale."""
    import caffe
    import numpy as np
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
    cli.run(parse_args, main)
