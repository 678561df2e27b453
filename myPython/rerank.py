#!/usr/bin/env python3
"""Rank a dataset anew from the descriptors that test.py saved, and score it; no net is run.

    python myPython/rerank.py alpha_qe --features tmp/demo/Oxford_S512_L2 --dataset datasets/demo
    python myPython/rerank.py diffusion --gnd datasets/gnd_roxford5k.json \
        --features tmp/ROxford_S800_L2 --dataset datasets/Oxford

Prints the AP of every query, their mean, and what the plain ranking gives; or, with --gnd, the
figures of the revisited protocols. The protocol's name stands beside each number.
"""

import os

from deep_retrieval import cli, paths, subcommands
from deep_retrieval.datasets import DATASETS


def report(args, method):
    """Rank by a method, a function of the flags and saved features, and print the scores."""
    from deep_retrieval import protocols, saved_features, whitening
    dataset = open_dataset(args)
    uni = protocols.uni_size(dataset) if args.uni else None
    saved = saved_features.load(args.features, dataset)
    if args.whitening:
        saved = saved_features.whitened(saved, whitening.load(args.whitening), args.whitening)
    dataset.queries = saved.asked
    indices, _ = method(args, saved)
    before, _ = ranked(saved)
    show = report_revisited if args.gnd else report_published
    show(args, dataset, uni, saved, named(saved, indices), named(saved, before))


def open_dataset(args):
    """The dataset that is ranked."""
    from deep_retrieval import datasets
    return datasets.open_dataset(args.dataset, args.dataset_name, gnd=args.gnd)


def named(saved, indices):
    """Rankings as image names."""
    return [[saved.images[i] for i in row] for row in indices]


def report_published(args, dataset, uni, saved, rankings, plain_rankings):
    """Print AP of every query and their mean, by compute_ap, and the plain ranking's mean."""
    from deep_retrieval import compute_ap, protocols
    protocol = protocols.published(args.dataset_name, saved.made_from['crop'], uni)
    precisions = compute_ap.score(dataset, rankings, args.temp_dir, args.eval_binary)
    print(*compute_ap.report(precisions, protocol), sep='\n')
    if args.mode != 'plain':
        before = 100 * compute_ap.mean(compute_ap.score(
            dataset, plain_rankings, os.path.join(args.temp_dir, 'plain'), args.eval_binary))
        gain = 100 * compute_ap.mean(precisions) - before
        print(f'Plain: {before:.2f} ({protocol}); {args.mode} gives {gain:+.2f}')


def report_revisited(args, dataset, uni, saved, rankings, plain_rankings):
    """Print mAP and mP@k by Easy, Medium and Hard, and the plain ranking's mAP."""
    from deep_retrieval import protocols
    conditions = protocols.conditions(saved.made_from['crop'], uni)
    scores, before = (protocols.revisited(dataset.truth, dataset.queries, some)
                      for some in (rankings, plain_rankings))
    for score, plainly in zip(scores, before, strict=True):
        change = '' if args.mode == 'plain' else (
            f'; plain mAP {100 * plainly.mean:.2f}, '
            f'{args.mode} gives {100 * (score.mean - plainly.mean):+.2f}')
        print(protocols.line(score, conditions) + change)


def ranked(saved):
    """The plain ranking."""
    from deep_retrieval import ranking
    return ranking.rank(saved.queries, saved.database)


def plain(args):
    """rank by the similarities alone, as test.py does"""
    report(args, lambda args, saved: ranked(saved))


def aqe(args):
    """average query expansion, as test.py --aqe"""
    from deep_retrieval import ranking
    report(args, lambda args, saved: ranking.rank(
        ranking.expand_queries(saved.queries, saved.database, args.k), saved.database))


def dbe(args):
    """database-side expansion, as test.py --dbe"""
    from deep_retrieval import ranking
    report(args, lambda args, saved: ranking.rank(
        saved.queries, ranking.expand_database(saved.database, args.k)))


def alpha_qe(args):
    """query expansion by the n nearest, each weighted by its similarity to the power of alpha"""
    from deep_retrieval import ranking, reranking
    report(args, lambda args, saved: ranking.rank(reranking.alpha_expand_queries(
        saved.queries, saved.database, args.n, args.alpha), saved.database))


def diffusion(args):
    """diffusion on the graph of the images' mutual nearest neighbours"""
    from deep_retrieval import reranking

    def method(args, saved):
        graph = reranking.make_graph(saved.database, args.k, args.gamma)
        return reranking.rank_by_diffusion(saved.queries, saved.database, graph, args.query_k,
                                           args.alpha, args.gamma, args.tol)
    report(args, method)


def learn_whitening(args):
    """learn a whitening from descriptors, save it, and rank with it"""
    report(args, learned)


