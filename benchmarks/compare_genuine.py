#!/usr/bin/env python3
"""Compare this engine with genuine Caffe 1.0 on one machine: descriptors and images per second.

    python benchmarks/compare_genuine.py --chroot FOLDER

FOLDER is a Debian 11 system with its package python3-caffe (made by debootstrap, which needs root).
BVLC Caffe has no ROIPooling, so a naive Python layer replaces it there; the timed part, ResNet-101
up to res5c, uses built-in layers on both sides. The two take turns, and the best run of each
counts.
"""

import json
import os
import time
from pathlib import Path

import genuine
from deep_retrieval import cli, paths

SIZES = {'landscape': (384, 512), 'portrait': (512, 384), 'square': (448, 448)}
LEVELS = (1, 2, 3)
TIMED, TIME_END = 1, 'res5c_relu'     # the input (index) and the last layer to time
NAIVE = ('NormalizeLayer', 'AggregateLayer')    # Python layers defined in genuine_side.py


def parse_args():
    parser = cli.parser(__doc__)
    genuine.add_chroot_flag(parser)
    parser.add_argument('--proto',
                        default=paths.ROOT / 'proto/deploy_resnet101_normpython.prototxt',
                        help='net of layers that genuine Caffe has, except for ROIPooling')
    parser.add_argument('--weights', default=paths.DEMO_WEIGHTS, help='caffemodel of the net')
    parser.add_argument('--repeats', type=cli.positive, default=5, help='runs per turn')
    parser.add_argument('--turns', type=cli.positive, default=2, help='turns of each side')
    return parser.parse_args()


def main(args):
    import numpy as np
    from deep_retrieval.model import DescriptorNet
    names, inputs = inputs_of(SIZES)
    net = DescriptorNet(args.proto, args.weights, L=2)
    ours, theirs, result = [], [], None
    for _ in range(args.turns):
        result = run_genuine(args.chroot, args.proto, args.weights, inputs, args.repeats)
        theirs += list(result['seconds'])
        outputs, seconds = run_engine(net, inputs, args.repeats)
        ours += seconds
    print(f'{"input":28} largest difference of the descriptors')
    for i, name in enumerate(names):
        print(f'{name:28} {np.abs(outputs[i] - result[f"out_{i}"]).max():.1e}')
    print(f'\nResNet-101 to {TIME_END}, {names[TIMED]}, {os.cpu_count()} cores: '
          f'genuine {min(theirs):.2f} s, here {min(ours):.3f} s, '
          f'{min(theirs) / min(ours):.1f} times as fast')


def inputs_of(sizes):
    """Return names and the blobs data_I and rois_I: one random image per size and level."""
    import numpy as np
    from deep_retrieval.images import to_blob
    from region_generator import get_rmac_region_coordinates, pack_regions_for_network
    rng = np.random.default_rng(0)
    names, inputs = [], {}
    for kind, size in sizes.items():
        data = to_blob([rng.integers(0, 256, (*size, 3), np.uint8)])
        for L in LEVELS:
            inputs[f'data_{len(names)}'] = data
            inputs[f'rois_{len(names)}'] = pack_regions_for_network(
                [get_rmac_region_coordinates(*size, L)])
            names.append(f'{kind} {size[0]}x{size[1]}, L = {L}')
    return names, inputs


def run_engine(net, inputs, repeats):
    """Run this engine; return the descriptors of all inputs and the seconds of each timed run."""
    outputs = []
    for i in range(len(inputs) // 2):
        net.feed('data', inputs[f'data_{i}'])
        net.feed('rois', inputs[f'rois_{i}'])
        net.net.forward(end=net.end)
        outputs.append(net.net.blobs[net.end].data.copy())
    net.feed('data', inputs[f'data_{TIMED}'])
    net.feed('rois', inputs[f'rois_{TIMED}'])
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        net.net.forward(end=TIME_END)
        seconds.append(time.perf_counter() - start)
    return outputs, seconds


def run_genuine(chroot, proto, weights, inputs, repeats):
    """Run genuine Caffe; return the arrays that genuine_side.py saves."""
    import numpy as np
    with genuine.inside(chroot, 'genuine_side.py') as (folder, path):
        write_job(folder, proto, weights, inputs, repeats)
        genuine.run(chroot, f'{path}/genuine_side.py', path)
        with np.load(os.path.join(folder, 'result.npz')) as result:
            return dict(result)


def write_job(folder, proto, weights, inputs, repeats):
    """Write the files that genuine_side.py reads."""
    import numpy as np
    from deep_retrieval.model import END
    Path(folder, 'net.caffemodel').write_bytes(Path(weights).read_bytes())
    Path(folder, 'net.prototxt').write_text(for_genuine(proto))
    Path(folder, 'job.json').write_text(json.dumps(
        {'end': END, 'timed': TIMED, 'time_end': TIME_END, 'repeats': repeats}))
    np.savez(os.path.join(folder, 'inputs.npz'), **inputs)


def for_genuine(proto):
    """Return a net's text with naive Python layers for those that genuine Caffe lacks."""
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format
    net = text_format.Parse(Path(proto).read_text(), caffe_pb2.NetParameter())
    for layer in net.layer:
        if layer.type == 'ROIPooling':
            layer.type = 'Python'
            layer.python_param.layer = 'ROIPoolingLayer'
            layer.python_param.param_str = str(layer.roi_pooling_param.spatial_scale)
            layer.python_param.module = 'genuine_side'
            layer.ClearField('roi_pooling_param')
        elif layer.python_param.layer in NAIVE:
            layer.python_param.module = 'genuine_side'
    return text_format.MessageToString(net)


if __name__ == '__main__':
    cli.run(parse_args, main)
