#!/usr/bin/env python3
"""A training iteration of this engine beside genuine Caffe's: seconds and peak memory.

    python benchmarks/training_rate.py --chroot FOLDER

lifted: a frozen ResNet-101 with a learning head of 512 outputs and the lifted loss. BVLC Caffe has
no ROIPooling, Normalize and lifted loss: there a head of its own layers stands in, whose share of
the time is small. resnet50: a classifier of which all learns. The two engines take turns.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from caffe import NetSpec
from caffe import layers as L
from caffe.proto import caffe_pb2
from compare_genuine import ROOT, add_chroot_flag, inside_chroot
from deep_retrieval import cli
from google.protobuf import text_format

sys.path.insert(0, str(ROOT / 'proto'))
import blocks

SOLVER = ('net: "{}/net.prototxt" base_lr: 1e-6 lr_policy: "fixed" momentum: 0.9 '
          'weight_decay: 1e-4 max_iter: 100 snapshot_prefix: "none" snapshot_after_train: false '
          'solver_mode: CPU')


def lifted(forks):
    """train_resnet101_lifted_pca512, whose trunk is frozen: batch 12, 288 x 384."""
    batch, regions = 12, 8
    inputs = {'data': [batch, 3, 288, 384], 'label': [batch, 1, 1, 1], 'rois': [batch * regions, 5]}
    n = NetSpec()
    for name, dim in inputs.items():
        n[name] = L.Input(shape=dict(dim=dim))
    if forks:
        net = text_format.Parse(
            (ROOT / 'proto/triplet/pca512/train_resnet101_lifted_pca512.prototxt').read_text(),
            caffe_pb2.NetParameter())
        kept = [layer for layer in net.layer if layer.name not in inputs]
        net = n.to_proto()
        net.layer.extend(kept)
        return net
    features = blocks.resnet(n, n.data, blocks.RESNET101, param=blocks.frozen,
                             weight_filler=dict(type='msra'))
    n.silence = L.Silence(n.rois, ntop=0)
    n.pooled = L.Pooling(features, pool='MAX', global_pooling=True)
    n.pca = L.InnerProduct(n.pooled, num_output=512, weight_filler=dict(type='xavier'))
    n.loss = L.SoftmaxWithLoss(n.pca, n.label)
    return n.to_proto()


def resnet50(forks):
    """A ResNet-50 of which every weight learns: batch 8, 224 x 320."""
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[8, 3, 224, 320]))
    n.label = L.Input(shape=dict(dim=[8]))
    features = blocks.resnet(n, n.data, blocks.RESNET50, weight_filler=dict(type='msra'))
    n.pooled = L.Pooling(features, pool='AVE', global_pooling=True)
    n.score = L.InnerProduct(n.pooled, num_output=1000, weight_filler=dict(type='xavier'))
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n.to_proto()


NETS = {'lifted': lifted, 'resnet50': resnet50}


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_chroot_flag(parser)
    parser.add_argument('--nets', nargs='+', choices=NETS, default=list(NETS), help='what to train')
    parser.add_argument('--repeats', type=cli.positive, default=2, help='iterations a turn')
    parser.add_argument('--turns', type=cli.positive, default=2, help='turns of each side')
    parser.add_argument('--coretype', default='',
                        help="kernels of genuine Caffe's OpenBLAS (OPENBLAS_CORETYPE), such as "
                             'Prescott or Haswell; none: its own choice')
    return parser.parse_args()


def main(args):
    print(f'{"":10} {"genuine":>9} {"here":>9} {"ratio":>6} {"memory genuine":>15} {"here":>8}')
    for name in args.nets:
        theirs, ours = [], []
        for _ in range(args.turns):
            theirs.append(genuine(args, NETS[name](forks=False)))
            ours.append(engine(args, NETS[name](forks=True)))
        slow, fast = (min(min(turn['seconds']) for turn in side) for side in (theirs, ours))
        memory = [max(turn['peak'] for turn in side) / 1e9 for side in (theirs, ours)]
        print(f'{name:10} {slow:7.2f} s {fast:7.2f} s {slow / fast:6.1f} {memory[0]:12.1f} GB '
              f'{memory[1]:5.1f} GB', flush=True)


def engine(args, net):
    with tempfile.TemporaryDirectory() as folder:
        write(folder, folder, net)
        return run([sys.executable, f'{folder}/training_side.py', f'{folder}/solver.prototxt'],
                   args)


def genuine(args, net):
    with inside_chroot(args) as (folder, inside):
        write(folder, inside, net)
        kernels = [f'OPENBLAS_CORETYPE={args.coretype}'] if args.coretype else []
        return run(['chroot', args.chroot, 'env', f'OPENBLAS_NUM_THREADS={os.cpu_count()}',
                    *kernels, 'python3', f'{inside}/training_side.py',
                    f'{inside}/solver.prototxt'], args)


def write(folder, inside, net):
    shutil.copy(Path(__file__).with_name('training_side.py'), folder)
    Path(folder, 'net.prototxt').write_text(str(net))
    Path(folder, 'solver.prototxt').write_text(SOLVER.format(inside))


def run(command, args):
    done = subprocess.run([*command, str(args.repeats)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f'{" ".join(command)} failed')
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
