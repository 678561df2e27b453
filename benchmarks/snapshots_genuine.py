#!/usr/bin/env python3
"""Resume from snapshots of this engine in genuine Caffe 1.0, and compare the parameters.

    python benchmarks/snapshots_genuine.py --chroot FOLDER

For every solver setting in tests/data/genuine/solvers, this engine runs half the steps and writes a
snapshot, as BINARYPROTO and as HDF5; then both engines resume from it.
"""

import json
import os
import re
from pathlib import Path

import genuine
from deep_retrieval import cli, paths

DATA = paths.ROOT / 'tests/data/genuine/solvers'


def parse_args():
    parser = cli.parser(__doc__)
    genuine.add_chroot_flag(parser)
    return parser.parse_args()


def main(args):
    import caffe
    import numpy as np
    caffe.init_log(2)
    home = os.getcwd()
    with genuine.inside(args.chroot, 'snapshots_side.py') as (folder, path):
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
        genuine.run(args.chroot, f'{path}/snapshots_side.py', path)
        with np.load(os.path.join(folder, 'result.npz')) as result:
            report(jobs, ours, result)


def train(case, arrays, name, kind, ours):
    """Run a solver to its end, with a snapshot halfway; return the name of the state file."""
    import caffe
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
    import numpy as np
    print(f'{"snapshot":28} largest difference, relative to the largest parameter')
    for job in jobs:
        keys = [key for key in ours if key.startswith(job['name'] + '/')]
        worst = max(np.abs(ours[key] - result[key]).max() / max(np.abs(result[key]).max(), 1e-3)
                    for key in keys)
        print(f'{job["name"]:28} {worst:.1e}')


if __name__ == '__main__':
    cli.run(parse_args, main)
