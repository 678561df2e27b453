"""The study of middle layers: pooled maps, whitened by PCA without training, and combined.

branch_features.py keeps the regions of several maps, pca.py whitens, experiments.py combines;
scripts.py is what the pairs of scripts in the folders here share.
"""
