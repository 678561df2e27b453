#!/usr/bin/env python3
"""Make demo weights for a deploy net, to try the toolkit without trained ones.

    python caffemodel/make_demo_model.py --dataset datasets/demo
    python caffemodel/make_demo_model.py --proto proto/deploy_resnet_tiny.prototxt \
        --components 128 --trunk caffemodel/resnet_tiny_classes_iter_1500.caffemodel --S 384 \
        --img_dir datasets/tiny/landmark/clean --output caffemodel/resnet_tiny.caffemodel

Without a trained trunk, the first convolution gets Gabor filters on brightness and colour, the
others are random (He et al., 2015), and the BatchNorm statistics are measured on images. Centring
and PCA are fitted to the regions of images: those of a folder, or the dataset's distractors (images
that no query's ground truth names). X.json beside X.caffemodel describes the weights.
"""

from deep_retrieval import cli, paths


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--proto', default=paths.PROTO, help='prototxt of the net')
    parser.add_argument('--dataset', default=paths.DATASETS / 'demo',
                        help="folder in Oxford's layout, whose distractors are used")
    parser.add_argument('--img_dir', help='folder of images to use instead, searched recursively')
    parser.add_argument('--trunk', help='caffemodel with a trained trunk; random by default')
    parser.add_argument('--output', default=paths.DEMO_WEIGHTS, help='the caffemodel to write')
    parser.add_argument('--S', type=cli.positive, default=512,
                        help='longer side of the images that the PCA is fitted to')
    parser.add_argument('--components', type=cli.positive, default=128,
                        help='number of PCA directions to keep; the other outputs are 0')
    parser.add_argument('--whitening', type=float, default=1,
                        help='divide each direction by this power of its standard deviation: 0 for '
                             'plain PCA, 1 for full whitening')
    parser.add_argument('--gpu', type=int, default=-1, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--seed', type=int, default=0, help='seed of the random weights')
    return parser.parse_args()


def main(args):
    from deep_retrieval.surgery import demo_weights
    cli.use_device(args.gpu)
    demo_weights.make(args.proto, args.output,
                      demo_weights.image_paths(args.dataset, args.img_dir), trunk=args.trunk,
                      S=args.S, components=args.components, whitening=args.whitening,
                      seed=args.seed)


if __name__ == '__main__':
    cli.run(parse_args, main)
