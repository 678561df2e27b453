#!/usr/bin/env python3
"""Describe the images of a folder: descriptors of three scales, summed and normalized.

    python myPython/convert/convert_image2features_multires.py --img_dir datasets/landmark/clean \
        --proto proto/deploy_resnet101.prototxt --weights caffemodel/model.caffemodel \
        --features_npy features.npy --features_txt features.txt

The net must have the inputs `data` and `rois`. The files have the format of
convert_image2features.py; the features of each scale are kept beside them, to resume from.
"""

from deep_retrieval import cli, convert_flags, paths


def parse_args():
    parser = cli.parser(__doc__)
    convert_flags.add_net(parser, paths.PROTO, paths.WEIGHTS)
    convert_flags.add_seed(parser)
    convert_flags.add_outputs(parser, '`IMAGE.jpg ROW`')
    parser.add_argument('--scales', type=cli.positive, nargs='+', default=[256, 512, 768],
                        help='longer sides in pixels that images are resized to, one per scale')
    parser.add_argument('--L', type=cli.natural, default=2,
                        help='levels of the rigid grid; 0 for the whole image as one region')
    parser.add_argument('--end', default='rmac/normalized', help="blob of the net's descriptor")
    return parser.parse_args()


def main(args):
    from deep_retrieval.extraction import images_of
    from deep_retrieval.model import DescriptorNet, model_key
    from deep_retrieval.training import teacher
    items = images_of(args.img_dir)
    cli.use_device(args.gpu)
    net = DescriptorNet(args.proto, args.weights, args.L, args.end, args.partial_weights)
    features = teacher.convert(net, items, args.scales, args.features_npy,
                               model_key(args.weights, args.proto, args.L, args.end),
                               args.batch_size, args.skip_bad)
    teacher.write_list(args.features_txt, items, features, args.seed)
    print(f'{args.features_npy}: {features.shape[0]} x {features.shape[1]}')


if __name__ == '__main__':
    cli.run(parse_args, main)
