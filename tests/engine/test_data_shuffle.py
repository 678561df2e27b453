"""Data layers with `shuffle: true`: each record once a round, in an order that solvers share."""

import caffe
import numpy as np
import pytest
import torch
from caffe.database import write_database
from caffe.datum import image_to_datum

COUNT = 10


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    """A folder with an LMDB of 10 records, whose labels count them."""
    monkeypatch.chdir(tmp_path)
    write_database('db', [(b'%04d' % i, image_to_datum(np.full((1, 1, 1), i, np.uint8), i)
                           .SerializeToString()) for i in range(COUNT)])


def data(name='d', batch_size=COUNT, rest='shuffle: true'):
    return (f'layer {{ name: "{name}" type: "Data" top: "{name}/data" top: "{name}" data_param {{ '
            f'source: "db" batch_size: {batch_size} backend: LMDB {rest} }} }}')


def labels(net, batches=1):
    return [int(label) for _ in range(batches) for label in net.forward()['d']]


def test_each_record_once_a_round(make_net):
    net = make_net(data())
    rounds = [labels(net) for _ in range(5)]
    assert all(sorted(order) == list(range(COUNT)) for order in rounds)
    assert len({tuple(order) for order in rounds}) == 5
    assert (net.blobs['d/data'].data.ravel() == net.blobs['d'].data).all()


def test_a_seed_repeats_the_order(make_net):
    def run(seed, batch_size=4):
        caffe.set_random_seed(seed)
        return labels(make_net(data(batch_size=batch_size)), 20 // batch_size)
    assert run(1) == run(1) == run(1, 5) != run(2)


def test_layers_of_one_net_have_one_order(make_net):
    """So that images may lie in one database and what belongs to them in another."""
    net = make_net(data() + data('other'))
    for _ in range(3):
        out = net.forward()
        assert (out['d'] == out['other']).all()


@pytest.mark.parametrize('seed', ['', 'random_seed: 7'])
def test_solvers_share_one_order(monkeypatch, seed):
    """Two solvers side by side read what one of twice the batch reads, over several rounds."""
    monkeypatch.setattr(caffe.common._State, 'generator', torch.Generator())    # never seeded
    with open('solver.prototxt', 'w') as file:
        file.write('net: "net.prototxt" base_lr: 1 lr_policy: "fixed" snapshot_prefix: "s"' + seed)

    def batches(rank, count, size):
        caffe.set_solver_count(count)
        caffe.set_solver_rank(rank)
        with open('net.prototxt', 'w') as file:
            file.write(data(batch_size=size))
        net = caffe.get_solver('solver.prototxt').net
        return [labels(net) for _ in range(6)]

    try:
        whole = batches(0, 1, 6)
        first, second = (batches(rank, 2, 3) for rank in range(2))
    finally:
        caffe.set_solver_count(1)
        caffe.set_solver_rank(0)
    assert sorted(sum(whole, [])[:COUNT]) == list(range(COUNT))
    assert [batch[::2] for batch in whole] == first
    assert [batch[1::2] for batch in whole] == second


def test_only_training_is_shared_out(make_net):
    try:
        caffe.set_solver_count(2)
        caffe.set_solver_rank(1)
        assert sorted(labels(make_net(data(), caffe.TEST))) == list(range(COUNT))
    finally:
        caffe.set_solver_count(1)
        caffe.set_solver_rank(0)


def test_off_by_default(make_net):
    assert labels(make_net(data(rest='')), 2) == [*range(COUNT)] * 2
    assert labels(make_net(data(rest='shuffle: false')), 2) == [*range(COUNT)] * 2
