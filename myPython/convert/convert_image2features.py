#!/usr/bin/env python3
"""Describe the images of a folder with a net that makes its own regions, such as the teacher.

    python myPython/convert/convert_image2features.py --img_dir datasets/landmark/clean \
        --proto proto/distilling/deploy_resnet101_teacher_pca512.prototxt \
        --weights caffemodel/teacher.caffemodel \
        --features_npy features.npy --features_txt features.txt

The text file has one line `IMAGE.jpg ROW` per image, shuffled: a list for convert_imageset, which
makes an LMDB from it. An interrupted run resumes.
"""

from deep_retrieval import cli, convert_flags


def parse_args():
    parser = cli.parser(__doc__)
    convert_flags.add_teacher(parser)
    convert_flags.add_outputs(parser, '`IMAGE.jpg ROW`')
    return parser.parse_args()


def main(args):
    from deep_retrieval.training import teacher
    cli.use_device(args.gpu)
    features = teacher.teach(
        args.img_dir, args.proto, args.weights, args.features_npy, args.features_txt, S=args.S,
        end=args.end, batch_size=args.batch_size, skip_bad=args.skip_bad, seed=args.seed,
        partial_weights=args.partial_weights)
    print(f'{args.features_npy}: {features.shape[0]} x {features.shape[1]}')


if __name__ == '__main__':
    cli.run(parse_args, main)
