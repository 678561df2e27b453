#!/usr/bin/env python3
"""Compare the speed of test.py's extraction with that of the net alone.

    python benchmarks/extraction_rate.py --dataset datasets/demo

The net alone gets the same images in the same batches, decoded and resized before the timing. The
two take turns, and the best run of each counts.
"""

import os
import tempfile
import time

from deep_retrieval import cli, paths


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--dataset', default=paths.DATASETS / 'demo',
                        help='folder with jpg/ and lab/')
    parser.add_argument('--proto', default=paths.PROTO,
                        help='prototxt of the net')
    parser.add_argument('--weights', default=paths.DEMO_WEIGHTS, help='caffemodel of the net')
    parser.add_argument('--S', type=cli.positive, default=512, help='longer side in pixels')
    parser.add_argument('--images', type=cli.positive, default=96, help='images described')
    parser.add_argument('--batch_size', type=cli.positive, default=4, help='images per batch')
    parser.add_argument('--turns', type=cli.positive, default=3, help='turns of each side')
    parser.add_argument('--gpu', type=int, default=-1, help='GPU to compute on; -1 for the CPU')
    return parser.parse_args()


def main(args):
    from deep_retrieval.datasets import open_dataset
    from deep_retrieval.extraction import Item, batches, extract
    from deep_retrieval.model import DescriptorNet
    dataset = open_dataset(args.dataset)
    items = [Item(name, dataset.image_path(name)) for name in dataset.images[:args.images]]
    cli.use_device(args.gpu)
    net = DescriptorNet(args.proto, args.weights, L=2)
    ready = [images for _, images, _ in batches(items, range(len(items)), args.S, args.batch_size)]
    seconds = {'bare network': [], 'extraction': []}
    run_bare(net, ready)      # warms up
    for _ in range(args.turns):
        seconds['bare network'].append(timed(lambda: run_bare(net, ready)))
        with tempfile.TemporaryDirectory() as folder:
            seconds['extraction'].append(timed(lambda: extract(
                net, items, args.S, os.path.join(folder, 'x.npy'), {}, args.batch_size)))
    best = {name: min(values) for name, values in seconds.items()}
    for name, value in best.items():
        print(f'{name:14} {len(items) / value:6.2f} images/s')
    print(f'{"share":14} {best["bare network"] / best["extraction"]:6.1%}')


def run_bare(net, ready):
    for images in ready:
        net(images)


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == '__main__':
    cli.run(parse_args, main)
