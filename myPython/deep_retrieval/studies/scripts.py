"""What the scripts of offline/ have alike: flags, saved features, and a score.

    parser = features_parser(__doc__, 'pca_concat', proto='proto/offline/pca/...')
    features(parser.parse_args())
"""

import argparse
import os
from functools import cache

import numpy as np
from custom_layers import normalize

from deep_retrieval import cli, compute_ap, ranking
from deep_retrieval.datasets import DATASETS
from deep_retrieval.evaluation import SCALES
from deep_retrieval.extraction import Item
from deep_retrieval.paths import ROOT
from deep_retrieval.store import sha256
from deep_retrieval.studies.branch_features import Branches, BranchNet, extract_branches
from deep_retrieval.studies.experiments import EXPERIMENTS, MAPS, describe, fit_all, fit_last
from deep_retrieval.studies.pca import load, save


def features_parser(doc, folder, proto):
    """The flags of a *_get_features.py; `folder` is that of its features, `proto` its net."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--gpu', type=int, default=0, help='GPU to compute on; -1 for the CPU')
    parser.add_argument('--S', type=cli.positive, default=512,
                        help='pixels of the longer side that images are resized to')
    parser.add_argument('--L', type=cli.natural, default=2,
                        help='levels of the rigid grid; 0 for the whole image as one region')
    parser.add_argument('--proto', default=ROOT / 'proto/offline' / proto,
                        help='prototxt of the net')
    parser.add_argument('--weights', default=ROOT / 'caffemodel/model.caffemodel',
                        help='caffemodel of the net')
    parser.add_argument('--dataset', default=ROOT / 'datasets/Oxford',
                        help='folder that holds jpg/ and lab/')
    parser.add_argument('--dataset_name', choices=sorted(DATASETS), default='Oxford',
                        help='how the folder is read: Paris has damaged images to ignore')
    parser.add_argument('--features_dir', default=ROOT / 'tmp/offline' / folder,
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
    """The flags of a *_retrieval.py: those of the features, and where rankings go."""
    parser = features_parser(doc, folder, proto)
    parser.add_argument('--eval_binary', default=ROOT / 'eval/compute_ap',
                        help='the compiled compute_ap')
    parser.add_argument('--temp_dir', default=ROOT / 'tmp/offline' / folder / 'rankings',
                        help='folder for rankings')
    return parser


def add_maps(parser):
    parser.add_argument('--maps', choices=sorted(MAPS), default='4',
                        help='how many maps, from the last stage backwards; middle: stage 4 alone')


def add_pca(parser, dim):
    """The flags of an experiment with PCA; `dim` is the help of --dim."""
    parser.add_argument('--dim', type=cli.positive, help=dim)
    parser.add_argument('--pca_from', nargs='+', metavar='PATH',
                        help='fit the PCA to other images, whose features are in these folders '
                             '(DIR/Paris_S512_L2_dataset), or take an .npz that an earlier run '
                             'saved; by default it is fitted to the queries and images that are '
                             'scored, which flatters the result')
    parser.add_argument('--incremental', action='store_true',
                        help="use IncrementalPCA, as is done anyway beyond the PCA's memory")
    parser.add_argument('--fewer', action='store_true',
                        help='where the vectors are too few for the wanted components, take fewer: '
                             '1 for 2 vectors, and no more than their rank')


def stem(args, S):
    """Path of a dataset's features and PCAs without what they are called at the end."""
    return os.path.join(args.features_dir, f'{args.dataset_name}_S{S}_L{args.L}')


def features(args, S):
    """The dataset and the Branches of its queries and of its images, made where they are not."""
    dataset = DATASETS[args.dataset_name](args.dataset)
    crop = args.query_crop == 'roi'
    parts = {
        'queries': [Item(query.image, dataset.image_path(query.image), query.box if crop else None)
                    for query in dataset.queries],
        'dataset': [Item(name, dataset.image_path(name)) for name in dataset.images],
    }

    @cache
    def net():
        cli.use_device(args.gpu)
        return BranchNet(args.proto, args.weights, args.L, args.partial_weights)
    about = {'weights': sha256(args.weights), 'proto': sha256(args.proto), 'L': args.L}
    branches = [extract_branches(net, items, S, f'{stem(args, S)}_{part}', about,
                                 args.batch_size, args.skip_bad, cli.warn)
                for part, items in parts.items()]
    return dataset, branches


