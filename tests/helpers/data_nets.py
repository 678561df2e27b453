"""Nets of one layer that reads the files that genuine Caffe was given."""

import json

import caffe
import numpy as np
import pytest
from conftest import ROOT

DATA = ROOT / 'tests/data/genuine/data'


def recorded(file, random=False):
    """Cases of a recording: (prototxt, phase, {'blob/batch': array})."""
    with np.load(DATA / file) as arrays:
        for case in json.loads(str(arrays['index'])):
            if case.get('random', False) != random:
                continue
            prefix = case['name'] + '/'
            batches = {key.removeprefix(prefix): arrays[key] for key in arrays.files
                       if key.startswith(prefix)}
            yield pytest.param(case['prototxt'].replace('@DIR@', '.'),
                               getattr(caffe, case['phase']), batches, id=case['name'])


def layer(type, *parts, tops=('data', 'label')):
    return (f'layer {{ name: "d" type: "{type}" ' + ' '.join(f'top: "{top}"' for top in tops)
            + f' {" ".join(parts)} }}')


def labels(net, batches):
    return [int(label) for _ in range(batches) for label in net.forward()['label']]
