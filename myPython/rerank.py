#!/usr/bin/env python3
"""Rank a dataset by other methods, from descriptors that test.py saved, and score the rankings.

    python myPython/rerank.py alpha_qe --features tmp/demo/Oxford_S512_L2 --dataset datasets/demo
    python myPython/rerank.py diffusion --gnd datasets/gnd_roxford5k.json \
        --features tmp/ROxford_S800_L2 --dataset datasets/Oxford

Prints the AP of every query, the mean, and the mean of the plain ranking; with --gnd, it prints
the metrics of the revisited protocols. Each number comes with the name of its protocol.
"""

from deep_retrieval import cli, paths, subcommands
from deep_retrieval.datasets import OXFORD_LAYOUT
from deep_retrieval.reranking import METHODS


def mode_of(method):
    """Return the function of a method's subcommand."""
    def mode(args):
        values = {name: getattr(args, name) for name in method.parameters}
        report(args, open_dataset(args), args.features, args.mode, whitening=args.whitening,
               **values)
    mode.__doc__ = method.help
    return mode


def learn_whitening(args):
    """learn a whitening from descriptors, save it, and rank with it"""
    from deep_retrieval import datasets, reranking, saved_features
    dataset = open_dataset(args)
    saved = reranking.load(dataset, args.features, args.whitening)
    if args.learn_features:
        source = datasets.open_dataset(args.learn_dataset, args.learn_name)
        learn_from = saved_features.load(args.learn_features, source)
    else:
        cli.warn('the whitening is learned on the dataset that it is scored on, which inflates the '
                 'score; give other features by --learn_features')
        source, learn_from = dataset, saved
    fitted = saved_features.fit_whitening(learn_from, source, args.kind, args.dims, args.shrinkage)
    fitted.save(args.output)
    cli.warn(f'{args.output}: {" -> ".join(map(str, fitted.matrix.shape))} dimensions')
    report(args, dataset, saved_features.whitened(saved, fitted, args.output), before=saved,
           name=args.mode)


def open_dataset(args):
    """Return the dataset that is ranked."""
    from deep_retrieval import datasets
    return datasets.open_dataset(args.dataset, args.dataset_name, gnd=args.gnd)


def report(args, dataset, features, *method, **values):
    """Rank, and print the scores."""
    from deep_retrieval import reranking
    done = reranking.rerank(dataset, features, *method, uni=args.uni, cache=args.temp_dir,
                            eval_binary=args.eval_binary, **values)
    print(*done.lines(), sep='\n')


def method_flags():
    """Return the flags of all methods; the help of a shared flag explains it for each method."""
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
                 'metavar': 'STEM', 'help': 'STEM_queries.npy and STEM_dataset.npy as saved by '
                 'test.py; the hash of the model in the name may be left out; those of several '
                 'scales are summed'},
    'dataset': {'default': paths.DATASETS / 'demo',
                'help': 'folder with jpg/ and, unless --gnd is given, lab/'},
    'dataset_name': {'choices': OXFORD_LAYOUT, 'default': 'Oxford',
                     'help': 'how the folder is read: Paris has damaged images to ignore'},
    'gnd': {'metavar': 'FILE', 'help': 'score by the revisited protocols with this gnd_*.json '
            '(convert/gnd2json.py makes it from a .pkl)'},
    'uni': {'action': 'store_true',
            'help': 'check that all images have one size, and print it with the scores'},
    'whitening': {'metavar': 'FILE',
                  'help': 'first whiten the descriptors with a file saved by the mode whiten'},
    'eval_binary': {'default': paths.EVAL_BINARY, 'help': 'the compiled compute_ap'},
    'temp_dir': {'default': paths.TEMP / 'rerank', 'help': 'folder for rankings'},
    **method_flags(),
    'kind': {'choices': ('pca', 'pairs'), 'default': 'pca',
             'help': 'learn by PCA, or from pairs of images of one query (good and ok)'},
    'dims': {'type': cli.positive, 'help': "dimensions to keep; by default the descriptors' rank"},
    'shrinkage': {'type': float, 'default': 0.0,
                  'help': "share of the pairs' covariance, 0 to 1, that is replaced by a multiple "
                          'of the identity; needed if there are few pairs'},
    'learn_features': {'nargs': '+', 'metavar': 'STEM',
                       'help': 'features to learn from; by default those that are ranked'},
    'learn_dataset': {'default': paths.DATASETS / 'Paris', 'help': 'their dataset'},
    'learn_name': {'choices': OXFORD_LAYOUT, 'default': 'Paris',
                   'help': 'how that folder is read'},
    'output': {'default': paths.TEMP / 'whitening.npz', 'help': 'file to save the whitening to'},
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
