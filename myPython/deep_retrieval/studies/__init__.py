"""The study of middle layers: pooled maps, whitened by PCA without training, and combined.

branch_features.py keeps the regions of several maps, pca.py whitens, experiments.py combines, and
retrieval.py scores.
"""

# how many maps -> strides of the maps; that of 32 is the last
MAPS = {'1': (32,), '2': (32, 16), '4': (32, 16, 8, 4), 'middle': (16,)}
