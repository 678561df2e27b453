#!/usr/bin/env python3
"""Search descriptors with a faiss index, or in Milvus.

    python myPython/search_index.py build --features tmp/features --kind ivfpq --index tmp/index
    python myPython/search_index.py search --queries tmp/queries --index tmp/index --k 10
    python myPython/search_index.py milvus_load --features tmp/features --uri tmp/milvus.db
    python myPython/search_index.py milvus_search --queries tmp/queries --uri tmp/milvus.db

Features are folders from convert_images2shards.py, .npy files with a text file that names their
rows, or STEMs of test.py's features, which need their dataset. Hits are written to a mapped file
with lines QUERY<TAB>IMAGE:SCORE IMAGE:SCORE ...
"""

import os
import time

from deep_retrieval import cli, paths, subcommands
from deep_retrieval.datasets import DATASETS
from deep_retrieval.search import INDEX_KINDS, MILVUS_KINDS


def build(args):
    """build a faiss index and save it"""
    from deep_retrieval.search import faiss_index
    features = opened(args, args.features, 'database')
    start = time.perf_counter()
    stored = faiss_index.build(features, args.kind, args.cells, args.code_bytes, args.refine,
                               args.seed)
    faiss_index.save(args.index, stored)
    size = os.path.getsize(f'{args.index}.faiss')
    print(f'{args.index}.faiss: {len(features)} x {features.dim}, {args.kind}, '
          f'{size / len(features):.0f} bytes per row, {time.perf_counter() - start:.1f} s')


def search(args):
    """search a faiss index"""
    from deep_retrieval.search import faiss_index
    stored, queries = faiss_index.load(args.index), opened(args, args.queries, 'queries')
    start = time.perf_counter()
    hits = faiss_index.find(stored, queries, args.k, args.probes)
    write(args.output, queries.names, hits, time.perf_counter() - start)


def milvus_load(args):
    """load descriptors into Milvus"""
    from deep_retrieval.search import milvus_store
    features = opened(args, args.features, 'database')
    with milvus_store.Store(args.uri, args.collection) as store:
        store.load(features, args.milvus_index, args.overwrite)
        print(f'{args.uri}: {store.count()} x {features.dim} in the collection {args.collection}')


def milvus_search(args):
    """search descriptors in Milvus"""
    from deep_retrieval.search import milvus_store
    queries = opened(args, args.queries, 'queries')
    with milvus_store.Store(args.uri, args.collection) as store:
        start = time.perf_counter()
        hits = store.search(queries.rows(), args.k, queries.made_from)
        write(args.output, queries.names, hits, time.perf_counter() - start)


def opened(args, path, part):
    """Open saved features of any kind; `part` selects the queries or images of a STEM."""
    import deep_retrieval as dr
    return dr.open_features(path, dataset=lambda: dr.open_dataset(args.dataset, args.dataset_name),
                            part=part)


def write(path, names, hits, seconds):
    """Write hits as a mapped file, and print how many there are."""
    from deep_retrieval.duplicates import mapped_files
    mapped_files.write(path, zip(names, hits, strict=True))
    print(f'{path}: {sum(map(len, hits))} hits of {len(names)} queries, '
          f'{1000 * seconds / max(1, len(names)):.2f} ms per query')


SAVED = paths.TEMP / 'demo/Oxford_S512_L2'
FLAGS = {
    'features': dict(default=SAVED, help='features to search in: a folder of shards, an .npy file, '
                     "or a STEM of test.py's features"),
    'queries': dict(default=SAVED, help='features to search for, in the same formats'),
    'dataset': dict(default=paths.DATASETS / 'demo', help='dataset of a STEM'),
    'dataset_name': dict(choices=sorted(DATASETS),
                         help='layout of that folder; by default it is recognized'),
    'index': dict(default=paths.TEMP / 'index', metavar='PATH',
                  help='the files PATH.faiss and PATH.json'),
    'kind': dict(choices=INDEX_KINDS, default='flat',
                 help='flat compares a query with every row, ivfpq with compressed rows of the '
                      'nearest cells'),
    'cells': dict(type=cli.positive, help='cells of ivfpq; by default about 4 sqrt(rows)'),
    'code_bytes': dict(type=cli.positive,
                       help='bytes per code; by default an eighth of the dimensions'),
    'refine': dict(action='store_true',
                   help='also keep the full rows, and rescore the best hits with them'),
    'seed': dict(type=cli.natural, default=0, help='seed of k-means'),
    'k': dict(type=cli.positive, default=10, help='hits per query'),
    'probes': dict(type=cli.positive, default=16, help='cells to search per query'),
    'output': dict(default=paths.TEMP / 'hits.txt', help='mapped file to write'),
    'uri': dict(default=paths.TEMP / 'milvus.db',
                help='a .db of Milvus Lite, or a server such as http://localhost:19530'),
    'collection': dict(default='descriptors', help='name of the collection in Milvus'),
    'milvus_index': dict(choices=MILVUS_KINDS, default='FLAT',
                         help='type of the Milvus index; FLAT is exact'),
    'overwrite': dict(action='store_true', help='drop a collection of other descriptors'),
}
DATASET = 'dataset dataset_name'
MODES = {
    'build': (build, f'features index kind cells code_bytes refine seed {DATASET}'),
    'search': (search, f'queries index k probes output {DATASET}'),
    'milvus_load': (milvus_load, f'features uri collection milvus_index overwrite {DATASET}'),
    'milvus_search': (milvus_search, f'queries uri collection k output {DATASET}'),
}

if __name__ == '__main__':
    subcommands.run(__doc__, MODES, FLAGS)
