#!/usr/bin/env python3
"""Time iterations of the lifted net with and without a cache of its frozen trunk.

    python benchmarks/trunk_cache_rate.py --net tiny

Both runs get the same random batches of 12 images, randomly mirrored, for three passes, so their
losses must agree. For each pass, the script prints the share of images that the trunk had to
compute, and the seconds per iteration without and with the cache.
"""

import tempfile
import time
from pathlib import Path

from deep_retrieval import cli, paths

BATCH, HEIGHT, WIDTH, REGIONS, PASSES = 12, 288, 384, 8, 3
TINY = 'proto/tiny/triplet/pca32/train_resnet_tiny_lifted_pca32.prototxt'


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--net', choices=['tiny', 'resnet101'], default='tiny',
                        help='the trunk')
    parser.add_argument('--images', type=cli.positive, default=24, help='different images')
    parser.add_argument('--draws', type=cli.positive, default=8,
                        help='how often each image is drawn per pass, on average')
    return parser.parse_args()


def main(args):
    import caffe
    import numpy as np
    from deep_retrieval.training.trunk_cache import TrunkCache
    from training_rate import NETS, write
    if args.images < BATCH:
        raise ValueError(f'--images {args.images}: a batch needs {BATCH} different images; give at '
                         'least as many')
    caffe.init_log(2)
    rng = np.random.default_rng(0)
    images = rng.uniform(-120, 130, (args.images, 3, HEIGHT, WIDTH)).astype(np.float32)
    count = -(-args.images * args.draws // BATCH)
    batches = [(rng.choice(args.images, BATCH, replace=False), rng.integers(2, size=BATCH))
               for _ in range(PASSES * count)]
    with tempfile.TemporaryDirectory() as folder:
        net = NETS['lifted'](forks=True)
        write(folder, folder, filled(tiny(net) if args.net == 'tiny' else net))
        losses, without, _ = train(folder, images, batches, None)
        cached_losses, cached, shares = train(folder, images, batches,
                                              TrunkCache(f'{folder}/cache'))
    print(f'{len(batches)} iterations, {args.images} images, each as it is or mirrored')
    print(f'largest difference of the losses: {np.abs(losses - cached_losses).max():.1e} '
          f'of {losses.mean():.3g}')
    print(f'{"pass":>4} {"computed":>9} {"without":>9} {"cached":>9} {"ratio":>6}')
    for index in range(PASSES):
        part = slice(index * count, (index + 1) * count)
        slow, fast = without[part].mean(), cached[part].mean()
        print(f'{index + 1:4} {shares[part].mean():9.1%} {slow:7.3f} s {fast:7.3f} s '
              f'{slow / fast:6.1f}')


def tiny(lifted):
    """Return the lifted net with the narrow trunk and the inputs of `lifted`."""
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format
    net = text_format.Parse((paths.ROOT / TINY).read_text(), caffe_pb2.NetParameter())
    inputs = {layer.name: layer for layer in lifted.layer if layer.type == 'Input'}
    kept = [layer for layer in net.layer if layer.name not in inputs]
    del net.layer[:]
    net.layer.extend([*inputs.values(), *kept])
    return net


def filled(net):
    """Fill the net with random weights where its prototxt expects those of a file."""
    for layer in net.layer:
        if layer.type in ('Convolution', 'InnerProduct'):
            field = 'convolution_param' if layer.type == 'Convolution' else 'inner_product_param'
            getattr(layer, field).weight_filler.type = 'msra'
    return net


def train(folder, images, batches, cache):
    """Train; return loss, seconds and share of computed images of each iteration."""
    import caffe
    import numpy as np
    from training_side import set_statistics
    caffe.set_random_seed(1)
    solver = caffe.get_solver(str(Path(folder, 'solver.prototxt')))
    net = solver.net
    set_statistics(net)
    if cache:
        net.cache_trunk(cache)
    rows = []
    for order, mirrored in batches:
        data = net.blobs['data'].data
        for place, (image, mirror) in enumerate(zip(order, mirrored, strict=True)):
            data[place] = images[image, :, :, ::-1] if mirror else images[image]
        net.blobs['label'].data.flat = order // 2
        net.blobs['rois'].data[...] = [[i // REGIONS, 0, 0, WIDTH - 1 - 10 * (i % REGIONS),
                                        HEIGHT - 1] for i in range(BATCH * REGIONS)]
        del data
        before, start = cache.computed if cache else 0, time.perf_counter()
        solver.step(1)
        seconds = time.perf_counter() - start
        share = (cache.computed - before) / BATCH if cache else 1
        rows.append((float(net.blobs['loss'].data), seconds, share))
    return tuple(np.array(column) for column in zip(*rows, strict=True))


if __name__ == '__main__':
    cli.run(parse_args, main)