def get_features(args):
    """Make the features, and print what there is."""
    _, branches = features(args, args.S)
    for part in branches:
        images, regions = part.count()
        first = next(part.blocks())
        maps = ', '.join(f'{vectors.shape[1]}-d at stride {stride}'
                         for stride, vectors in first.maps.items())
        print(f'{part.folder}: {images} images, {regions} regions; {maps}'
              f'{"" if first.master is None else f"; descriptor {first.master.shape[1]}-d"}')


def retrieve(args, name, strides, multires=False):
    """Score an experiment without PCA, of maps of these strides.

    multires : sum the descriptors at SCALES times S
    """
    experiment, rows = EXPERIMENTS[name](strides), []
    sizes = [max(1, round(args.S * part)) for part in SCALES] if multires else [args.S]
    for S in sizes:
        dataset, branches = features(args, S)
        rows.append([describe(experiment, part, []) for part in branches])
    summed = [normalize(sum(parts)) for parts in zip(*rows)] if multires else rows[0]
    more = f', sum of S {", ".join(map(str, sizes))}' if multires else ''
    show(args, dataset, summed, len(strides), more)


def retrieve_with_pca(args, name, branch_dim=None, dim=None):
    """Score an experiment with PCA of --maps.

    branch_dim : components of the PCAs of the experiment; dim : of one more, of its descriptors
    """
    dataset, branches = features(args, args.S)
    experiment = EXPERIMENTS[name](MAPS[args.maps])
    net = {key: branches[0].about[key] for key in ('weights', 'proto', 'L')}
    about = {**net, 'experiment': name, 'maps': args.maps, 'components': branch_dim, 'dim': dim}
    given = args.pca_from or []
    if len(given) == 1 and given[0].endswith('.npz'):
        pcas = load(given[0], about)
    else:
        sources = [other_features(path, net) for path in given] or branches
        options = {'incremental': args.incremental, 'fewer': args.fewer}
        flag = '--branch_dim' if name == 'pca_concat' else '--dim'
        pcas = fit_all(experiment, sources, branch_dim, flag, **options)
        if dim:
            pcas.append(fit_last(experiment, sources, pcas, dim, **options))
        words = [stem(args, args.S), name, args.maps,
                 *(str(size) for size in (branch_dim, dim) if size)]
        save('_'.join(words) + '.npz', pcas, about)
    last = pcas.pop() if dim else None
    rows = [describe(experiment, part, pcas, last) for part in branches]
    show(args, dataset, rows, len(experiment.strides),
         f', PCA fitted to {", ".join(given) or "what is scored"}')


def other_features(folder, wanted):
    """The Branches in a folder. ValueError where they were not made as `wanted` says."""
    branches = Branches(folder)
    other = sorted(name for name in wanted if branches.about.get(name) != wanted[name])
    if other:
        raise ValueError(f'{folder}: these features were made with other {", ".join(other)}; a PCA '
                         'fits those of its own net')
    return branches


def show(args, dataset, rows, maps, more=''):
    """Rank the images for each query, print the average precisions, and their mean."""
    queries, database = rows
    asked, ranked = (np.flatnonzero(np.isfinite(part).all(axis=1)) for part in rows)
    left_out = len(database) - len(ranked)
    if left_out:
        cli.warn(f'{left_out} of {len(database)} images are left out')
    if len(asked) < len(queries):
        cli.warn(f'{len(queries) - len(asked)} queries without an image are left out of the mean')
    indices, _ = ranking.rank(queries[asked], database[ranked])
    images = [dataset.images[i] for i in ranked]
    dataset.queries = [dataset.queries[i] for i in asked]
    precisions = compute_ap.score(dataset, [[images[i] for i in row] for row in indices],
                                  args.temp_dir, args.eval_binary)
    compute_ap.report(precisions, f'query_crop {args.query_crop}, {maps} map{"s" * (maps > 1)}, '
                      f'{queries.shape[1]}-d{more}')
