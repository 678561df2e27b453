#!/usr/bin/env python3
"""Describe the images of a folder and write the descriptors in shards, in one or more processes.

    python myPython/convert/convert_images2shards.py --img_dir datasets/photos \
        --features_dir tmp/features --weights caffemodel/model.caffemodel

An interrupted run resumes, and a later run adds new images. Damaged images are reported, and listed
in bad.txt beside the shards. Four processes can fill one folder together: run them with `--shard
0/4` to `--shard 3/4`, or with `torchrun --nproc_per_node 4`, which uses one GPU per process.
"""

import os

from deep_retrieval import cli, paths


def parse_args():
    parser = cli.parser(__doc__)
    cli.add_model_flags(parser)
    parser.add_argument('--img_dir', default=paths.DATASETS / 'demo/jpg',
                        help='folder of the images; folders in it are searched too')
    parser.add_argument('--features_dir', default=paths.TEMP / 'features',
                        help='folder to write: shards of names and N x D float32, and a manifest')
    cli.add_multires(parser, 'papers')
    parser.add_argument('--batch_size', type=cli.positive, default=4,
                        help='images of one size that the net takes at once')
    parser.add_argument('--shard_size', type=cli.positive, default=512,
                        help='images in a new shard')
    parser.add_argument('--shard', metavar='I/N',
                        help="process part I of N, counted from 0; by default torchrun's part, or "
                             'everything')
    parser.add_argument('--max_pixels', type=cli.positive, default=80_000_000,
                        help='leave out images with more pixels, as if they were damaged')
    parser.add_argument('--again', action='store_true',
                        help='recompute the shards that have bad images, although those have not '
                             'changed')
    parser.add_argument('--overwrite', action='store_true',
                        help='discard features that were made with other settings, and write into '
                             'a folder with other files')
    return parser.parse_args()


def main(args):
    from deep_retrieval import shard_job
    from deep_retrieval.scales import scales_of
    job = shard_job.Job(args.img_dir, args.features_dir, scales_of(args.S or 800, args.multires),
                        args.batch_size, args.shard_size, shard_job.share(args.shard),
                        args.max_pixels, args.again, args.overwrite)
    if args.gpu >= 0:
        args.gpu = int(os.environ.get('LOCAL_RANK', args.gpu))
    model = cli.load_model(args)
    job.scales = scales_of(model.S, args.multires)
    missing = job.run(model.net, model.made_from)
    if missing:
        print(f'{args.features_dir}: {len(missing)} shards of other processes are still missing')
        return
    folder = job.open()
    bad = f'; {len(folder.bad)} bad images, see bad.txt' if folder.bad else ''
    print(f'{args.features_dir}: {len(folder)} x {folder.dim}{bad}')


if __name__ == '__main__':
    cli.run(parse_args, main)
