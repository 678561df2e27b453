#!/usr/bin/env python3
"""Measure the time and memory of a sweep of 11 thresholds over a mapped file of a million anchors.

    python benchmarks/sweep_rate.py

check_on_cover.py runs as a user would run it, on groups with some similar images in other groups.
"""

import os
import subprocess
import sys
import tempfile
import time

from deep_retrieval import cli, paths

SCRIPT = paths.ROOT / 'myPython/check_on_cover.py'
SIZE = 8        # images per group


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--anchors', type=cli.positive, default=1000000, help='lines of the file')
    parser.add_argument('--items', type=cli.positive, default=10, help='items per line')
    return parser.parse_args()


def main(args):
    from deep_retrieval.duplicates import mapped_files
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
              f'of CPU time, {usage.ru_maxrss / 1e6:.2f} GB, load {os.getloadavg()[0]:.1f}')


def lines(names, count):
    """Yield lines that begin with the images of the group, then one image of each next group."""
    import numpy as np
    random = np.random.default_rng(0)
    for i, name in enumerate(names):
        start = i // SIZE * SIZE
        near = [other for other in names[start:start + SIZE] if other != name][:count]
        others = (random.integers(start, start + SIZE, count - len(near))
                  + SIZE * np.arange(1, count - len(near) + 1)) % len(names)
        scores = np.sort(random.uniform(0.6, 0.8, count))[::-1].tolist()
        yield name, list(zip([*near, *(names[k] for k in others)], scores, strict=True))


if __name__ == '__main__':
    cli.run(parse_args, main)
