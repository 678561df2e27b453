#!/usr/bin/env python3
"""Learn the projections of the EfficientNet-Lite nets on folders of photographs.

    python caffemodel/make_lite_heads.py --photos photos/general photos/landmarks \
        photos/near_duplicates --duplicates photos/near_duplicates

It writes caffemodel/heads/TRUNK_POOLING.npz, which make_lite.py reads. caffemodel/README.md says
what those in the repository were learned from.
"""

from deep_retrieval import cli, paths


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--photos', nargs='+', metavar='FOLDER',
                        default=[paths.DATASETS / 'photos'],
                        help='folders of photographs to learn from, with all folders below')
    parser.add_argument('--duplicates', metavar='FOLDER',
                        help='one of these folders, with near-duplicates in groups.txt, to measure '
                             'thresholds on')
    parser.add_argument('--trunk', nargs='+', choices=['lite0', 'lite1', 'lite2'],
                        default=['lite0', 'lite1', 'lite2'], help='EfficientNet-Lite 0, 1 or 2')
    parser.add_argument('--pooling', nargs='+', choices=['rmac', 'gem'], default=['rmac', 'gem'],
                        help='what pools the last map')
    parser.add_argument('--S', type=cli.positive, default=362,
                        help='longer side of the photographs in pixels')
    parser.add_argument('--power', type=float, default=0.5,
                        help='of the standard deviations that directions are divided by: 0 leaves '
                             'them as they are, 1 makes them equal')
    parser.add_argument('--dims', type=cli.positive,
                        help='dimensions to keep (default: 1024 for rmac, 512 for gem)')
    parser.add_argument('--folder', default=paths.ROOT / 'caffemodel/heads',
                        help='folder of the files to write')
    parser.add_argument('--gpu', type=int, default=-1, help='GPU to compute on; -1 for the CPU')
    return parser.parse_args()


def main(args):
    from pathlib import Path

    from deep_retrieval.surgery import lite_heads
    cli.use_device(args.gpu)
    for trunk in args.trunk:
        for pooling in args.pooling:
            output = Path(args.folder) / f'{trunk}_{pooling}.npz'
            head = lite_heads.learn(trunk, pooling, args.photos, args.duplicates, output, S=args.S,
                                    power=args.power, dims=args.dims)
            print(f'{paths.shown(output)}: {head.matrix.shape[1]} dimensions')


if __name__ == '__main__':
    cli.run(parse_args, main)
