"""The flags that the scripts of myPython/offline share."""

from deep_retrieval import cli, paths
from deep_retrieval.datasets import OXFORD_LAYOUT
from deep_retrieval.studies import MAPS


def features_parser(doc, folder, proto):
    """Return the parser of a *_get_features.py; `folder` is that of its features."""
    parser = cli.parser(doc)
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--S', type=cli.positive, default=512,
                        help='longer side in pixels that images are resized to')
    parser.add_argument('--L', type=cli.natural, default=2,
                        help='levels of the rigid grid; 0 for the whole image as one region')
    parser.add_argument('--proto', default=paths.ROOT / 'proto/offline' / proto,
                        help='prototxt of the net')
    parser.add_argument('--weights', default=paths.WEIGHTS, help='caffemodel of the net')
    parser.add_argument('--dataset', default=paths.OXFORD, help='folder that holds jpg/ and lab/')
    parser.add_argument('--dataset_name', choices=OXFORD_LAYOUT, default='Oxford',
                        help='how the folder is read: Paris has damaged images to ignore')
    parser.add_argument('--features_dir', default=paths.TEMP / 'offline' / folder,
                        help='folder of the features, and of the PCAs')
    parser.add_argument('--query_crop', choices=('roi', 'full'), default='full',
                        help="the query's box, or its full image as in the published tables of "
                             'these experiments')
    parser.add_argument('--batch_size', type=cli.positive, default=4,
                        help='images of one size that the net takes at once')
    parser.add_argument('--skip_bad', action='store_true',
                        help='leave damaged images out of the ranking')
    parser.add_argument('--partial_weights', action='store_true',
                        help='accept weights for a part of the net')
    return parser


def retrieval_parser(doc, folder, proto):
    """Return the parser of a *_retrieval.py: the flags of the features, and where rankings go."""
    parser = features_parser(doc, folder, proto)
    parser.add_argument('--eval_binary', default=paths.EVAL_BINARY, help='the compiled compute_ap')
    parser.add_argument('--temp_dir', default=paths.TEMP / 'offline' / folder / 'rankings',
                        help='folder for rankings')
    return parser


def add_maps(parser):
    """Add the flag that chooses the maps."""
    parser.add_argument('--maps', choices=sorted(MAPS), default='4',
                        help='how many maps, from the last stage backwards; middle: stage 4 alone')


def add_pca(parser, dim):
    """Add the flags of an experiment with PCA; `dim` is the help of --dim."""
    parser.add_argument('--dim', type=cli.positive, help=dim)
    parser.add_argument('--pca_from', nargs='+', metavar='PATH',
                        help='fit the PCA to other images, whose features are in these folders '
                             '(DIR/Paris_S512_L2_dataset), or take an .npz that an earlier run '
                             'saved; by default it is fitted to the queries and images that are '
                             'scored, which flatters the result')
    parser.add_argument('--incremental', action='store_true',
                        help='use IncrementalPCA, which is used anyway for vectors that do not fit '
                             'into memory')
    parser.add_argument('--fewer', action='store_true',
                        help='where the vectors are too few for the wanted components, take fewer: '
                             '1 for 2 vectors, and no more than their rank')


def study_of(args):
    """Return the Study that the flags describe."""
    from deep_retrieval.datasets import open_dataset
    from deep_retrieval.studies.retrieval import Study
    cli.use_device(args.gpu)
    return Study(open_dataset(args.dataset, args.dataset_name), args.proto, args.weights,
                 args.features_dir, S=args.S, L=args.L, query_crop=args.query_crop,
                 batch_size=args.batch_size, skip_bad=args.skip_bad,
                 partial_weights=args.partial_weights, temp_dir=getattr(args, 'temp_dir', None),
                 eval_binary=getattr(args, 'eval_binary', None))


def get_features(args):
    """Make the features, and print what there is."""
    print(*study_of(args).describe_features(), sep='\n')


def retrieve_with_pca(args, name, branch_dim=None, dim=None):
    """Score an experiment with PCA of --maps, and print the result."""
    result = study_of(args).retrieve_with_pca(
        name, args.maps, branch_dim=branch_dim, dim=dim, pca_from=args.pca_from or (),
        incremental=args.incremental, fewer=args.fewer)
    print(*result.lines(), sep='\n')
