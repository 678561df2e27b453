"""Datasets by the name that `--dataset_name` takes.

    dataset = DATASETS['Oxford']('datasets/Oxford')
"""
from .oxford_helper import DatasetError, OxfordHelper, Query
from .paris_helper import ParisHelper

DATASETS = {'Oxford': OxfordHelper, 'Paris': ParisHelper}
