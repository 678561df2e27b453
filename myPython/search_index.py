#!/usr/bin/env python3
"""Search descriptors by an index of faiss, or in Milvus.

    python myPython/search_index.py build --features tmp/features --kind ivfpq --index tmp/index
    python myPython/search_index.py search --queries tmp/queries --index tmp/index --k 10
    python myPython/search_index.py milvus_load --features tmp/features --uri tmp/milvus.db
    python myPython/search_index.py milvus_search --queries tmp/queries --uri tmp/milvus.db

Features are folders that convert_images2shards.py wrote, or STEMs of test.py's features, whose
dataset is named then. Hits are written as a mapped file, QUERY<TAB>IMAGE:SCORE IMAGE:SCORE ...
"""

import argparse
import time
from pathlib import Path

from deep_retrieval import cli
from deep_retrieval.datasets import DATASETS, OXFORD_LAYOUT
from deep_retrieval.duplicates import mapped_files
from deep_retrieval.features import check_same
from deep_retrieval.paths import ROOT
from deep_retrieval.saved_features import open_features
from deep_retrieval.search import faiss_index, milvus_store


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    modes = parser.add_subparsers(dest='mode', required=True, metavar='MODE')
    for name, mode in MODES.items():
        sub = modes.add_parser(name, help=mode.__doc__, description=mode.__doc__,
                               formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        for flag in FLAGS[name]:
            sub.add_argument(f'--{flag}', **OPTIONS[flag])
    return parser.parse_args()


def main(args):
    MODES[args.mode](args)


def opened(args, path, part):
    """The descriptors in a folder of shards, or those of test.py."""
    return open_features(path, dataset=lambda: DATASETS[args.dataset_name](args.dataset), part=part)


def build(args):
    """build an index of faiss and save it"""
    features = opened(args, args.features, 'database')
    start = time.perf_counter()
    stored = faiss_index.build(features, args.kind, args.cells, args.code_bytes, args.refine,
                               args.seed)
    faiss_index.save(args.index, stored)
    size = Path(f'{args.index}.faiss').stat().st_size
    print(f'{args.index}.faiss: {len(features)} x {features.dim}, {args.kind}, '
          f'{size / len(features):.0f} bytes a row, {time.perf_counter() - start:.1f} s')


def search(args):
    """search an index of faiss"""
    stored, queries = faiss_index.load(args.index), opened(args, args.queries, 'queries')
    check_same(args.queries, queries.made_from, args.index, stored.made_from)
    k = min(args.k, len(stored.names))
    start = time.perf_counter()
    places, scores = faiss_index.search(stored, queries.rows(), k, args.probes)
    seconds = time.perf_counter() - start
    write(args.output, queries.names, [
        [(stored.names[place], score) for place, score in zip(*row) if place >= 0]
        for row in zip(places, scores.tolist())], seconds)


def milvus_load(args):
    """load descriptors into Milvus"""
    features = opened(args, args.features, 'database')
    with milvus_store.Store(args.uri, args.collection) as store:
        store.load(features, args.milvus_index, args.overwrite)
        print(f'{args.uri}: {store.count()} x {features.dim} in the collection {args.collection}')


def milvus_search(args):
    """search descriptors in Milvus"""
    queries = opened(args, args.queries, 'queries')
    with milvus_store.Store(args.uri, args.collection) as store:
        start = time.perf_counter()
        hits = store.search(queries.rows(), args.k, queries.made_from)
        write(args.output, queries.names, hits, time.perf_counter() - start)


def write(path, names, hits, seconds):
    """Write hits as a mapped file, and say so."""
    mapped_files.write(path, zip(names, hits))
    print(f'{path}: {sum(map(len, hits))} hits of {len(names)} queries, '
          f'{1000 * seconds / max(1, len(names)):.2f} ms a query')


MODES = {'build': build, 'search': search, 'milvus_load': milvus_load,
         'milvus_search': milvus_search}
DATASET = ('dataset', 'dataset_name')
FLAGS = {
    'build': ('features', 'index', 'kind', 'cells', 'code_bytes', 'refine', 'seed', *DATASET),
    'search': ('queries', 'index', 'k', 'probes', 'output', *DATASET),
    'milvus_load': ('features', 'uri', 'collection', 'milvus_index', 'overwrite', *DATASET),
    'milvus_search': ('queries', 'uri', 'collection', 'k', 'output', *DATASET)}
SAVED = str(ROOT / 'tmp/demo/Oxford_S512_L2')
OPTIONS = {
    'features': {'default': SAVED, 'help': "what is searched: a folder of shards, or a STEM of "
                 "test.py's features"},
    'queries': {'default': SAVED, 'help': 'what is searched for, likewise'},
    'dataset': {'default': ROOT / 'datasets/demo', 'help': 'the dataset of a STEM'},
    'dataset_name': {'choices': OXFORD_LAYOUT, 'default': 'Oxford',
                     'help': 'how that folder is read'},
    'index': {'default': str(ROOT / 'tmp/index'), 'metavar': 'PATH',
              'help': 'the files PATH.faiss and PATH.json'},
    'kind': {'choices': faiss_index.KINDS, 'default': 'flat',
             'help': 'flat compares with every row, ivfpq with codes of some'},
    'cells': {'type': cli.positive, 'help': 'cells of ivfpq; by default about 4 sqrt(rows)'},
    'code_bytes': {'type': cli.positive,
                   'help': 'bytes of a code; by default an eighth of the dimensions'},
    'refine': {'action': 'store_true',
               'help': 'hold the rows beside the codes, and score the best hits by them'},
    'seed': {'type': cli.natural, 'default': 0, 'help': 'seed of k-means'},
    'k': {'type': cli.positive, 'default': 10, 'help': 'hits of a query'},
    'probes': {'type': cli.positive, 'default': 16, 'help': 'cells that a query looks into'},
    'output': {'default': str(ROOT / 'tmp/hits.txt'), 'help': 'mapped file to write'},
    'uri': {'default': str(ROOT / 'tmp/milvus.db'),
            'help': 'a .db of Milvus Lite, or a server as http://localhost:19530'},
    'collection': {'default': 'descriptors', 'help': "Milvus's name for them"},
    'milvus_index': {'choices': milvus_store.KINDS, 'default': 'FLAT',
                     'help': "Milvus's index; FLAT is exact"},
    'overwrite': {'action': 'store_true', 'help': 'drop a collection of other descriptors'}}


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
