"""Descriptors of many images: made, kept, read back and searched.

extraction.py runs a net over images and resumes; teacher.py writes what students learn from;
image_shards.py fills folders of shards, which feature_shards.py lays out. saved_features.py and
named_rows.py read what was kept; faiss_index.py and milvus_store.py search it.
"""
