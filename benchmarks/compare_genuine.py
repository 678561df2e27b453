#!/usr/bin/env python3
"""Genuine Caffe 1.0 beside this engine on one machine: the descriptors, and images a second.

    python benchmarks/compare_genuine.py --chroot FOLDER

FOLDER is a Debian 11 with its package python3-caffe (debootstrap makes one; it needs root). BVLC
Caffe has no ROIPooling, so there a naive Python layer stands in for it; the timed part, the
ResNet-101 up to res5c, is Caffe's own on both sides. The two take turns, and the best of each
counts.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2
from deep_retrieval import cli
from deep_retrieval.images import to_blob
from deep_retrieval.model import END, DescriptorNet
from deep_retrieval.paths import ROOT
from google.protobuf import text_format
from region_generator import get_rmac_region_coordinates, pack_regions_for_network

SIZES = {'landscape': (384, 512), 'portrait': (512, 384), 'square': (448, 448)}
LEVELS = (1, 2, 3)
TIMED, TIME_END = 1, 'res5c_relu'     # the input and the last layer that are timed


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_chroot_flag(parser)
    parser.add_argument('--proto', default=ROOT / 'proto/deploy_resnet101_normpython.prototxt',
                        help='net whose layers, ROIPooling aside, genuine Caffe has')
    parser.add_argument('--weights', default=ROOT / 'caffemodel/demo_resnet101.caffemodel',
                        help='caffemodel of the net')
    parser.add_argument('--repeats', type=cli.positive, default=5, help='runs a turn')
    parser.add_argument('--turns', type=cli.positive, default=2, help='turns of each side')
    return parser.parse_args()


def add_chroot_flag(parser):
    """Add the flag --chroot."""
    parser.add_argument('--chroot', default=os.environ.get('GENUINE_CAFFE', '/srv/genuine_caffe'),
                        help='folder of the system that has genuine Caffe')


def main(args):
    names, inputs = describe_sizes(SIZES)
    net = DescriptorNet(args.proto, args.weights, L=2)
    ours, theirs, result = [], [], None
    for _ in range(args.turns):
        result = genuine(args, inputs)
        theirs += list(result['seconds'])
        outputs, seconds = engine(net, inputs, len(names), args.repeats)
        ours += seconds
    print(f'{"input":28} largest difference of the descriptors')
    for i, name in enumerate(names):
        print(f'{name:28} {np.abs(outputs[i] - result[f"out_{i}"]).max():.1e}')
    print(f'\nResNet-101 to {TIME_END}, {names[TIMED]}, {os.cpu_count()} cores: '
          f'genuine {min(theirs):.2f} s, here {min(ours):.3f} s, '
          f'{min(theirs) / min(ours):.1f} times as fast')


@contextmanager
def inside_chroot(args):
    """A temporary folder of the chroot: its path from outside, and from inside."""
    if not os.path.isdir(args.chroot):
        raise ValueError(f'{args.chroot}: is no folder; make the chroot and name it by --chroot')
    with tempfile.TemporaryDirectory(dir=os.path.join(args.chroot, 'tmp')) as folder:
        yield folder, '/' + os.path.relpath(folder, args.chroot)


def describe_sizes(sizes):
    """Names, and the blobs data_I and rois_I, of a random image of each size at each level."""
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


def engine(net, inputs, count, repeats):
    """Descriptors of all inputs, and the seconds of each timed run, of this engine."""
    outputs = []
    for i in range(count):
        net.feed('data', inputs[f'data_{i}'])
        net.feed('rois', inputs[f'rois_{i}'])
        net.net.forward(end=END)
        outputs.append(net.net.blobs[END].data.copy())
    net.feed('data', inputs[f'data_{TIMED}'])
    net.feed('rois', inputs[f'rois_{TIMED}'])
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        net.net.forward(end=TIME_END)
        seconds.append(time.perf_counter() - start)
    return outputs, seconds


def genuine(args, inputs):
    """The same of genuine Caffe: result.npz of genuine_side.py."""
    with inside_chroot(args) as (folder, inside):
        shutil.copy(Path(__file__).with_name('genuine_side.py'), folder)
        # custom_layers and what it imports
        shutil.copytree(ROOT / 'myPython', folder, dirs_exist_ok=True)
        shutil.copy(args.weights, os.path.join(folder, 'net.caffemodel'))
        Path(folder, 'net.prototxt').write_text(for_genuine(args.proto))
        Path(folder, 'job.json').write_text(json.dumps(
            {'end': END, 'timed': TIMED, 'time_end': TIME_END, 'repeats': args.repeats}))
        np.savez(os.path.join(folder, 'inputs.npz'), **inputs)
        threads = str(os.cpu_count())
        done = subprocess.run(
            ['chroot', args.chroot, 'env', f'OPENBLAS_NUM_THREADS={threads}', 'python3',
             f'{inside}/genuine_side.py', inside], stdout=sys.stderr)
        if done.returncode:
            raise RuntimeError(f'genuine Caffe in {args.chroot} failed')
        with np.load(os.path.join(folder, 'result.npz')) as result:
            return dict(result)


def for_genuine(proto):
    """The net's text with the Python stand-in for ROIPooling."""
    net = text_format.Parse(Path(proto).read_text(), caffe_pb2.NetParameter())
    for layer in net.layer:
        if layer.type == 'ROIPooling':
            layer.type = 'Python'
            layer.python_param.module = 'genuine_side'
            layer.python_param.layer = 'ROIPoolingLayer'
            layer.python_param.param_str = str(layer.roi_pooling_param.spatial_scale)
            layer.ClearField('roi_pooling_param')
    return text_format.MessageToString(net)


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
