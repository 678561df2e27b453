#!/usr/bin/env python3
"""Time iterations of the lifted net with and without its frozen trunk's outputs cached on disk.

    python benchmarks/trunk_cache_rate.py

Both runs get the same batches, so the losses must agree. Timed are iterations whose images are in
the cache.
"""

import tempfile
import time

from deep_retrieval import cli


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--images', type=cli.positive, default=24, help='different images')
    parser.add_argument('--iterations', type=cli.positive, default=24,
                        help='iterations of each run')
    return parser.parse_args()


def main(args):
    import caffe
    import numpy as np
    from training_rate import NETS, write
    caffe.init_log(2)
    rng = np.random.default_rng(0)
    images = rng.uniform(-120, 130, (args.images, 3, 288, 384)).astype(np.float32)
    batches = [rng.permutation(args.images)[:12] for _ in range(args.iterations)]
    with tempfile.TemporaryDirectory() as folder:
        write(folder, folder, NETS['lifted'](forks=True))
        losses, without = train(folder, images, batches, None)
        cached_losses, cached = train(folder, images, batches, f'{folder}/cache')
    # the fastest half are iterations whose images are in the cache
    fast, slow = np.median(np.sort(cached)[:len(cached) // 2]), np.median(without)
    print(f'largest difference of the losses: {np.abs(losses - cached_losses).max():.1e}')
    print(f'seconds per iteration: {slow:.3f} without, {fast:.4f} with the cache, '
          f'{slow / fast:.0f} times as fast')


def train(folder, images, batches, cache):
    """Return the loss and the seconds of one iteration per batch (indices of images)."""
    import caffe
    import numpy as np
    from training_side import set_statistics
    caffe.set_random_seed(1)
    solver = caffe.get_solver(f'{folder}/solver.prototxt')
    net = solver.net
    set_statistics(net)
    if cache:
        net.cache_trunk(cache)
    losses, seconds = [], []
    for batch in batches:
        net.blobs['data'].data[...] = images[batch]
        net.blobs['label'].data.flat = batch // 2
        net.blobs['rois'].data[...] = [[i // 8, 0, 0, 383 - 10 * (i % 8), 287] for i in range(96)]
        start = time.perf_counter()
        solver.step(1)
        seconds.append(time.perf_counter() - start)
        losses.append(float(net.blobs['loss'].data))
    return np.array(losses), np.array(seconds)


if __name__ == '__main__':
    cli.run(parse_args, main)
