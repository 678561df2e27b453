#!/usr/bin/env python3
"""Recall, time and memory of the faiss indices against comparison with every row.

    python benchmarks/index_recall.py

Recall@k is the share of the k truly nearest rows among the k that are found. The descriptors are
made (made_descriptors.py): half are views of things, half single pictures.
"""

import argparse
import os
import tempfile
import time

import made_descriptors
import numpy as np
from deep_retrieval import cli
from deep_retrieval.features import Features
from deep_retrieval.search import faiss_index

CUTS = (1, 10, 100)
PROBES = (1, 4, 16, 64)


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--rows', type=cli.positive, default=200_000, help='descriptors searched')
    parser.add_argument('--dim', type=cli.positive, default=512, help='their dimensions')
    parser.add_argument('--queries', type=cli.positive, default=200, help='queries')
    parser.add_argument('--seed', type=cli.natural, default=0, help='seed of all of them')
    return parser.parse_args()


def main(args):
    values = made_descriptors.make(args.rows, args.dim, args.seed)
    queries, _ = made_descriptors.queries_of(values, args.queries, args.seed)
    rows = Features('made', [str(i) for i in range(args.rows)], values, {})
    print(f'{args.rows} x {args.dim}, {args.queries} queries')
    print('| index | probes | recall@1 | @10 | @100 | ms a query | bytes a row | built in s |')
    print('|---|---|---|---|---|---|---|---|')
    truth = None
    for name, options, probes in (('flat', {}, (None,)), ('ivfpq', {'kind': 'ivfpq'}, PROBES),
                                  ('ivfpq, refined', {'kind': 'ivfpq', 'refine': True}, PROBES)):
        stored, built = timed(faiss_index.build, rows, seed=args.seed, **options)
        size = saved_size(stored) / args.rows
        for probe in probes:
            (places, _), seconds = timed(faiss_index.search, stored, queries, CUTS[-1], probe)
            truth = places if truth is None else truth
            recalls = ' | '.join(f'{recall(places, truth, k):.3f}' for k in CUTS)
            print(f'| {name} | {probe or "all"} | {recalls} | '
                  f'{1000 * seconds / args.queries:.2f} | {size:.0f} | {built:.0f} |', flush=True)


def recall(places, truth, k):
    return np.mean([len(set(a[:k]) & set(b[:k])) / k for a, b in zip(places, truth)])


def saved_size(stored):
    with tempfile.TemporaryDirectory() as folder:
        faiss_index.save(os.path.join(folder, 'i'), stored)
        return os.path.getsize(os.path.join(folder, 'i.faiss'))


def timed(function, *args, **options):
    start = time.perf_counter()
    return function(*args, **options), time.perf_counter() - start


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
