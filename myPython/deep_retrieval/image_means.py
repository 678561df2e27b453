"""The mean of each dataset's images: B, G, R.

    python myPython/dataset_helper/oxford_helper.py cal_image_mean_channel

computes one anew. What a net subtracts is the mean of what it was trained with: for all nets here
that is the original's, `MEAN`, but for the student that learned from covers.
"""

from deep_retrieval.images import MEAN

OXFORD = (99.74151, 108.75074, 113.17747)
COVER = (117.80904, 130.27611, 134.65074)   # of the training set

MEANS = {'net': tuple(MEAN.astype(float).round(8).tolist()), 'oxford': OXFORD, 'cover': COVER}
