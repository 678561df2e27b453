"""The study of middle layers: pooled maps, whitened by PCA and combined without training.

`maps.py` saves the region vectors of several maps, `combinations.py` makes descriptors from them,
and `retrieval.py` scores the descriptors. This module has the constants for flags, and imports
nothing heavy.
"""

STRIDES = (32, 16, 8, 4)    # a map is named by its stride: res5, res4, res3, res2
MASTER = 'master'           # the descriptor of the released net, saved with the maps

# number of maps, from the last stage backwards, -> their strides
MAPS = {'1': (32,), '2': (32, 16), '4': (32, 16, 8, 4), 'middle': (16,)}
