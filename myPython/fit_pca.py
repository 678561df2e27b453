#!/usr/bin/env python3
"""Fit a net's centring and projection layers by PCA of their inputs, on a folder's images.

    python myPython/fit_pca.py --proto proto/reduce/serial/deploy_resnet101_pca512.prototxt \
        --weights caffemodel/model.caffemodel --img_dir datasets/landmark/clean

Use it to start the serial reduction of the pair losses from the PCA of the full descriptors.
"""

from deep_retrieval import cli, paths


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--proto',
                        default=paths.ROOT / 'proto/reduce/serial/deploy_resnet101_pca512.prototxt',
                        help='prototxt of the deploy net')
    parser.add_argument('--weights', default=paths.WEIGHTS,
                        help='caffemodel with all layers of the net before the centring')
    parser.add_argument('--img_dir', default=paths.DATASETS / 'landmark/clean',
                        help='folder of images, searched recursively')
    parser.add_argument('--centre', default='pooled_rois/shift', metavar='LAYER',
                        help='the Scale layer that centres')
    parser.add_argument('--project', default='pooled_rois/reduce', metavar='LAYER',
                        help='the InnerProduct layer that projects')
    parser.add_argument('--S', type=cli.positive, default=512,
                        help='longer side of the images in pixels')
    parser.add_argument('--L', type=cli.natural, default=2, help='levels of the rigid grid')
    parser.add_argument('--whitening', type=float, default=0,
                        help='divide each direction by this power of its standard deviation: 0 for '
                             'plain PCA, 1 for full whitening')
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--output', default=paths.ROOT
                        / 'caffemodel/reduce_serial_start.caffemodel',
                        help='the caffemodel to write')
    return parser.parse_args()


def main(args):
    from deep_retrieval.surgery import pca_layers
    cli.use_device(args.gpu)
    components, images = pca_layers.fit_folder(
        args.proto, args.weights, args.img_dir, args.output, S=args.S, L=args.L,
        centre=args.centre, project=args.project, whitening=args.whitening)
    print(f'{args.output}: {components} directions of {images} images')


if __name__ == '__main__':
    cli.run(parse_args, main)
