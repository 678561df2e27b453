"""An index of descriptors by faiss: built once, saved, and searched by inner product.

    stored = faiss_index.build(features, kind='ivfpq')      # features: a FeatureFolder
    faiss_index.save('tmp/index', stored)
    places, scores = faiss_index.search(faiss_index.load('tmp/index'), queries, k=10)

`flat` compares with every row. `ivfpq` puts the rows into cells by k-means, keeps each as a code of
a few bytes (Jegou et al., Product quantization for nearest neighbor search, 2011), and compares
with the codes of the `probes` cells nearest to the query; with `refine` it holds the rows too and
scores the best candidates by them. Beside PATH.faiss stands PATH.json, which says what it was made
from.
"""

import json
import os
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from deep_retrieval.features import check_rows
from deep_retrieval.files import write_aside
from deep_retrieval.store import sha256

KINDS = ('flat', 'ivfpq')
BLOCK = 16384       # rows at a time
BITS = 8            # of a code's part: 256 centroids
TRAINED = 64        # rows a cell, and 64 * 256 rows for the codes, that k-means learns from
CANDIDATES = 10     # of a refined index, for each hit


class Index(NamedTuple):
    """A faiss index, the names of its rows, and dicts of its kind and of what made the rows."""

    faiss: object
    names: list
    kind: dict
    made_from: dict


def build(features, kind='flat', cells=None, code_bytes=None, refine=False, seed=0):
    """An Index of features (`names`, `len`, `dim`, `rows(start, stop)`, `made_from`, `path`).

    cells : of ivfpq; by default about 4 sqrt(N). code_bytes : of a row, a divisor of the dimension;
    by default an eighth of it. refine : hold the rows too. seed : of k-means and its sample
    ValueError for rows that are not finite, too few of them, or a length that does not divide.
    """
    if kind not in KINDS:
        raise ValueError(f'no kind of index {kind!r}; known are {", ".join(KINDS)}')
    import faiss
    count, dim = len(features), features.dim
    about = {'kind': kind}
    if kind == 'flat':
        made = faiss.IndexFlatIP(dim)
    else:
        about |= {'cells': _cells(count, cells), 'code_bytes': _code_bytes(dim, code_bytes),
                  'refine': refine, 'seed': seed}
        made = _ivfpq(faiss, dim, about)
        sample = np.random.default_rng(seed).permutation(count)
        sample = np.sort(sample[:TRAINED * max(about['cells'], 2 ** BITS)])
        made.train(_take(features, sample))
        if refine:
            made = faiss.IndexRefineFlat(made)
    for start in tqdm(range(0, count, BLOCK), unit='block', desc='index', disable=None, delay=2):
        made.add(_checked(features, start, start + BLOCK))
    return Index(made, list(features.names), about, features.made_from)


def search(stored, queries, k, probes=16):
    """The k rows nearest to each query: places (Q x k) and scores (Q x k float32), best first.

    queries : Q x D. probes : cells that an ivfpq looks into. A place of -1 stands for a row that
    was not found, where those cells have too few. ValueError for another D.
    """
    import faiss
    queries = np.ascontiguousarray(queries, np.float32)
    if queries.ndim != 2 or queries.shape[1] != stored.faiss.d:
        raise ValueError(f'the index has rows of {stored.faiss.d} dimensions, and the queries are '
                         f'of shape {queries.shape}')
    if not 1 <= k <= stored.faiss.ntotal:
        raise ValueError(f'k is {k}, but must be 1 to {stored.faiss.ntotal}, the rows of the index')
    if stored.kind['kind'] == 'flat':
        scores, places = stored.faiss.search(queries, k)
        return places, scores
    parameters = faiss.SearchParametersIVF(nprobe=min(probes, stored.kind['cells']))
    if stored.kind['refine']:
        parameters = faiss.IndexRefineSearchParameters(
            k_factor=min(CANDIDATES, stored.faiss.ntotal / k), base_index_params=parameters)
    scores, places = stored.faiss.search(queries, k, params=parameters)
    return places, scores


def save(path, stored):
    """Write an Index as PATH.faiss and PATH.json."""
    import faiss
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    write_aside(f'{path}.faiss', lambda file: faiss.write_index(
        stored.faiss, faiss.PyCallbackIOWriter(file.write)))
    note = {**stored.kind, 'sha256': sha256(f'{path}.faiss'), 'made_from': stored.made_from,
            'names': stored.names}
    write_aside(f'{path}.json', lambda file: file.write((json.dumps(note) + '\n').encode()))


def load(path):
    """The Index that `save` wrote. ValueError, in one line, where the two files do not fit."""
    import faiss
    for file in (f'{path}.faiss', f'{path}.json'):
        if not os.path.exists(file):
            raise ValueError(f'{file}: there is no such file; search_index.py build makes it')
    try:
        with open(f'{path}.json', encoding='utf-8') as file:
            kind = json.load(file)
        names, made_from, digest = (kind.pop(key) for key in ('names', 'made_from', 'sha256'))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f'{path}.json: is damaged; build the index anew') from None
    # before faiss reads it: what is damaged can be anything
    if sha256(f'{path}.faiss') != digest:
        raise ValueError(f'{path}.faiss: is not what {path}.json was written for; build it anew')
    return Index(faiss.read_index(f'{path}.faiss'), names, kind, made_from)


def _ivfpq(faiss, dim, about):
    made = faiss.IndexIVFPQ(faiss.IndexFlatIP(dim), dim, about['cells'], about['code_bytes'],
                            BITS, faiss.METRIC_INNER_PRODUCT)
    for clustering in (made.cp, made.pq.cp):
        clustering.seed, clustering.min_points_per_centroid = about['seed'], 1
    return made


def _cells(count, cells):
    if count < 2 ** BITS:
        raise ValueError(f'ivfpq learns from at least {2 ** BITS} rows, and there are {count}: '
                         'take flat')
    cells = cells or max(1, min(int(4 * count ** 0.5), count // TRAINED))
    if cells > count:
        raise ValueError(f'{count} rows cannot fill {cells} cells')
    return cells


def _code_bytes(dim, code_bytes):
    code_bytes = code_bytes or max(1, dim // 8)
    if dim % code_bytes:
        raise ValueError(f'{code_bytes} bytes do not part {dim} dimensions evenly: take a divisor')
    return code_bytes


def _take(features, places):
    """Some rows, by rising place."""
    parts = []
    for start in range(0, len(features), BLOCK):
        inside = places[(places >= start) & (places < start + BLOCK)] - start
        if len(inside):
            parts.append(_checked(features, start, start + BLOCK)[inside])
    return np.concatenate(parts)


def _checked(features, start, stop):
    rows = features.rows(start, stop)
    check_rows(features.path, rows, features.names[start:stop], start=start)
    return np.ascontiguousarray(rows, np.float32)
