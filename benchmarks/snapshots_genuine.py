#!/usr/bin/env python3
"""Snapshots of this engine continued by genuine Caffe 1.0: how far are the parameters apart?

    python benchmarks/snapshots_genuine.py --chroot FOLDER

Every solver setting of tests/data/genuine/solvers is stepped half its way here and snapshot, as
BINARYPROTO and as HDF5; then both engines go on from that snapshot.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import caffe
import numpy as np
from compare_genuine import ROOT, add_chroot_flag, inside_chroot
from deep_retrieval import cli

DATA = ROOT / 'tests/data/genuine/solvers'


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_chroot_flag(parser)
    return parser.parse_args()


def main(args):
    caffe.init_log(2)
    home = os.getcwd()
    with inside_chroot(args) as (folder, inside):
        shutil.copy(Path(__file__).with_name('snapshots_side.py'), folder)
        os.chdir(folder)
        jobs, inputs, ours = [], {}, {}
        for file in ('steps.npz', 'more_steps.npz'):
            with np.load(DATA / file) as arrays:
                for case in json.loads(str(arrays['index'])):
                    for kind in ('BINARYPROTO', 'HDF5'):
                        name = f'{case["name"]}_{kind}'
                        jobs.append({'name': name, 'iters': case['iters'],
                                     'state': train(case, arrays, name, kind, ours)})
                        inputs.update({f'{name}/{key}': arrays[f'{case["name"]}/{key}']
                                       for key in 'XT'})
        Path('job.json').write_text(json.dumps(jobs))
        np.savez('inputs.npz', **inputs)
        os.chdir(home)
        done = subprocess.run(
            ['chroot', args.chroot, 'python3', f'{inside}/snapshots_side.py', inside],
            stdout=sys.stderr)
        if done.returncode:
            raise RuntimeError(f'genuine Caffe in {args.chroot} failed')
        with np.load(os.path.join(folder, 'result.npz')) as result:
            report(jobs, ours, result)


def train(case, arrays, name, kind, ours):
    """Step a solver to its end, with a snapshot on the way; returns the state's file name."""
    text = re.sub('snapshot_format: [A-Z0-9]+', f'snapshot_format: {kind}', case['solver'])
    text = re.sub('snapshot_prefix: "[^"]*"', f'snapshot_prefix: "{name}"', text)
    Path(f'{name}.net').write_text(case['net'])
    Path(f'{name}.prototxt').write_text(f'net: "{name}.net" {text}')
    solver = caffe.get_solver(f'{name}.prototxt')
    for key in arrays.files:
        if key.startswith(f'{case["name"]}/init/'):
            _, _, layer, index = key.split('/')
            solver.net.params[layer][int(index)].data[...] = arrays[key]
    for k in range(case['iters']):
        if k == case['snapshot_iter']:
            state = solver.snapshot()
        solver.net.blobs['data'].data[...] = arrays[f'{case["name"]}/X'][k]
        solver.net.blobs['target'].data[...] = arrays[f'{case["name"]}/T'][k]
        solver.step(1)
    for layer, blobs in solver.net.params.items():
        for index, blob in enumerate(blobs):
            ours[f'{name}/{layer}/{index}'] = blob.data.copy()
    return state


def report(jobs, ours, result):
    print(f'{"snapshot":28} largest difference, of the largest parameter')
    for job in jobs:
        keys = [key for key in ours if key.startswith(job['name'] + '/')]
        worst = max(np.abs(ours[key] - result[key]).max() / max(np.abs(result[key]).max(), 1e-3)
                    for key in keys)
        print(f'{job["name"]:28} {worst:.1e}')


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
