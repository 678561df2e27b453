"""Nets made of copies against the nets of proto/, and what they compute."""

import caffe
import cv2
import numpy as np
import pytest
import yaml
from conftest import ROOT
from deep_retrieval.model import DescriptorNet
from deep_retrieval.surgery import branches, nets
from deep_retrieval.surgery.clip import clip

PROTO = ROOT / 'proto/deploy_resnet_tiny.prototxt'
TINY = ROOT / 'tests/data/genuine/tiny.caffemodel'
PCA = 'pooled_rois/pca'


def read(path):
    return nets.read_net(str(ROOT / 'proto' / path))


@pytest.fixture
def net():
    return read('deploy_resnet_tiny.prototxt')


@pytest.fixture
def weights():
    return nets.load_weights(TINY)


def specs(layer):
    return [(spec.name, spec.lr_mult, spec.decay_mult) for spec in layer.param]


def test_the_teacher_is_the_one_of_the_original():
    teacher = branches.make_teacher(read('deploy_resnet101.prototxt'))
    assert teacher == read('distilling/deploy_resnet101_teacher_pca2048.prototxt')


def test_a_reduced_teacher_is_the_one_of_the_folder(net, weights):
    reduced, weights = clip(net, weights, PCA, 32)
    expected = read('tiny/distilling/deploy_resnet_tiny_teacher_pca32.prototxt')
    middle = yaml.safe_load(expected.layer[2].python_param.param_str)
    teacher = branches.make_teacher(reduced, middle['h'], middle['w'])
    assert teacher.layer[1:] == expected.layer[1:]      # all but the size of `data`


def test_a_teacher_sums_the_descriptors_of_three_resolutions(net, weights):
    teacher = branches.make_teacher(net, 64, 96)
    built = nets.build(teacher, branches.branch_weights(teacher, weights))
    built.blobs['data'].data[...] = np.random.default_rng(0).uniform(0, 255, (1, 3, 64, 96))
    built.forward()
    single = DescriptorNet(PROTO, TINY, L=2)
    total = 0
    for prefix, height in zip('lmh', (32, 64, 96)):
        assert built.blobs[f'{prefix}_resize'].shape[2] == height
        single.feed('data', built.blobs[f'{prefix}_resize'].data)
        single.feed('rois', built.blobs[f'{prefix}_rois'].data.reshape(-1, 5))
        single.net.forward()
        total = total + single.net.blobs['rmac/normalized'].data.ravel()
    np.testing.assert_allclose(built.blobs['rmac/eltwise/normalized'].data.ravel(),
                               total / np.linalg.norm(total), atol=1e-5)


def test_the_triplet_net_is_the_one_of_the_folder_but_for_its_grid_and_names(net, weights):
    reduced, _ = clip(net, weights, PCA, 32)
    expected = read('tiny/triplet/pca32/train_resnet_tiny_triplet_pca32.prototxt')
    data, test_data = (yaml.safe_load(layer.python_param.param_str)
                       for layer in expected.layer[:2])
    triplet = branches.make_triplet(reduced, data['cls_dir'], data['batch_size'],
                                    expected.layer[-1].triplet_loss_param.margin,
                                    ['pooled_rois/centered', f'{PCA}_32'])
    assert test_data == {**data, 'batch_size': 1}
    grid = expected.layer[2].python_param
    grid.param_str = grid.param_str.replace('paris', 'other')
    for layer in expected.layer:
        if layer.python_param.layer == 'AggregateLayer':
            # made of a deploy net, where images may differ in their number of regions
            layer.bottom[1:] = ['rois']
        for spec in layer.param:
            spec.name = spec.name.replace(f'{PCA}_', f'{PCA}_32_')
    assert triplet.layer == expected.layer


def test_nothing_of_a_triplet_learns_unless_chosen(net):
    layers = branches.make_triplet(net).layer
    assert {spec[1:] for layer in layers for spec in specs(layer)} == {(0, 0)}
    chosen = {layer.name: layer for layer in branches.make_triplet(net, learn=[PCA]).layer}
    for prefix in ('', 'p_', 'n_'):
        assert specs(chosen[f'{prefix}{PCA}']) == [(f'{PCA}_1', 1, 1), (f'{PCA}_2', 2, 1)]
        assert specs(chosen[f'{prefix}pooled_rois/centered'])[1][1] == 0


def test_a_triplet_net_computes_the_loss_of_its_descriptors(net, weights, tmp_path):
    rng = np.random.default_rng(0)
    for name in '012':
        (tmp_path / name).mkdir()
        for image in 'abc':
            cv2.imwrite(str(tmp_path / name / f'{image}.jpg'),
                        rng.integers(0, 256, (288, 384, 3), np.uint8))
    triplet = branches.make_triplet(net, str(tmp_path), 1, 0.5, [PCA])
    nets.write_net(tmp_path / 'a.prototxt', triplet)
    nets.save_weights(tmp_path / 'a.caffemodel', triplet,
                         branches.branch_weights(triplet, weights))
    built = caffe.Net(str(tmp_path / 'a.prototxt'), str(tmp_path / 'a.caffemodel'), caffe.TRAIN)
    loss = float(built.forward()['loss'])
    anchor, positive, negative = (built.blobs[f'{prefix}rmac/normalized'].data.ravel()
                                  for prefix in ('', 'p_', 'n_'))
    expected = max(0, 0.5 + np.sum((anchor - positive) ** 2) - np.sum((anchor - negative) ** 2)) / 2
    assert expected > 0 and loss == pytest.approx(expected, rel=1e-4)
    built.backward()
    assert np.abs(built.params[PCA][0].diff).max() > 0


def test_copies_take_the_weights_without_the_prefix(net, weights):
    triplet = branches.make_triplet(net)
    found = branches.branch_weights(triplet, weights)
    assert len(found) == 3 * len(weights) and found['n_conv1'] is weights['conv1']
    del weights['conv1']
    with pytest.raises(ValueError, match='conv1'):
        branches.branch_weights(triplet, weights)


@pytest.mark.parametrize('make', [branches.make_teacher, branches.make_triplet])
def test_copies_are_made_of_deploy_nets_only(net, make):
    with pytest.raises(ValueError, match='deploy'):
        make(branches.make_triplet(net))
    del net.layer[-1]
    with pytest.raises(ValueError, match='normalized'):
        make(net)


def test_a_triplet_names_layers_that_cannot_learn(net):
    with pytest.raises(ValueError, match='res2a'):
        branches.make_triplet(net, learn=['res2a'])
