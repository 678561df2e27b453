#!/usr/bin/env python3
"""How much of the bare network's rate test.py's extraction reaches, on one machine.

    python benchmarks/extraction_rate.py --dataset datasets/demo

The network alone runs over the same images in the same batches, decoded and resized before the
clock starts. The two take turns, and the best of each counts.
"""

import argparse
import os
import tempfile
import time

from deep_retrieval import cli
from deep_retrieval.datasets import DATASETS
from deep_retrieval.extraction import Item, batches, extract
from deep_retrieval.model import DescriptorNet
from deep_retrieval.paths import ROOT


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--dataset', default=ROOT / 'datasets/demo',
                        help='folder with jpg/ and lab/')
    parser.add_argument('--proto', default=ROOT / 'proto/deploy_resnet101.prototxt',
                        help='prototxt of the net')
    parser.add_argument('--weights', default=ROOT / 'caffemodel/demo_resnet101.caffemodel',
                        help='caffemodel of the net')
    parser.add_argument('--S', type=cli.positive, default=512, help='longer side in pixels')
    parser.add_argument('--images', type=cli.positive, default=96, help='images described')
    parser.add_argument('--batch_size', type=cli.positive, default=4, help='images at once')
    parser.add_argument('--turns', type=cli.positive, default=3, help='turns of each side')
    parser.add_argument('--gpu', type=int, default=-1, help='GPU to compute on; -1 for the CPU')
    return parser.parse_args()


def main(args):
    dataset = DATASETS['Oxford'](args.dataset)
    items = [Item(name, dataset.image_path(name))
             for name in dataset.images[:args.images]]
    cli.use_device(args.gpu)
    net = DescriptorNet(args.proto, args.weights, L=2)
    todo = list(range(len(items)))
    prepared = [images for _, images, _ in batches(items, todo, args.S, args.batch_size)]
    seconds = {'bare network': [], 'extraction': []}
    run_bare(net, prepared)      # warms up
    for _ in range(args.turns):
        seconds['bare network'].append(timed(lambda: run_bare(net, prepared)))
        with tempfile.TemporaryDirectory() as folder:
            seconds['extraction'].append(timed(lambda: extract(
                net, items, args.S, os.path.join(folder, 'x.npy'), {}, args.batch_size)))
    best = {name: min(values) for name, values in seconds.items()}
    for name, value in best.items():
        print(f'{name:14} {len(items) / value:6.2f} images/s')
    print(f'{"share":14} {best["bare network"] / best["extraction"]:6.1%}')


def run_bare(net, batches):
    for images in batches:
        net(images)


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
