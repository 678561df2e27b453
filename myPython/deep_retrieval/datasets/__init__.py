"""Datasets by the name that `--dataset_name` takes.

    dataset = DATASETS['Oxford']('datasets/Oxford')
"""
from deep_retrieval.datasets.oxford import DatasetError, OxfordHelper, ParisHelper, Query

DATASETS = {'Oxford': OxfordHelper, 'Paris': ParisHelper}


def open_dataset(path, name='Oxford', gnd=None):
    """Open the dataset in a folder, by its name in DATASETS or by a revisited ground truth."""
    if gnd:
        from deep_retrieval.datasets import revisited
        return revisited.Revisited(path, revisited.read(gnd))
    return DATASETS[name](path)

__all__ = ['DATASETS', 'DatasetError', 'OxfordHelper', 'ParisHelper', 'Query']
