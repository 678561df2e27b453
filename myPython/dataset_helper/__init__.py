"""Datasets by the name that `--dataset_name` takes.

    dataset = DATASETS['Oxford']('datasets/Oxford')
"""
from .layout import DatasetError, OxfordHelper, ParisHelper, Query

DATASETS = {'Oxford': OxfordHelper, 'Paris': ParisHelper}
