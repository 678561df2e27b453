"""The built-in layer types by family; importing a family registers its types."""

from . import activation, common, data, normalization, python, roi_pooling, utility, vision
