"""Search descriptors with a faiss index (faiss_index.py) or in Milvus (milvus_store.py).

This module imports nothing, so scripts can take the choices of their flags from it.
"""

INDEX_KINDS = ('flat', 'ivfpq')
MILVUS_KINDS = ('FLAT', 'IVF_FLAT', 'IVF_PQ', 'HNSW', 'AUTOINDEX')
