#!/usr/bin/env python3
"""Rank a dataset anew from the descriptors that test.py saved, and score it; no net is run.

    python myPython/rerank.py alpha_qe --features tmp/demo/Oxford_S512_L2 --dataset datasets/demo
    python myPython/rerank.py diffusion --gnd datasets/gnd_roxford5k.json \
        --features tmp/ROxford_S800_L2 --dataset datasets/Oxford

Prints the AP of every query, their mean, and what the plain ranking gives; or, with --gnd, the
figures of the revisited protocols. The protocol's name stands beside each number.
"""

import argparse
import os

import numpy as np
from deep_retrieval import cli, compute_ap, protocols, ranking, reranking, saved_features, whitening
from deep_retrieval.datasets import DATASETS, revisited
from deep_retrieval.paths import ROOT


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    modes = parser.add_subparsers(dest='mode', required=True, metavar='MODE')
    for name, mode in MODES.items():
        sub = modes.add_parser(name, help=mode.__doc__, description=mode.__doc__,
                               formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        for flag, options in FLAGS.get(name, {}).items():
            sub.add_argument(f'--{flag}', **options)
        add_common_flags(sub)
    return parser.parse_args()


def add_common_flags(parser):
    parser.add_argument('--features', nargs='+', default=[str(ROOT / 'tmp/demo/Oxford_S512_L2')],
                        metavar='STEM', help='STEM_queries.npy and STEM_dataset.npy as test.py '
                        'saves them; those of several scales are summed')
    parser.add_argument('--dataset', default=ROOT / 'datasets/demo',
                        help='folder that holds jpg/ and, unless --gnd is given, lab/')
    parser.add_argument('--dataset_name', choices=sorted(DATASETS), default='Oxford',
                        help='how the folder is read: Paris has damaged images to ignore')
    parser.add_argument('--gnd', metavar='FILE', help='score by the revisited protocols with this '
                        'gnd_*.json (convert/gnd2json.py makes it of a .pkl)')
    parser.add_argument('--uni', action='store_true',
                        help='check that all images have one size, and say it with the numbers')
    parser.add_argument('--whitening', metavar='FILE',
                        help='whiten the descriptors first by what the mode whiten has learned')
    parser.add_argument('--eval_binary', default=ROOT / 'eval/compute_ap',
                        help='the compiled compute_ap')
    parser.add_argument('--temp_dir', default=ROOT / 'tmp/rerank', help='folder for rankings')


def main(args):
    dataset = open_dataset(args)
    uni = protocols.uni_size(dataset) if args.uni else None
    saved = saved_features.load(args.features, dataset)
    if args.whitening:
        saved = saved_features.whitened(saved, whitening.load(args.whitening), args.whitening)
    dataset.queries = saved.asked
    indices, _ = MODES[args.mode](args, saved)
    plain_indices, _ = plain(args, saved)
    report = report_revisited if args.gnd else report_published
    report(args, dataset, uni, saved, named(saved, indices), named(saved, plain_indices))


def open_dataset(args):
    """The dataset that is ranked."""
    if args.gnd:
        return revisited.Revisited(args.dataset, revisited.read(args.gnd))
    return DATASETS[args.dataset_name](args.dataset)


def named(saved, indices):
    """Rankings as image names."""
    return [[saved.images[i] for i in row] for row in indices]


def report_published(args, dataset, uni, saved, rankings, plain_rankings):
    """Print AP of every query and their mean, by compute_ap, and the plain ranking's mean."""
    protocol = protocols.published(args.dataset_name, saved.made_from['crop'], uni)
    precisions = compute_ap.score(dataset, rankings, args.temp_dir, args.eval_binary)
    mean = compute_ap.report(precisions, protocol)
    if args.mode != 'plain':
        before = 100 * np.mean(list(compute_ap.score(
            dataset, plain_rankings, os.path.join(args.temp_dir, 'plain'),
            args.eval_binary).values()))
        print(f'Plain: {before:.2f} ({protocol}); {args.mode} gives {mean - before:+.2f}')


def report_revisited(args, dataset, uni, saved, rankings, plain_rankings):
    """Print mAP and mP@k by Easy, Medium and Hard, and the plain ranking's mAP."""
    conditions = protocols.conditions(saved.made_from['crop'], uni)
    scores, before = (protocols.revisited(dataset.truth, dataset.queries, some)
                      for some in (rankings, plain_rankings))
    for score, plainly in zip(scores, before):
        change = '' if args.mode == 'plain' else (
            f'; plain mAP {100 * plainly.mean:.2f}, '
            f'{args.mode} gives {100 * (score.mean - plainly.mean):+.2f}')
        print(protocols.line(score, conditions) + change)


def plain(args, saved):
    """rank by the similarities alone, as test.py does"""
    return ranking.rank(saved.queries, saved.database)


def aqe(args, saved):
    """average query expansion, as test.py --aqe"""
    queries = ranking.expand_queries(saved.queries, saved.database, args.k)
    return ranking.rank(queries, saved.database)


def dbe(args, saved):
    """database-side expansion, as test.py --dbe"""
    return ranking.rank(saved.queries, ranking.expand_database(saved.database, args.k))


def alpha_qe(args, saved):
    """query expansion by the n nearest, each weighted by its similarity to the power of alpha"""
    queries = reranking.alpha_expand_queries(saved.queries, saved.database, args.n, args.alpha)
    return ranking.rank(queries, saved.database)


def diffusion(args, saved):
    """diffusion on the graph of the images' mutual nearest neighbours"""
    graph = reranking.make_graph(saved.database, args.k, args.gamma)
    return reranking.rank_by_diffusion(saved.queries, saved.database, graph, args.query_k,
                                       args.alpha, args.gamma, args.tol)


def learn_whitening(args, saved):
    """learn a whitening from descriptors, save it, and rank with it"""
    if args.learn_features:
        dataset = DATASETS[args.learn_name](args.learn_dataset)
        learned = saved_features.load(args.learn_features, dataset)
    else:
        cli.warn('learning the whitening on the dataset that it is scored on, which flatters it; '
                 '--learn_features takes another')
        dataset, learned = open_dataset(args), saved
    made_from = saved_features.model(learned)
    if args.kind == 'pca':
        fitted = whitening.learn_pca(learned.database, args.dims, made_from)
    else:
        fitted = whitening.learn_pairs(learned.database,
                                       saved_features.pairs(learned, dataset), args.dims,
                                       args.shrinkage, made_from)
    whitening.save(args.output, fitted)
    cli.warn(f'{args.output}: {" -> ".join(map(str, fitted.matrix.shape))} dimensions')
    return plain(args, saved_features.whitened(saved, fitted, args.output))


MODES = {'plain': plain, 'aqe': aqe, 'dbe': dbe, 'alpha_qe': alpha_qe, 'diffusion': diffusion,
         'whiten': learn_whitening}
FLAGS = {
    'aqe': {'k': {'type': cli.positive, 'default': 1,
                  'help': 'images that a query is averaged with'}},
    'dbe': {'k': {'type': cli.positive, 'default': 20,
                  'help': 'images that an image is averaged with'}},
    'alpha_qe': {
        'n': {'type': cli.positive, 'default': 5,
              'help': 'images that a query is averaged with; in the paper 10'},
        'alpha': {'type': float, 'default': 2,
                  'help': 'exponent of their similarities; in the paper 3'}},
    'diffusion': {
        'k': {'type': cli.positive, 'default': 50, 'help': 'neighbours of an image in the graph'},
        'query_k': {'type': cli.positive, 'default': 5,
                    'help': 'images where a query enters; in the paper 10'},
        'alpha': {'type': float, 'default': 0.5,
                  'help': 'share that goes on at each step; in the paper 0.99, which suits '
                          'thousands of images and ruins the ranking of hundreds'},
        'gamma': {'type': float, 'default': 5, 'help': 'exponent of similarities; in the paper 3'},
        'tol': {'type': float, 'default': 1e-6, 'help': 'relative residual of the solution'}},
    'whiten': {
        'kind': {'choices': ('pca', 'pairs'), 'default': 'pca',
                 'help': 'by PCA, or by pairs of images of one query (good and ok)'},
        'dims': {'type': cli.positive, 'help': "dimensions kept; by default the descriptors' rank"},
        'shrinkage': {'type': float, 'default': 0.0,
                      'help': 'share of the pairs\' covariance, 0 to 1, that gives way to a round '
                              'one: few pairs need some'},
        'learn_features': {'nargs': '+', 'metavar': 'STEM',
                           'help': 'features to learn from; by default the ranked ones'},
        'learn_dataset': {'default': ROOT / 'datasets/Paris', 'help': 'their dataset'},
        'learn_name': {'choices': sorted(DATASETS), 'default': 'Paris',
                       'help': 'how that folder is read'},
        'output': {'default': ROOT / 'tmp/whitening.npz', 'help': 'file to write it to'}},
}


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
