"""Descriptors searched by an index of faiss (faiss_index.py) or in Milvus (milvus_store.py).

This module imports nothing, so that scripts can take the choices of their flags from it.
"""

INDEX_KINDS = ('flat', 'ivfpq')
MILVUS_KINDS = ('FLAT', 'IVF_FLAT', 'IVF_PQ', 'HNSW', 'AUTOINDEX')
