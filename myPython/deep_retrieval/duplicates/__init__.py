"""Near-duplicate images: pairs of similar images, and the groups they form.

similar_pairs.py finds all pairs (pair_runs.py sorts them on disk), approximate_pairs.py most of
them; mapped_files.py is their file format. thresholds.py counts pairs at several thresholds, and
sweep_report.py prints and draws the counts. cover_groups.py groups the images of a mapped file,
group_folders.py copies groups into folders of pictures. groups.py does all of it in memory.

This module imports nothing, so that scripts can take the defaults of their flags from it.
"""

DECIMALS = 6        # of the scores in a mapped file
GIANT = 200         # images; scripts warn of a connected group of more
