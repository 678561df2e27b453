"""Descriptors searched by an index of faiss (faiss_index.py) or in Milvus (milvus_store.py)."""
