"""Datasets by the name that `--dataset_name` takes.

    dataset = DATASETS['Oxford']('datasets/Oxford')
"""
from deep_retrieval.datasets.oxford import DatasetError, OxfordHelper, ParisHelper, Query

DATASETS = {'Oxford': OxfordHelper, 'Paris': ParisHelper}

__all__ = ['DATASETS', 'DatasetError', 'OxfordHelper', 'ParisHelper', 'Query']
