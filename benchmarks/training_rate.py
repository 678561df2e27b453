#!/usr/bin/env python3
"""Compare seconds and peak memory of a training iteration in this engine and in genuine Caffe.

    python benchmarks/training_rate.py --chroot FOLDER

lifted: a frozen ResNet-101, a learning head with 512 outputs, and the lifted loss. BVLC Caffe has
no ROIPooling, Normalize or lifted loss, so a head of built-in layers replaces them there; it takes
a small share of the time. resnet50: a classifier in which every layer learns. The two engines take
turns.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import genuine
from deep_retrieval import cli, paths

sys.path.insert(0, str(paths.ROOT / 'proto'))   # blocks

SOLVER = ('net: "{}/net.prototxt" base_lr: 1e-6 lr_policy: "fixed" momentum: 0.9 '
          'weight_decay: 1e-4 max_iter: 100 snapshot_prefix: "none" snapshot_after_train: false '
          'solver_mode: CPU')


def lifted(forks):
    """Return train_resnet101_lifted_pca512, whose trunk is frozen: batch 12, 288 x 384."""
    import blocks
    from caffe import NetSpec
    from caffe import layers as L
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format
    batch, regions = 12, 8
    inputs = {'data': [batch, 3, 288, 384], 'label': [batch, 1, 1, 1], 'rois': [batch * regions, 5]}
    n = NetSpec()
    for name, dim in inputs.items():
        n[name] = L.Input(shape=dict(dim=dim))
    if forks:
        proto = paths.ROOT / 'proto/triplet/pca512/train_resnet101_lifted_pca512.prototxt'
        net = text_format.Parse(proto.read_text(), caffe_pb2.NetParameter())
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
    """Return a ResNet-50 in which every weight learns: batch 8, 224 x 320."""
    import blocks
    from caffe import NetSpec
    from caffe import layers as L
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
    parser = cli.parser(__doc__)
    genuine.add_chroot_flag(parser)
    parser.add_argument('--nets', nargs='+', choices=NETS, default=list(NETS), help='what to train')
    parser.add_argument('--repeats', type=cli.positive, default=2, help='iterations per turn')
    parser.add_argument('--turns', type=cli.positive, default=2, help='turns of each side')
    parser.add_argument('--coretype', default='',
                        help="kernels of genuine Caffe's OpenBLAS (OPENBLAS_CORETYPE), such as "
                             'Prescott or Haswell; by default its own choice')
    return parser.parse_args()


def main(args):
    print(f'{"":10} {"genuine":>9} {"here":>9} {"ratio":>6} {"memory genuine":>15} {"here":>8}')
    for name in args.nets:
        theirs, ours = [], []
        for _ in range(args.turns):
            theirs.append(run_genuine(args, NETS[name](forks=False)))
            ours.append(run_engine(args, NETS[name](forks=True)))
        slow, fast = (min(min(turn['seconds']) for turn in side) for side in (theirs, ours))
        memory = [max(turn['peak'] for turn in side) / 1e9 for side in (theirs, ours)]
        print(f'{name:10} {slow:7.2f} s {fast:7.2f} s {slow / fast:6.1f} {memory[0]:12.1f} GB '
              f'{memory[1]:5.1f} GB', flush=True)


def run_engine(args, net):
    """Return what training_side.py prints, of this engine."""
    with tempfile.TemporaryDirectory() as folder:
        write(folder, folder, net)
        script = Path(__file__).with_name('training_side.py')
        done = subprocess.run([sys.executable, script, f'{folder}/solver.prototxt',
                               str(args.repeats)], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError(f'{script} failed')
        return json.loads(done.stdout.splitlines()[-1])


def run_genuine(args, net):
    """Return what training_side.py prints, of genuine Caffe."""
    with genuine.inside(args.chroot, 'training_side.py') as (folder, path):
        write(folder, path, net)
        kernels = [f'OPENBLAS_CORETYPE={args.coretype}'] if args.coretype else []
        printed = genuine.run(args.chroot, f'{path}/training_side.py', f'{path}/solver.prototxt',
                              str(args.repeats), environment=kernels, stdout=subprocess.PIPE)
        return json.loads(printed.splitlines()[-1])


def write(folder, path, net):
    """Write net and solver into a folder, which the solver calls `path`."""
    Path(folder, 'net.prototxt').write_text(str(net))
    Path(folder, 'solver.prototxt').write_text(SOLVER.format(path))


if __name__ == '__main__':
    cli.run(parse_args, main)
