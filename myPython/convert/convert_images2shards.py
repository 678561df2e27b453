#!/usr/bin/env python3
"""Write the descriptors of a folder's images as shards, which several processes may share out.

    python myPython/convert/convert_images2shards.py --img_dir datasets/photos \
        --features_dir tmp/features --proto proto/deploy_resnet101.prototxt \
        --weights caffemodel/model.caffemodel

The net has the inputs `data` and `rois`. A run that was interrupted goes on where it ended, a later
one adds the images that are new. Damaged images are told, and listed in bad.txt beside the shards.
With `--shard 0/4` to `--shard 3/4`, or by `torchrun --nproc_per_node 4`, whose processes take a GPU
each, four processes fill one folder together.
"""

import argparse
import os

from convert_image2features import add_net_flags
from deep_retrieval import cli
from deep_retrieval.describe import MULTIRES_STEP, sha256
from deep_retrieval.feature_shards import SHARD_SIZE, FeatureFolder
from deep_retrieval.model import END, DescriptorNet
from deep_retrieval.shard_job import MANY_PIXELS, Job, share


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_net_flags(parser, 'proto/deploy_resnet101.prototxt', 'caffemodel/model.caffemodel')
    parser.set_defaults(img_dir='datasets/demo/jpg')
    parser.add_argument('--features_dir', default='tmp/features',
                        help='folder to write: shards of names and N x D float32, a manifest')
    parser.add_argument('--end', default=END, help="blob of the net's descriptor")
    parser.add_argument('--S', type=cli.positive, default=800,
                        help='pixels of the longer side that images are resized to')
    parser.add_argument('--L', type=cli.natural, default=2,
                        help='levels of the rigid grid; 0 for the whole image as one region')
    parser.add_argument('--multires', action='store_true',
                        help='sum the descriptors of S - 250, S and S + 250')
    parser.add_argument('--shard_size', type=cli.positive, default=SHARD_SIZE,
                        help='images in a new shard')
    parser.add_argument('--shard', metavar='I/N',
                        help="take the I-th of N parts, from 0 on; by default torchrun's, or all")
    parser.add_argument('--max_pixels', type=cli.positive, default=MANY_PIXELS,
                        help='images of more pixels are left out as damaged ones are')
    parser.add_argument('--again', action='store_true',
                        help='make those shards anew that have bad or changed images')
    parser.add_argument('--overwrite', action='store_true',
                        help='throw away features that were made otherwise, and write beside '
                             'what else is in the folder')
    return parser.parse_args()


def main(args):
    scales = [args.S + i * MULTIRES_STEP for i in ((-1, 0, 1) if args.multires else (0,))]
    if min(scales) < 1:
        raise ValueError(f'--multires needs an S above {MULTIRES_STEP}')
    job = Job(args.img_dir, args.features_dir, scales, args.batch_size, args.shard_size,
              share(args.shard), args.max_pixels, args.again, args.overwrite, cli.warn)
    cli.use_device(int(os.environ.get('LOCAL_RANK', args.gpu)) if args.gpu >= 0 else -1)
    net = DescriptorNet(args.proto, args.weights, args.L, args.end, args.partial_weights)
    missing = job.run(net, {'weights': sha256(args.weights), 'proto': sha256(args.proto),
                            'L': args.L, 'end': args.end})
    if missing:
        print(f'{args.features_dir}: {len(missing)} shards of other processes are still missing')
        return
    folder = FeatureFolder(args.features_dir)
    bad = f'; {len(folder.bad)} bad images, see bad.txt' if folder.bad else ''
    print(f'{args.features_dir}: {len(folder)} x {folder.dim}{bad}')


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
