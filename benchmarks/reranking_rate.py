#!/usr/bin/env python3
"""Measure time and mAP of alpha-weighted query expansion and of diffusion.

    python benchmarks/reranking_rate.py

The descriptors are synthetic (synthetic_descriptors.py): half are views of objects, half are single
pictures. A query's positives are all views of its object. The parameters are those of the papers.
CPU time on one core (AMD EPYC, Zen 4):

| rows | | once, s | ms/query | mAP |
|---|---|---|---|---|
| 5000 | plain | 0.0 | 0.5 | 64.25 |
| 5000 | alpha-QE | 0.0 | 0.7 | 70.58 |
| 5000 | diffusion | 0.5 | 6.3 | 97.78 |
| 100000 | plain | 0.0 | 12.5 | 55.78 |
| 100000 | alpha-QE | 0.0 | 16.3 | 63.30 |
| 100000 | diffusion | 107.2 | 147.2 | 88.84 |
"""

import time

from deep_retrieval import cli


def parse_args():
    parser = cli.parser(__doc__)
    parser.add_argument('--rows', type=cli.positive, nargs='+', default=[5_000, 100_000],
                        help='descriptors ranked')
    parser.add_argument('--dim', type=cli.positive, default=512, help='their dimensions')
    parser.add_argument('--queries', type=cli.positive, default=70, help='queries')
    parser.add_argument('--k', type=cli.positive, default=50, help='neighbours in the graph')
    parser.add_argument('--alpha', type=float, default=0.99,
                        help='diffusion: the share that is passed on to neighbours')
    parser.add_argument('--seed', type=cli.natural, default=0, help='random seed')
    return parser.parse_args()


def main(args):
    import synthetic_descriptors
    from deep_retrieval import ranking
    from deep_retrieval.ranking import diffusion
    print(f'{args.queries} queries, {args.dim} dimensions')
    print('| rows | | once, s | ms/query | mAP |')
    print('|---|---|---|---|---|')
    for count in args.rows:
        rows = synthetic_descriptors.make(count, args.dim, args.seed)
        queries, things = synthetic_descriptors.queries_of(rows, args.queries, args.seed)
        plain, seconds = timed(ranking.rank, queries, rows)
        show(count, 'plain', 0, seconds, plain, things)
        found, seconds = timed(rank_expanded, queries, rows)
        show(count, 'alpha-QE', 0, seconds, found, things)
        graph, once = timed(diffusion.make_graph, rows, args.k, gamma=3)
        found, seconds = timed(diffusion.rank_by_diffusion, queries, rows, graph, query_k=10,
                               alpha=args.alpha, gamma=3)
        show(count, 'diffusion', once, seconds, found, things)


def rank_expanded(queries, rows):
    from deep_retrieval import ranking
    return ranking.rank(ranking.alpha_expand_queries(queries, rows, n=10, alpha=3), rows)


def show(count, name, once, seconds, found, things):
    from deep_retrieval import metrics
    from synthetic_descriptors import views_of
    indices, _ = found
    precisions = [metrics.average_precision_oxford(row, views_of(thing))
                  for row, thing in zip(indices.tolist(), things, strict=True)]
    print(f'| {count} | {name} | {once:.1f} | {1000 * seconds / len(things):.1f} | '
          f'{100 * sum(precisions) / len(precisions):.2f} |', flush=True)


def timed(function, *args, **options):
    start = time.perf_counter()
    return function(*args, **options), time.perf_counter() - start


if __name__ == '__main__':
    cli.run(parse_args, main)