def learned(args, saved):
    """The ranking by a whitening that is learned and saved."""
    from deep_retrieval import saved_features, whitening
    if args.learn_features:
        dataset = DATASETS[args.learn_name](args.learn_dataset)
        source = saved_features.load(args.learn_features, dataset)
    else:
        cli.warn('learning the whitening on the dataset that it is scored on, which flatters it; '
                 '--learn_features takes another')
        dataset, source = open_dataset(args), saved
    made_from = saved_features.model(source)
    if args.kind == 'pca':
        fitted = whitening.learn_pca(source.database, args.dims, made_from)
    else:
        fitted = whitening.learn_pairs(source.database, saved_features.pairs(source, dataset),
                                       args.dims, args.shrinkage, made_from)
    whitening.save(args.output, fitted)
    cli.warn(f'{args.output}: {" -> ".join(map(str, fitted.matrix.shape))} dimensions')
    return ranked(saved_features.whitened(saved, fitted, args.output))


COMMON = 'features dataset dataset_name gnd uni whitening eval_binary temp_dir'
FLAGS = {
    'features': {'nargs': '+', 'default': [str(paths.TEMP / 'demo/Oxford_S512_L2')],
                 'metavar': 'STEM', 'help': 'STEM_queries.npy and STEM_dataset.npy as test.py '
                 'saves them, without the hash of the model in the name or with it; those of '
                 'several scales are summed'},
    'dataset': {'default': paths.DATASETS / 'demo',
                'help': 'folder that holds jpg/ and, unless --gnd is given, lab/'},
    'dataset_name': {'choices': sorted(DATASETS), 'default': 'Oxford',
                     'help': 'how the folder is read: Paris has damaged images to ignore'},
    'gnd': {'metavar': 'FILE', 'help': 'score by the revisited protocols with this gnd_*.json '
            '(convert/gnd2json.py makes it from a .pkl)'},
    'uni': {'action': 'store_true',
            'help': 'check that all images have one size, and print it with the scores'},
    'whitening': {'metavar': 'FILE',
                  'help': 'first whiten the descriptors with what the mode whiten has learned'},
    'eval_binary': {'default': paths.EVAL_BINARY, 'help': 'the compiled compute_ap'},
    'temp_dir': {'default': paths.TEMP / 'rerank', 'help': 'folder for rankings'},
    'k': {'type': cli.positive, 'help': 'images that a query or an image is averaged with, or '
          'neighbours of an image in the graph'},
    'n': {'type': cli.positive, 'default': 5,
          'help': 'images that a query is averaged with; 10 in the paper'},
    'alpha': {'type': float, 'help': 'exponent of the similarities (3 in the paper), or of '
              'diffusion the share that is passed on at each step (0.99 in the paper, which suits '
              'thousands of images and ruins the ranking of hundreds)'},
    'query_k': {'type': cli.positive, 'default': 5,
                'help': 'images through which a query enters the graph; 10 in the paper'},
    'gamma': {'type': float, 'default': 5, 'help': 'exponent of similarities; 3 in the paper'},
    'tol': {'type': float, 'default': 1e-6, 'help': 'relative residual of the solution'},
    'kind': {'choices': ('pca', 'pairs'), 'default': 'pca',
             'help': 'by PCA, or by pairs of images of one query (good and ok)'},
    'dims': {'type': cli.positive, 'help': "dimensions to keep; by default the descriptors' rank"},
    'shrinkage': {'type': float, 'default': 0.0,
                  'help': "share of the pairs' covariance, 0 to 1, that is replaced by a multiple "
                          'of the identity; few pairs need some'},
    'learn_features': {'nargs': '+', 'metavar': 'STEM',
                       'help': 'features to learn from; by default those that are ranked'},
    'learn_dataset': {'default': paths.DATASETS / 'Paris', 'help': 'their dataset'},
    'learn_name': {'choices': sorted(DATASETS), 'default': 'Paris',
                   'help': 'how that folder is read'},
    'output': {'default': paths.TEMP / 'whitening.npz', 'help': 'file to write it to'},
}
MODES = {
    'plain': (plain, COMMON),
    'aqe': (aqe, f'k {COMMON}', {'k': 1}),
    'dbe': (dbe, f'k {COMMON}', {'k': 20}),
    'alpha_qe': (alpha_qe, f'n alpha {COMMON}', {'alpha': 2.0}),
    'diffusion': (diffusion, f'k query_k alpha gamma tol {COMMON}', {'k': 50, 'alpha': 0.5}),
    'whiten': (learn_whitening, 'kind dims shrinkage learn_features learn_dataset learn_name '
               f'output {COMMON}'),
}


if __name__ == '__main__':
    subcommands.run(__doc__, MODES, FLAGS)
