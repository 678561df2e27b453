"""The study of middle layers: pooled maps, whitened by PCA without training, and combined.

`maps.py` keeps the region vectors of several maps, `combinations.py` makes descriptors of them, and
`retrieval.py` scores these. What flags need is here, and imports nothing heavy.
"""

STRIDES = (32, 16, 8, 4)    # a map is named after its stride: res5, res4, res3, res2
MASTER = 'master'           # the descriptor of the released net, beside the maps

# number of maps, from the last stage backwards, -> their strides
MAPS = {'1': (32,), '2': (32, 16), '4': (32, 16, 8, 4), 'middle': (16,)}
