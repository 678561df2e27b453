"""Pairs of similar images: found, kept in mapped files, counted at thresholds and grouped.

similar_pairs.py finds all of them (pair_runs.py sorts them on disk), approximate_pairs.py most of
them. mapped_files.py is the format. thresholds.py counts, sweep_report.py tells of it;
cover_groups.py makes groups, group_folders.py lays them out as folders of pictures.
"""
