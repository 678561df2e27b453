"""The flags shared by the scripts of myPython/offline, which alone import this module.

    parser = offline_flags.retrieval_parser(__doc__, 'pca_concat', PROTO)
    result = retrieval.retrieve(**offline_flags.values(parser.parse_args()), ...)
"""

import argparse

from deep_retrieval import cli, paths
from deep_retrieval.datasets import OXFORD_LAYOUT
from deep_retrieval.studies import MAPS

# flags -> keyword arguments of retrieval.py with another name
NAMES = {'temp_dir': 'rankings_dir'}
OTHERS = ('gpu', 'debug', 'dataset_name')       # flags that are not keyword arguments


def features_parser(doc: str, folder: str, proto: str) -> argparse.ArgumentParser:
    """Return a parser with the flags of a *_get_features.py.

    folder : name of the folder of its features
    proto : its net, below proto/offline
    """
    parser = cli.parser(doc)
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--S', type=cli.positive, default=512,
                        help='longer side in pixels that images are resized to')
    parser.add_argument('--L', type=cli.natural, default=2,
                        help='levels of the rigid grid; 0 for the whole image as one region')
    parser.add_argument('--proto', default=paths.ROOT / 'proto/offline' / proto,
                        help='prototxt of the net')
    parser.add_argument('--weights', default=paths.WEIGHTS, help='caffemodel of the net')
    parser.add_argument('--dataset', default=paths.OXFORD, help='folder with jpg/ and lab/')
    parser.add_argument('--dataset_name', choices=OXFORD_LAYOUT, default='Oxford',
                        help='how the folder is read: Paris has damaged images to ignore')
    parser.add_argument('--features_dir', default=paths.TEMP / 'offline' / folder,
                        help='folder for the features and the PCAs')
    parser.add_argument('--query_crop', choices=('roi', 'full'), default='full',
                        help="the query's box, or its full image as in the published tables of "
                             'these studies')
    parser.add_argument('--batch_size', type=cli.positive, default=4,
                        help='images of one size that the net takes at once')
    parser.add_argument('--skip_bad', action='store_true',
                        help='leave damaged images out of the ranking')
    parser.add_argument('--partial_weights', action='store_true',
                        help='accept weights that lack layers of the net')
    return parser


def retrieval_parser(doc: str, folder: str, proto: str) -> argparse.ArgumentParser:
    """Return a parser with the flags of a *_retrieval.py; see `features_parser`."""
    parser = features_parser(doc, folder, proto)
    parser.add_argument('--eval_binary', default=paths.EVAL_BINARY, help='the compiled compute_ap')
    parser.add_argument('--temp_dir', default=paths.TEMP / 'offline' / folder / 'rankings',
                        help='folder for rankings')
    return parser


def add_maps(parser: argparse.ArgumentParser) -> None:
    """Add the flag --maps."""
    parser.add_argument('--maps', choices=sorted(MAPS), default='4',
                        help='number of maps, from the last stage backwards; middle: only stage 4')


def add_pca(parser: argparse.ArgumentParser, dim: str) -> None:
    """Add the flags of a study with PCA; `dim` is the help of --dim."""
    parser.add_argument('--dim', type=cli.positive, help=dim)
    parser.add_argument('--pca_from', nargs='+', metavar='PATH',
                        help='fit the PCA to other images, whose features are in these folders '
                             '(as printed by *_get_features.py), or use an .npz saved by an '
                             'earlier run; by default it is fitted to the queries and images that '
                             'are scored, which inflates the score')
    parser.add_argument('--incremental', action='store_true',
                        help='use IncrementalPCA, as is always done for vectors beyond 2 GB')
    parser.add_argument('--fewer', action='store_true',
                        help='if there are too few vectors for the components, use fewer: one for '
                             'every two vectors, and at most their rank')


def values(args: argparse.Namespace) -> dict:
    """Select the GPU of the flags, and return them as keyword arguments of retrieval.py."""
    from deep_retrieval.datasets import open_dataset
    found = {NAMES.get(name, name): value for name, value in vars(args).items()
             if name not in OTHERS}
    found['dataset'] = open_dataset(args.dataset, args.dataset_name)
    cli.use_device(args.gpu)
    return found
