"""How good a ranking is: ground truth, protocols and scores.

compute_ap.py calls the compiled scorer, protocols.py knows what each protocol counts, gnd_files.py
and gnd_pickle.py read the revisited ground truth. evaluation.py describes, ranks and judges what
query_sets.py reads from a folder.
"""
