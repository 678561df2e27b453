#!/usr/bin/env python3
"""Make a student's training data: a teacher's features of a folder's images, and their LMDB.

    python myPython/convert/make_features_lmdb.py --img_dir datasets/landmark/clean \
        --proto proto/distilling/deploy_resnet101_teacher_pca512.prototxt \
        --weights caffemodel/teacher.caffemodel \
        --train_proto proto/distilling/pca512/train_resnet101_student_pca512.prototxt

The files are written where the training net reads them; its paths are relative to the current
folder. The list of images is features.txt beside features.npy. An interrupted run resumes.
"""

import os

from deep_retrieval import cli, convert_flags


def parse_args():
    parser = cli.parser(__doc__)
    convert_flags.add_teacher(parser)
    parser.add_argument('--train_proto', default=convert_flags.TINY
                        / 'pca32/train_resnet_tiny_student_pca32.prototxt',
                        help="the student's training net, which names the files to make")
    parser.add_argument('--phase', choices=('TRAIN', 'TEST'), default='TRAIN',
                        help='the phase whose files to make')
    for name in ('height', 'width'):
        parser.add_argument(f'--resize_{name}', type=cli.positive,
                            help=f"{name} of the LMDB's images in pixels; by default that of the "
                                 "net's regions, or of 192 x 256 if those fit any size")
    return parser.parse_args()


def main(args):
    from deep_retrieval.training import student_data, teacher
    lmdb, features_npy, (height, width) = student_data.places(args.train_proto, args.phase)
    features_txt = os.path.splitext(features_npy)[0] + '.txt'
    cli.use_device(args.gpu)
    teacher.teach(args.img_dir, args.proto, args.weights, features_npy, features_txt, S=args.S,
                  end=args.end, batch_size=args.batch_size, skip_bad=args.skip_bad,
                  seed=args.seed, partial_weights=args.partial_weights)
    size = args.resize_height or height, args.resize_width or width
    student_data.make_lmdb(args.img_dir, features_txt, lmdb, size)
    print(f'{lmdb}: images of {size[0]} x {size[1]} pixels')


if __name__ == '__main__':
    cli.run(parse_args, main)
