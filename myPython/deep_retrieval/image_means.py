"""The mean colour (B, G, R) and the size of each dataset's images.

    python myPython/dataset_helper/oxford_helper.py cal_image_mean_channel

computes a mean. A net subtracts the mean of its training images. For all nets here this is the
original's mean, `NET`, except for the student that learned from covers.
"""

NET = (103.93900299, 116.77899933, 123.68000031)
OXFORD = (99.74151, 108.75074, 113.17747)
COVER = (117.80904, 130.27611, 134.65074)   # mean of the training set

MEANS = {'net': NET, 'oxford': OXFORD, 'cover': COVER}

# height, width in pixels of the training images
SIZES = {'cover': (280, 496), 'paris': (384, 512), 'landmark': (288, 384)}
