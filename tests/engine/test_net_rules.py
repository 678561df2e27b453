"""Layers that a net includes or excludes by phase, level and stage."""

import caffe
import pytest
from product_net import INPUT

ALL_IN_ONE = '''
layer { name: "train_data" type: "DummyData" top: "data" top: "label"
        include { phase: TRAIN stage: "train" }
        dummy_data_param { shape { dim: 1 dim: 9 } shape { dim: 1 } } }
layer { name: "val_data" type: "DummyData" top: "data" top: "label"
        include { phase: TEST stage: "val" }
        dummy_data_param { shape { dim: 1 dim: 9 } shape { dim: 1 } } }
layer { name: "deploy_data" type: "Input" top: "data" include { phase: TEST stage: "deploy" }
        input_param { shape { dim: 1 dim: 9 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss"
        include { phase: TRAIN stage: "train" } include { phase: TEST stage: "val" } }
layer { name: "pred" type: "Softmax" bottom: "ip" top: "pred"
        include { phase: TEST stage: "deploy" } }
'''


@pytest.mark.parametrize('phase, stage, layers, outputs', [
    (caffe.TRAIN, 'train', ['train_data', 'ip', 'loss'], ['loss']),
    (caffe.TEST, 'val', ['val_data', 'ip', 'loss'], ['loss']),
    (caffe.TEST, 'deploy', ['deploy_data', 'ip', 'pred'], ['pred'])])
def test_one_prototxt_for_all(make_net, phase, stage, layers, outputs):
    net = make_net(ALL_IN_ONE, phase, stages=[stage])
    assert list(net.layer_dict) == layers and net.outputs == outputs
    assert net.blobs['data'].shape == (1, 9) and net.phase == phase


RULES = {'none': '', 'level0': 'include { min_level: 0 max_level: 0 }',
         'level1': 'include { min_level: 1 max_level: 1 }', 'from0': 'include { min_level: 0 }',
         'from1': 'include { min_level: 1 }', 'A': 'include { stage: "A" }',
         'AorB': 'include { stage: "A" } include { stage: "B" }',
         'AandB': 'include { stage: "A" stage: "B" }', 'notA': 'exclude { stage: "A" }',
         'AnotB': 'include { stage: "A" not_stage: "B" }',
         'neither': 'exclude { stage: "A" } exclude { stage: "B" }'}


@pytest.mark.parametrize('level, stages, kept', [
    (0, [], 'none level0 from0 notA neither'), (1, [], 'none level1 from0 from1 notA neither'),
    (-1, [], 'none notA neither'), (0, ['A'], 'none level0 from0 A AorB AnotB'),
    (0, ['B'], 'none level0 from0 AorB notA'), (0, ['A', 'B'], 'none level0 from0 A AorB AandB')])
def test_levels_and_stages(make_net, level, stages, kept):
    text = INPUT
    for name, rule in RULES.items():
        text += f'layer {{ name: "{name}" type: "ReLU" bottom: "ip" top: "{name}" {rule} }}'
    net = make_net(text, level=level, stages=stages)
    assert [name for name in net.layer_dict if name in RULES] == kept.split()
