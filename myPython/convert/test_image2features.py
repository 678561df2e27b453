#!/usr/bin/env python3
"""Describe the images of a folder, each at its original size.

    python myPython/convert/test_image2features.py --img_dir datasets/Oxford/jpg \
        --proto proto/deploy_resnet101.prototxt --weights caffemodel/model.caffemodel \
        --features_npy features.npy --features_txt features.txt

The text file has one line `ROW<TAB>NAME` per image, in the order of the rows: the list that
test_SimilarCluster.py reads. An interrupted run resumes.
"""

from deep_retrieval import cli, convert_flags, paths


def parse_args():
    parser = cli.parser(__doc__)
    convert_flags.add_net(parser, paths.PROTO, paths.WEIGHTS)
    convert_flags.add_outputs(parser, '`ROW<TAB>NAME`')
    parser.add_argument('--L', type=cli.natural, default=2,
                        help='levels of the rigid grid, for a net that has an input `rois`')
    parser.add_argument('--end', help="blob of the net's descriptor; by default rmac/normalized, "
                        'or rmac/eltwise/normalized for a net that makes its own regions')
    return parser.parse_args()


def main(args):
    from deep_retrieval.extraction import extract, images_of
    from deep_retrieval.model import model_key
    from deep_retrieval.training import teacher
    items = images_of(args.img_dir)
    cli.use_device(args.gpu)
    net = teacher.open_net(args.proto, args.weights, args.L, args.end, args.partial_weights)
    features, _ = extract(net, items, None, args.features_npy,
                          model_key(args.weights, args.proto, args.L, net.end), args.batch_size,
                          args.skip_bad)
    teacher.write_rows(args.features_txt, items, features)
    print(f'{args.features_npy}: {features.shape[0]} x {features.shape[1]}')


if __name__ == '__main__':
    cli.run(parse_args, main)
