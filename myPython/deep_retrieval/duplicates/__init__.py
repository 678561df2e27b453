"""Near-duplicate images: pairs of similar images, and the groups they form.

similar_pairs.py finds all pairs (pair_runs.py sorts them on disk) and approximate_pairs.py most of
them; mapped_files.py is their file format. thresholds.py counts pairs at several thresholds, and
sweep_report.py prints and plots the counts. cover_groups.py groups the images in a mapped file, and
group_folders.py copies groups into folders of pictures. groups.py does all of this in memory.

This module imports nothing, so scripts can take the defaults of their flags from it.
"""

DECIMALS = 6        # of the scores in a mapped file
GIANT = 200         # images; scripts warn about larger connected groups
