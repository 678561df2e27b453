"""Store and search descriptors in Milvus, a service for several programs.

    with milvus_store.Store('tmp/milvus.db', 'descriptors') as store:
        store.load(features)
        hits = store.search(queries, k=10)          # [[Hit(name, similarity), ...], ...]

A URI that ends in .db is a folder of Milvus Lite, which runs in this process. A URI such as
http://localhost:19530 is a server or cluster; the environment variable MILVUS_TOKEN is sent to it.
Each row is an entity: its number, the name of its image, a hash of its model, and the descriptor.
The similarity is the inner product.
"""

import hashlib
import json
import logging
import os

import numpy as np

from deep_retrieval import optional, progress
from deep_retrieval.feature_shards import FeatureFolder
from deep_retrieval.features import MODEL, Features, NamedRows, check_rows
from deep_retrieval.ranking import Hit

BATCH = 1000        # entities per message; for D = 2048 that is 8 MB, and a server accepts 64 MB
NAME_BYTES = 4096   # maximum length of a name in UTF-8


def model_hash(made_from: dict) -> str:
    """Return a hash of the model that descriptors were made by, given their manifest."""
    said = json.dumps([made_from.get(key) for key in MODEL])
    return hashlib.sha256(said.encode()).hexdigest()[:32]


class Store:
    """A collection in Milvus, created by `load`.

    Raises
    ------
    RuntimeError
        Milvus reports an error; one line with its message.
    """

    def __init__(self, uri: str, collection: str = 'descriptors'):
        pymilvus = _pymilvus()
        self.uri, self.collection = str(uri), collection
        if self.uri.endswith('.db'):
            optional.need('milvus_lite', 'milvus')
            os.makedirs(os.path.dirname(self.uri) or '.', exist_ok=True)
        self._client = self._call(pymilvus.MilvusClient, self.uri,
                                  token=os.environ.get('MILVUS_TOKEN', ''))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._client.close()

    def load(self, features: Features | FeatureFolder | NamedRows, kind: str = 'FLAT',
             overwrite: bool = False) -> None:
        """Insert all rows into the collection; an interrupted run resumes.

        Parameters
        ----------
        features : Features, FeatureFolder or NamedRows
        kind : str
            Type of the Milvus index, one of `search.MILVUS_KINDS`; FLAT is exact.
        overwrite : bool
            Drop a collection of other descriptors instead of raising ValueError.
        """
        model = model_hash(features.made_from)
        if overwrite and self._there():
            self._call(self._client.drop_collection, self.collection)
        if not self._there():
            self._create(features.dim, kind)
        self._call(self._client.load_collection, self.collection)
        done = self.count()
        if done:
            self._check_model(features.made_from, features.path, features.dim)
            last = self._entity(done - 1)
            if done > len(features) or last['name'] != features.names[done - 1]:
                raise ValueError(f'{self.uri}: the collection {self.collection} has the '
                                 f'descriptors of other images than {features.path}; --overwrite '
                                 'drops them')
        with progress.bar(total=len(features), initial=done, unit='image', desc='milvus') as bar:
            for start in range(done, len(features), BATCH):
                rows = features.rows(start, start + BATCH)
                names = features.names[start:start + BATCH]
                check_rows(features.path, rows, names, start=start)
                self._call(self._client.upsert, self.collection, [
                    {'id': start + i, 'name': name, 'model': model, 'vector': row}
                    for i, (name, row) in enumerate(zip(names, rows, strict=True))])
                bar.update(len(rows))

    def count(self) -> int:
        """Count the entities of the collection."""
        found = self._call(self._client.query, self.collection, output_fields=['count(*)'],
                           consistency_level='Strong')
        return found[0]['count(*)']

    def search(self, queries: np.ndarray, k: int, made_from: dict | None = None) -> list[list[Hit]]:
        """Find the k images most similar to each query, most similar first.

        Parameters
        ----------
        queries : Q x D
        k : int
        made_from : dict, optional
            What the queries were made from; ValueError if their model is different.
        """
        if not self._there():
            raise ValueError(f'{self.uri}: has no collection {self.collection}; search_index.py '
                             'milvus_load makes it')
        self._call(self._client.load_collection, self.collection)
        queries = np.asarray(queries, np.float32)
        self._check_model(made_from, 'the queries', queries.shape[1])
        hits = []
        for start in range(0, len(queries), BATCH):
            found = self._call(self._client.search, self.collection,
                               data=queries[start:start + BATCH], limit=k,
                               output_fields=['name'], search_params={'metric_type': 'IP'},
                               consistency_level='Strong')
            hits += [[Hit(hit['entity']['name'], hit['distance']) for hit in row] for row in found]
        return hits

    def _create(self, dim, kind):
        types = _pymilvus().DataType
        schema = self._client.create_schema(auto_id=False)
        schema.add_field('id', types.INT64, is_primary=True)
        schema.add_field('name', types.VARCHAR, max_length=NAME_BYTES)
        schema.add_field('model', types.VARCHAR, max_length=32)
        schema.add_field('vector', types.FLOAT_VECTOR, dim=dim)
        indices = self._client.prepare_index_params()
        indices.add_index('vector', index_type=kind, metric_type='IP')
        self._call(self._client.create_collection, self.collection, schema=schema,
                   index_params=indices)

    def _check_model(self, made_from, path, dim):
        fields = self._call(self._client.describe_collection, self.collection)['fields']
        stored = next(field['params']['dim'] for field in fields if field['name'] == 'vector')
        first = self._entity(0)
        other = made_from is not None and first and first['model'] != model_hash(made_from)
        if int(stored) != dim or other:
            raise ValueError(f'{self.uri}: the collection {self.collection} has descriptors of '
                             f'another model than {path}, of {stored} dimensions')

    def _entity(self, number):
        found = self._call(self._client.query, self.collection, ids=[number],
                           output_fields=['name', 'model'], consistency_level='Strong')
        return found[0] if found else None

    def _there(self):
        return self._call(self._client.has_collection, self.collection)

    def _call(self, function, *args, **kwargs):
        from pymilvus.exceptions import MilvusException
        try:
            return function(*args, **kwargs)
        except MilvusException as error:
            raise RuntimeError(f'{self.uri}: {error.message}') from None


def _pymilvus():
    """Import pymilvus without its log, since errors are raised as exceptions anyway."""
    pymilvus = optional.need('pymilvus', 'milvus')
    for name in ('pymilvus', 'milvus_lite'):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return pymilvus
