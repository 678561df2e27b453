#!/usr/bin/env python3
"""Rank a dataset again from the descriptors that test.py saved, and score it; no net is run.

    python myPython/rerank.py alpha_qe --features tmp/demo/Oxford_S512_L2 --dataset datasets/demo
    python myPython/rerank.py diffusion --gnd datasets/gnd_roxford5k.json \
        --features tmp/ROxford_S800_L2 --dataset datasets/Oxford

Prints the AP of every query, their mean, and what the plain ranking gives; or, with --gnd, the
figures of the revisited metrics. The protocol's name stands beside each number.
"""

import os

from deep_retrieval import cli, paths, subcommands
from deep_retrieval.datasets import DATASETS, OXFORD_LAYOUT
from deep_retrieval.reranking import METHODS


def report(args, method):
    """Rank by a method, a function of the flags and saved features, and print the scores."""
    from deep_retrieval import metrics, saved_features
    from deep_retrieval.whitening import Whitening
    dataset = open_dataset(args)
    uni = metrics.uni_size(dataset) if args.uni else None
    saved = saved_features.load(args.features, dataset)
    if args.whitening:
        saved = saved_features.whitened(saved, Whitening.load(args.whitening), args.whitening)
    dataset.queries = saved.asked
    indices, _ = method(args, saved)
    before, _ = METHODS['plain'].rank(saved.queries, saved.database)
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
    from deep_retrieval import compute_ap, metrics
    protocol = metrics.published(args.dataset_name, saved.made_from['crop'], uni)
    precisions = compute_ap.score(dataset, rankings, args.temp_dir, args.eval_binary)
    print(*metrics.report(precisions, protocol), sep='\n')
    if args.mode != 'plain':
        before = 100 * metrics.mean(compute_ap.score(
            dataset, plain_rankings, os.path.join(args.temp_dir, 'plain'), args.eval_binary))
        gain = 100 * metrics.mean(precisions) - before
        print(f'Plain: {before:.2f} ({protocol}); {args.mode} gives {gain:+.2f}')


def report_revisited(args, dataset, uni, saved, rankings, plain_rankings):
    """Print mAP and mP@k by Easy, Medium and Hard, and the plain ranking's mAP."""
    from deep_retrieval import metrics
    conditions = metrics.conditions(saved.made_from['crop'], uni)
    scores, before = (metrics.revisited(dataset.gnd, dataset.queries, some)
                      for some in (rankings, plain_rankings))
    for score, plainly in zip(scores, before, strict=True):
        change = '' if args.mode == 'plain' else (
            f'; plain mAP {100 * plainly.mean:.2f}, '
            f'{args.mode} gives {100 * (score.mean - plainly.mean):+.2f}')
        print(metrics.line(score, conditions) + change)


def mode_of(method):
    """The function of a method's subcommand."""
    def mode(args):
        values = {name: getattr(args, name) for name in method.parameters}
        report(args, lambda args, saved: method.rank(saved.queries, saved.database, **values))
    mode.__doc__ = method.help
    return mode


def learn_whitening(args):
    """learn a whitening from descriptors, save it, and rank with it"""
    report(args, learned)


def learned(args, saved):
    """The ranking by a whitening that is learned and saved."""
    from deep_retrieval import saved_features
    from deep_retrieval.whitening import Whitening
    if args.learn_features:
        dataset = DATASETS[args.learn_name](args.learn_dataset)
        source = saved_features.load(args.learn_features, dataset)
    else:
        cli.warn('learning the whitening on the dataset that it is scored on, which flatters it; '
                 '--learn_features takes another')
        dataset, source = open_dataset(args), saved
    made_from = saved_features.model(source)
    if args.kind == 'pca':
        fitted = Whitening.fit_pca(source.database, args.dims, made_from)
    else:
        fitted = Whitening.fit_pairs(source.database, saved_features.pairs(source, dataset),
                                     args.dims, args.shrinkage, made_from)
    fitted.save(args.output)
    cli.warn(f'{args.output}: {" -> ".join(map(str, fitted.matrix.shape))} dimensions')
    saved = saved_features.whitened(saved, fitted, args.output)
    return METHODS['plain'].rank(saved.queries, saved.database)


def method_flags():
    """The flags of all methods; one that several methods have says what it is for each."""
    flags = {}
    for name, method in METHODS.items():
        for flag, parameter in method.parameters.items():
            kind = type(parameter.default)
            if kind is int:
                kind = cli.positive if parameter.least else cli.natural
            known = flags.get(flag)
            text = f'of {name}: {parameter.help}'
            flags[flag] = {'type': kind, 'help': f'{known["help"]}; {text}' if known else text}
    return flags


COMMON = 'features dataset dataset_name gnd uni whitening eval_binary temp_dir'
FLAGS = {
    'features': {'nargs': '+', 'default': [str(paths.TEMP / 'demo/Oxford_S512_L2')],
                 'metavar': 'STEM', 'help': 'STEM_queries.npy and STEM_dataset.npy as test.py '
                 'saves them, without the hash of the model in the name or with it; those of '
                 'several scales are summed'},
    'dataset': {'default': paths.DATASETS / 'demo',
                'help': 'folder that holds jpg/ and, unless --gnd is given, lab/'},
    'dataset_name': {'choices': OXFORD_LAYOUT, 'default': 'Oxford',
                     'help': 'how the folder is read: Paris has damaged images to ignore'},
    'gnd': {'metavar': 'FILE', 'help': 'score by the revisited protocols with this gnd_*.json '
            '(convert/gnd2json.py makes it from a .pkl)'},
    'uni': {'action': 'store_true',
            'help': 'check that all images have one size, and print it with the scores'},
    'whitening': {'metavar': 'FILE',
                  'help': 'first whiten the descriptors with what the mode whiten has learned'},
    'eval_binary': {'default': paths.EVAL_BINARY, 'help': 'the compiled compute_ap'},
    'temp_dir': {'default': paths.TEMP / 'rerank', 'help': 'folder for rankings'},
    **method_flags(),
    'kind': {'choices': ('pca', 'pairs'), 'default': 'pca',
             'help': 'by PCA, or by pairs of images of one query (good and ok)'},
    'dims': {'type': cli.positive, 'help': "dimensions to keep; by default the descriptors' rank"},
    'shrinkage': {'type': float, 'default': 0.0,
                  'help': "share of the pairs' covariance, 0 to 1, that is replaced by a multiple "
                          'of the identity; few pairs need some'},
    'learn_features': {'nargs': '+', 'metavar': 'STEM',
                       'help': 'features to learn from; by default those that are ranked'},
    'learn_dataset': {'default': paths.DATASETS / 'Paris', 'help': 'their dataset'},
    'learn_name': {'choices': OXFORD_LAYOUT, 'default': 'Paris',
                   'help': 'how that folder is read'},
    'output': {'default': paths.TEMP / 'whitening.npz', 'help': 'file to write it to'},
}
MODES = {
    **{name: (mode_of(method), ' '.join([*method.parameters, COMMON]),
              {flag: parameter.default for flag, parameter in method.parameters.items()})
       for name, method in METHODS.items()},
    'whiten': (learn_whitening, 'kind dims shrinkage learn_features learn_dataset learn_name '
               f'output {COMMON}'),
}


if __name__ == '__main__':
    subcommands.run(__doc__, MODES, FLAGS)
