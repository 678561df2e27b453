"""What is known of each dataset's images: their mean colour (B, G, R) and their size.

    python myPython/dataset_helper/oxford_helper.py cal_image_mean_channel

computes one. A net subtracts the mean of the images that it was trained with. For all nets here
that is the original's, `NET`, except for the student that learned from covers.
"""

NET = (103.93900299, 116.77899933, 123.68000031)
OXFORD = (99.74151, 108.75074, 113.17747)
COVER = (117.80904, 130.27611, 134.65074)   # of the training set

MEANS = {'net': NET, 'oxford': OXFORD, 'cover': COVER}

# height, width in pixels, of the images that nets are trained with
SIZES = {'cover': (280, 496), 'paris': (384, 512), 'landmark': (288, 384)}
