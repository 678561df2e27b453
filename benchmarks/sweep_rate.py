#!/usr/bin/env python3
"""Seconds and memory of a sweep of 11 thresholds over a mapped file of a million anchors.

    python benchmarks/sweep_rate.py

check_on_cover.py runs as a user runs it, on groups with some similar images of other ones.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
from deep_retrieval import cli
from deep_retrieval.duplicates import mapped_files
from deep_retrieval.paths import ROOT

SCRIPT = ROOT / 'myPython/check_on_cover.py'
SIZE = 8        # images of a group


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--anchors', type=cli.positive, default=1000000, help='lines of the file')
    parser.add_argument('--items', type=cli.positive, default=10, help='items of a line')
    return parser.parse_args()


def main(args):
    with tempfile.TemporaryDirectory() as folder:
        mapped, groups = (os.path.join(folder, name) for name in ('mapped.txt', 'groups.txt'))
        names = [f'images/{i:08d}.jpg' for i in range(args.anchors)]
        with open(groups, 'w') as file:
            file.writelines(f'{start}\t{" ".join(names[start:start + SIZE])}\n'
                            for start in range(0, args.anchors, SIZE))
        mapped_files.write(mapped, lines(names, args.items))
        start = time.perf_counter()
        child = subprocess.Popen([sys.executable, str(SCRIPT), 'sweep', '--mapped', mapped,
                                  '--groups', groups])
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            raise RuntimeError(f'{SCRIPT} failed')
        print(f'{args.anchors} anchors of {args.items} items, {os.path.getsize(mapped) / 1e6:.0f} '
              f'MB: {time.perf_counter() - start:.1f} s, {usage.ru_utime + usage.ru_stime:.1f} s '
              f'of a core, {usage.ru_maxrss / 1e6:.2f} GB, load {os.getloadavg()[0]:.1f}')


def lines(names, count):
    """Lines with the images of the group first, then one each of the groups behind it."""
    random = np.random.default_rng(0)
    for i, name in enumerate(names):
        start = i // SIZE * SIZE
        near = [other for other in names[start:start + SIZE] if other != name][:count]
        others = (random.integers(start, start + SIZE, count - len(near))
                  + SIZE * np.arange(1, count - len(near) + 1)) % len(names)
        scores = np.sort(random.uniform(0.6, 0.8, count))[::-1].tolist()
        yield name, list(zip([*near, *(names[k] for k in others)], scores))


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
