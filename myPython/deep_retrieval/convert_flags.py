"""The flags that the scripts of myPython/convert share."""

from deep_retrieval import cli, paths

TINY = paths.ROOT / 'proto/tiny/distilling'
TEACHER_END = 'rmac/eltwise/normalized'


def add_net(parser, proto, weights) -> None:
    """Add the flags of a script that runs a net over a folder."""
    parser.add_argument('--proto', default=proto, help='prototxt of the net')
    parser.add_argument('--weights', default=weights, help='caffemodel of the net')
    parser.add_argument('--img_dir', default=paths.DATASETS / 'tiny/landmark/clean',
                        help='folder of the images; folders in it are searched too')
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--batch_size', type=cli.positive, default=4,
                        help='images of one size that the net takes at once')
    parser.add_argument('--partial_weights', action='store_true',
                        help='accept weights that do not name the same layers as the net')
    parser.add_argument('--skip_bad', action='store_true', help='leave damaged images out')


def add_outputs(parser, line: str) -> None:
    """Add the flags of the files to write; `line` is what the list has for each image."""
    parser.add_argument('--features_npy', default=paths.TEMP / 'features.npy',
                        help='file to write, N x D float32')
    parser.add_argument('--features_txt', default=paths.TEMP / 'features.txt',
                        help=f'file to write, one line {line} per image')


def add_seed(parser) -> None:
    """Add the flag of the shuffled list."""
    parser.add_argument('--seed', type=cli.natural, default=0, help='seed of the shuffled list')


def add_teacher(parser) -> None:
    """Add the flags of a script that runs a teacher net."""
    add_net(parser, TINY / 'deploy_resnet_tiny_teacher_pca32.prototxt',
            paths.ROOT / 'caffemodel/resnet_tiny_teacher_pca32.caffemodel')
    add_seed(parser)
    parser.add_argument('--S', type=cli.positive,
                        help='longer side in pixels that images are resized to before the net; by '
                             'default that of the first image')
    parser.add_argument('--end', default=TEACHER_END, help="blob of the net's descriptor")
