#!/usr/bin/env python3
"""Time the search for all similar pairs of random unit vectors, compared to bare matrix products.

    python benchmarks/all_pairs_rate.py

features2mapped.py runs as a user would run it, with 100 planted pairs to find. Then the same blocks
are only multiplied. The ratio compares CPU time, which depends less on the load of other programs.
The last line extrapolates to a million vectors from a thousandth of the work.
"""

import os
import subprocess
import sys
import tempfile
import time

from deep_retrieval import cli, paths

SCRIPT = paths.ROOT / 'myPython/convert/features2mapped.py'
PLANTED = 100       # similar pairs
WRITTEN = 8192      # rows generated at once


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--counts', type=cli.positive, nargs='*', default=[25000, 50000, 100000],
                        help='numbers of vectors to time')
    parser.add_argument('--slice', type=cli.natural, default=1000000,
                        help='number of vectors to extrapolate to; 0 for none')
    parser.add_argument('--dim', type=cli.positive, default=512, help='dimensions')
    parser.add_argument('--threshold', type=float, default=0.6, help='least similarity')
    parser.add_argument('--approximate', action='store_true', help='use a faiss index')
    parser.add_argument('--gpu', type=int, default=-1, help='GPU to compute on; -1 for the CPU')
    return parser.parse_args()


def main(args):
    import torch
    print(f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} '
          'threads')
    print(f'{"vectors":>9} {"search":>10} {"CPU time":>10} {"multiplied":>11} {"CPU time":>10} '
          f'{"ratio":>6} {"memory":>8} {"pairs":>6} {"load":>5}')
    for count in args.counts:
        with tempfile.TemporaryDirectory() as folder:
            path = make(folder, count, args.dim)
            seconds, work, memory, pairs = run(path, args)
            bare, bare_work = multiply(args, path)
            print(f'{count:9} {seconds:8.1f} s {work:8.1f} s {bare:9.1f} s {bare_work:8.1f} s '
                  f'{work / bare_work:6.2f} {memory / 1e9:5.2f} GB {pairs:6} '
                  f'{os.getloadavg()[0]:5.1f}', flush=True)
    if args.slice:
        with tempfile.TemporaryDirectory() as folder:
            share, seconds, work = measure_slice(make(folder, args.slice, args.dim), args)
        print(f'{args.slice:9} {seconds:.1f} s, {work:.1f} s of CPU time, for {share:.2%} of '
              f'the products: all take {seconds / share / 60:.0f} minutes, '
              f'{work / share / 60:.0f} of CPU time; load {os.getloadavg()[0]:.1f}')


def make(folder, count, dim):
    """Write random unit vectors and their names; the last vectors are similar to the first."""
    import numpy as np
    random, path = np.random.default_rng(0), os.path.join(folder, 'x.npy')
    rows = np.lib.format.open_memmap(path, 'w+', np.float32, (count, dim))
    for start in range(0, count, WRITTEN):
        rows[start:start + WRITTEN] = random.standard_normal((min(WRITTEN, count - start), dim),
                                                             np.float32)
    near = rows[:PLANTED] + random.standard_normal((PLANTED, dim), np.float32) / 2
    rows[count - PLANTED:] = near
    for start in range(0, count, WRITTEN):
        some = rows[start:start + WRITTEN]
        some /= np.linalg.norm(some, axis=1, keepdims=True)
    rows.flush()
    with open(os.path.join(folder, 'x.txt'), 'w') as file:
        file.writelines(f'folder/{row:08d}.jpg {row}\n' for row in range(count))
    return path


def run(path, args):
    """Run the script; return its seconds, CPU seconds, peak memory in bytes and pairs found."""
    command = [sys.executable, str(SCRIPT), '--features', path, '--output', f'{path}.mapped',
               '--threshold', str(args.threshold), '--gpu', str(args.gpu)]
    start = time.perf_counter()
    child = subprocess.Popen(command + ['--approximate'] * args.approximate, text=True,
                             stdout=subprocess.PIPE)
    told = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise RuntimeError(f'{SCRIPT} failed')
    return (time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024,
            int(told.split()[1]))


def multiply(args, path):
    """Return the seconds and CPU seconds of the matrix products of all blocks."""
    import numpy as np
    import torch
    from deep_retrieval.duplicates.similar_pairs import Exact, device_of
    rows, find = np.load(path), Exact(device_of(args.gpu))
    rows, size = torch.from_numpy(rows).to(find.device), find.block
    start, work = time.perf_counter(), time.process_time()
    for r, c in find.parts(len(rows)):
        value = rows[r:r + size] @ rows[c:c + size].T
    value[0, 0].item()      # waits for a GPU
    return time.perf_counter() - start, time.process_time() - work


def measure_slice(path, args):
    """Compute some panels; return their share of all products, their seconds and CPU seconds."""
    from deep_retrieval.duplicates.similar_pairs import Exact, check, device_of
    from deep_retrieval.features import NamedRows
    features, find = NamedRows(path, f'{os.path.splitext(path)[0]}.txt'), Exact(device_of(args.gpu))
    squares, _ = check(features)
    parts = find.parts(len(features))
    last = max(1, len(parts) // 1000)
    start, work = time.perf_counter(), time.process_time()
    for part, *_ in find(features, squares, args.threshold):
        if part == last - 1:
            break
    return last / len(parts), time.perf_counter() - start, time.process_time() - work


if __name__ == '__main__':
    cli.run(parse_args, main)
