#!/usr/bin/env python3
"""Measure recall, time and memory of faiss indices against an exhaustive search.

    python benchmarks/index_recall.py

Recall@k is the share of the k nearest rows among the k rows found. The descriptors are synthetic
(synthetic_descriptors.py): half are views of objects, half are single pictures.
"""

import os
import tempfile
import time

from deep_retrieval import cli

CUTS = (1, 10, 100)
PROBES = (1, 4, 16, 64)


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--rows', type=cli.positive, default=200_000, help='descriptors searched')
    parser.add_argument('--dim', type=cli.positive, default=512, help='their dimensions')
    parser.add_argument('--queries', type=cli.positive, default=200, help='queries')
    parser.add_argument('--seed', type=cli.natural, default=0, help='random seed')
    return parser.parse_args()


def main(args):
    import synthetic_descriptors
    from deep_retrieval.features import Features
    from deep_retrieval.search import faiss_index
    values = synthetic_descriptors.make(args.rows, args.dim, args.seed)
    queries, _ = synthetic_descriptors.queries_of(values, args.queries, args.seed)
    rows = Features('synthetic descriptors', [str(i) for i in range(args.rows)], values, {})
    print(f'{args.rows} x {args.dim}, {args.queries} queries')
    print('| index | probes | recall@1 | @10 | @100 | ms/query | bytes/row | built in s |')
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
    shares = [len({*a[:k]} & {*b[:k]}) / k for a, b in zip(places, truth, strict=True)]
    return sum(shares) / len(shares)


def saved_size(stored):
    from deep_retrieval.search import faiss_index
    with tempfile.TemporaryDirectory() as folder:
        faiss_index.save(os.path.join(folder, 'i'), stored)
        return os.path.getsize(os.path.join(folder, 'i.faiss'))


def timed(function, *args, **options):
    start = time.perf_counter()
    return function(*args, **options), time.perf_counter() - start


if __name__ == '__main__':
    cli.run(parse_args, main)
