"""The gradient of every built-in type against finite differences, and what backward makes of it.

A new type has a row in TABLE, a file test_<name>_layer.py that calls check_gradients, or a reason
in WITHOUT.
"""

import re
from pathlib import Path

import caffe
import numpy as np
import pytest
import torch
from caffe.layer import param_count
from conftest import check_gradients

WITHOUT = {
    **dict.fromkeys(['Data', 'DummyData', 'HDF5Data', 'ImageData', 'Input', 'MemoryData',
                     'WindowData'], 'makes data'),
    **dict.fromkeys(['HDF5Output', 'Silence'], 'has no top'),
    **dict.fromkeys(['Accuracy', 'ArgMax', 'Threshold'], 'is constant except for steps'),
    'Parameter': "its parameter's diff is its top's, the same memory",
    'Python': 'is written by the user, backward included',
}

IMAGES = (2, 3, 5, 4)
UNIFORM = '{ type: "uniform" min: -1 max: 1 }'
FILL = f'weight_filler {UNIFORM} bias_filler {UNIFORM}'
CONV = 'convolution_param { %s ' + FILL + ' }'
RECURRENT = 'recurrent_param { num_output: 2 %s ' + FILL + ' }'
SCALE = 'filler { type: "uniform" min: 0.5 max: 2 }'
ROIS = [[0, 0, 0, 3, 3], [1, 1, 2, 2, 4], [1, 3, 0, 9, 9]]
CONT = [[0, 0], [1, 1], [1, 0]]
PROBABILITIES = [[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]
TARGETS = [[0, 1, 0.25], [0.75, 0, 1]]

# type, bottoms (a shape to be filled, or values), the prototxt's further fields, how many tops
TABLE = [
    ('AbsVal', [(2, 3)]), ('BNLL', [(2, 3)]), ('Sigmoid', [(2, 3)]), ('TanH', [(2, 3)]),
    ('Swish', [(2, 3)], 'swish_param { beta: 0.7 }'),
    ('Clip', [(2, 5)], 'clip_param { min: -0.7 max: 0.9 }'),
    ('ELU', [(2, 3)], 'elu_param { alpha: 0.5 }'),
    ('Exp', [(2, 3)], 'exp_param { base: 3 scale: 0.5 shift: 0.1 }'), ('Exp', [(2, 3)]),
    ('Log', [(2, 3)], 'log_param { base: 2 scale: 0.5 shift: 3 }'),
    ('Power', [(2, 3)], 'power_param { power: 3 scale: 0.5 shift: 1 }'),
    ('Power', [(2, 3)], 'power_param { power: -0.5 shift: 3 }'),
    ('PReLU', [(2, 3, 2)]), ('PReLU', [(2, 3, 2)], 'prelu_param { channel_shared: true }'),
    ('ReLU', [(2, 3)]), ('ReLU', [(2, 3)], 'relu_param { negative_slope: 0.3 }'),
    ('Dropout', [(4, 5)], 'dropout_param { dropout_ratio: 0.3 }'),
    ('Dropout', [(4, 5)], 'phase: TEST'),

    ('Convolution', [IMAGES], CONV % 'num_output: 4 kernel_size: 3 pad: 1 stride: 2'),
    ('Convolution', [(2, 4, 5, 4)], CONV % 'num_output: 6 kernel_size: 2 dilation: 2 group: 2'),
    ('Convolution', [(1, 2, 3, 4, 3)], CONV % 'num_output: 2 kernel_size: 2'),
    ('Convolution', [IMAGES, IMAGES], CONV % 'num_output: 2 kernel_size: 3 bias_term: false', 2),
    ('Deconvolution', [(2, 3, 3, 2)], CONV % 'num_output: 4 kernel_size: 3 pad: 1 stride: 2'),
    ('Deconvolution', [(2, 4, 3, 2)], CONV % 'num_output: 2 kernel_size: 2 group: 2 dilation: 2'),
    ('Im2col', [IMAGES], 'convolution_param { kernel_size: 3 pad: 1 stride: 2 }'),
    ('Crop', [IMAGES, (2, 3, 2, 3)], 'crop_param { axis: 2 offset: 2 offset: 1 }'),
    ('Pooling', [IMAGES], 'pooling_param { kernel_size: 3 stride: 2 }'),
    ('Pooling', [IMAGES], 'pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }'),
    ('Pooling', [IMAGES], 'pooling_param { pool: AVE global_pooling: true }'),
    ('SPP', [IMAGES], 'spp_param { pyramid_height: 2 }'),
    ('SPP', [IMAGES], 'spp_param { pyramid_height: 2 pool: AVE }'),
    ('ROIPooling', [IMAGES, ROIS], 'roi_pooling_param { pooled_h: 2 pooled_w: 3 }'),
    ('ROIPooling', [IMAGES, ROIS],
     'roi_pooling_param { pooled_h: 1 pooled_w: 1 spatial_scale: 0.5 }'),

    ('InnerProduct', [(2, 3, 2)], f'inner_product_param {{ num_output: 4 {FILL} }}'),
    ('InnerProduct', [(2, 3, 2)],
     f'inner_product_param {{ num_output: 4 axis: 2 transpose: true {FILL} }}'),
    ('Embed', [[2, 0, 2]], f'embed_param {{ input_dim: 3 num_output: 2 {FILL} }}'),
    ('Scale', [(2, 3, 2)], f'scale_param {{ bias_term: true {SCALE} }}'),
    ('Scale', [(1, 3, 5, 4)], f'scale_param {{ {SCALE} }}'), ('Scale', [(2, 3, 2), (3, 2)]),
    ('Scale', [(2, 3, 2)], f'scale_param {{ axis: 0 num_axes: 2 {SCALE} }}'),
    ('Bias', [(2, 3, 2)], f'bias_param {{ {SCALE} }}'), ('Bias', [(2, 3, 2), (3,)]),

    ('BatchNorm', [IMAGES]), ('BatchNorm', [(6, 2)]), ('BatchNorm', [(1, 3, 5, 4)]),
    ('BatchNorm', [IMAGES], 'batch_norm_param { use_global_stats: true eps: 0.1 }'),
    ('BatchNorm', [(1, 3, 5, 4)], 'batch_norm_param { use_global_stats: true }'),
    ('LRN', [IMAGES], 'lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 k: 2 }'),
    ('LRN', [IMAGES], 'lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }'),
    # Caffe's gradient leaves eps out, so that it is the derivative only for a small one
    ('MVN', [IMAGES]), ('MVN', [IMAGES], 'mvn_param { across_channels: true }'),
    ('MVN', [IMAGES], 'mvn_param { normalize_variance: false }'),
    ('Softmax', [(2, 3, 2)]), ('Softmax', [(2, 3, 2)], 'softmax_param { axis: -1 }'),
    ('Normalize', [IMAGES]), ('Normalize', [(3, 4)]),

    ('BatchReindex', [(3, 2), [2, 0, 2, 2]]),
    ('Concat', [(2, 3), (2, 2)]), ('Concat', [(2, 3), (1, 3)], 'concat_param { axis: 0 }'),
    ('Eltwise', [(2, 3)] * 3, 'eltwise_param { coeff: 2 coeff: -1 coeff: 0.5 }'),
    ('Eltwise', [(2, 3)] * 3, 'eltwise_param { operation: PROD }'),
    ('Eltwise', [(2, 3)] * 3, 'eltwise_param { operation: MAX }'),
    ('Filter', [(4, 2), (4, 3), [1, 0, 0, 2]], '', 2),
    ('Flatten', [(2, 3, 2)]), ('Reshape', [(2, 3)], 'reshape_param { shape { dim: 3 dim: -1 } }'),
    ('Reduction', [(2, 6)], 'reduction_param { axis: 1 operation: SUM coeff: 3 }'),
    ('Reduction', [(2, 6)], 'reduction_param { axis: 1 operation: ASUM }'),
    ('Reduction', [(2, 6)], 'reduction_param { operation: SUMSQ }'),
    ('Reduction', [(2, 6)], 'reduction_param { operation: MEAN coeff: -1 }'),
    ('Slice', [(2, 5)], 'slice_param { slice_point: 1 slice_point: 3 }', 3),
    ('Split', [(2, 3)], '', 2), ('Tile', [(2, 3)], 'tile_param { axis: 0 tiles: 3 }'),

    ('LSTM', [(3, 2, 4), CONT, (2, 3)], RECURRENT % ''),
    ('LSTM', [(3, 2, 4), CONT, (1, 2, 2), (1, 2, 2)], RECURRENT % 'expose_hidden: true', 3),
    ('RNN', [(3, 2, 4), CONT, (2, 3)], RECURRENT % ''),
    ('LSTMUnit', [(1, 2, 3), (1, 2, 12), [[1, 0]]], '', 2),

    # Caffe divides by the distance plus 1e-4: less than the tolerance, at distances above 1
    ('ContrastiveLoss', [(4, 3), (4, 3), [1, 0, 0, 1]], 'contrastive_loss_param { margin: 9 }'),
    ('ContrastiveLoss', [(4, 3), (4, 3), [1, 0, 0, 1]],
     'contrastive_loss_param { margin: 9 legacy_version: true }'),
    ('EuclideanLoss', [(2, 3), (2, 3)]),
    ('HingeLoss', [(3, 4), [2, 0, 3]]),
    ('HingeLoss', [(3, 4), [2, 0, 3]], 'hinge_loss_param { norm: L2 }'),
    ('InfogainLoss', [(2, 3), [2, 0], [[1, 0.5, 0], [0, 1, 2], [-1, 0, 1]]]),
    ('LiftedStructSimilaritySoftmaxLoss', [(6, 3), [0, 0, 1, 1, 0, 2]]),
    ('MultinomialLogisticLoss', [PROBABILITIES, [2, 0]]),
    ('SigmoidCrossEntropyLoss', [(2, 3), TARGETS]),
    ('SigmoidCrossEntropyLoss', [(2, 3), TARGETS],
     'loss_param { ignore_label: 1 normalization: VALID }'),
    ('SoftmaxWithLoss', [(2, 3, 2), [[2, 0], [1, 1]]], 'loss_param { ignore_label: 1 }'),
    ('SoftmaxWithLoss', [(2, 3), [2, 0]], '', 2),
    ('TripletLoss', [(4, 3)] * 3, 'triplet_loss_param { margin: 9 }'),
]


def spread(shapes):
    """Arrays of numbers from -2 to 2 at equal distances, shuffled: none is near 0 or another."""
    counts = [int(np.prod(shape)) for shape in shapes]
    values = (np.arange(sum(counts)) + 0.5) * 4 / sum(counts) - 2
    values = np.random.default_rng(1).permutation(values)
    return [part.reshape(shape) for part, shape in zip(np.split(values, np.cumsum(counts)), shapes)]


@pytest.fixture(params=TABLE, ids=lambda case: re.sub(r'\W+', ' ', f'{case[0]} {case[2:3]}')[:60])
def net(request, make_net):
    kind, bottoms, param, tops = *request.param, *('', 1)[len(request.param) - 2:]
    filled = iter(spread([bottom for bottom in bottoms if isinstance(bottom, tuple)]))
    values = [next(filled) if isinstance(bottom, tuple) else np.array(bottom) for bottom in bottoms]
    text = 'force_backward: true '
    for i, value in enumerate(values):
        dims = ' '.join(f'dim: {dim}' for dim in value.shape)
        text += (f'layer {{ name: "x{i}" type: "Input" top: "x{i}" '
                 f'input_param {{ shape {{ {dims} }} }} }}\n')
    ends = ''.join(f'bottom: "x{i}" ' for i in range(len(values)))
    ends += ''.join(f'top: "y{i}" ' for i in range(tops))
    net = make_net(text + f'layer {{ name: "L" type: "{kind}" {ends} {param} }}', caffe.TRAIN)
    for i, value in enumerate(values):
        net.blobs[f'x{i}'].data[...] = value
    layer = net.layer_dict['L']
    if kind == 'BatchNorm':
        for blob, value in zip(net.params['L'], ([0.3, -0.2, 0.1], [1.5, 2, 0.7], 2)):
            blob.data[...] = value[:len(blob.data)] if blob.data.size > 1 else value
    compute = layer.compute

    def repeatable(*tensors):
        caffe.set_random_seed(1)    # Dropout's mask must be the same each time
        return compute(*tensors)
    layer.compute = repeatable
    return net


def test_the_gradient_of_every_type_is_checked():
    inside = {case[0] for case in TABLE}
    assert inside.isdisjoint(WITHOUT)
    texts = [path.read_text() for path in Path(__file__).parent.glob('test_*_layer.py')]
    own = {kind for text in texts if 'check_gradients(' in text
           for kind in re.findall(r'\btype: "(\w+)"', text)}
    known = inside | set(WITHOUT)
    assert known <= set(caffe.layer_type_list()) <= known | own


def test_every_type_declares_its_parameters(net):
    layer = net.layer_dict['L']
    assert param_count(layer.layer_param) == len(layer.blobs)


# these draw random numbers, go on from the last forward, or change their statistics
UNREPEATABLE = {'Dropout', 'LSTM', 'RNN'}


def test_a_repeatable_type_gives_the_same_tops_twice(net):
    layer = net.layer_dict['L']
    training_norm = layer.type == 'BatchNorm' and not layer.global_stats
    assert layer.repeatable == (layer.type not in UNREPEATABLE and not training_norm)
    if layer.repeatable:
        before = {name: top.copy() for name, top in net.forward().items()}
        parameters = [blob.data.copy() for blob in layer.blobs]
        torch.rand(3, generator=caffe.common.generator())   # chance must not matter
        for name, top in net.forward().items():
            np.testing.assert_array_equal(top, before[name])
        for blob, value in zip(layer.blobs, parameters):
            np.testing.assert_array_equal(blob.data, value)


def test_finite_differences(net):
    check_gradients(net, 'L')


@pytest.mark.parametrize('layout', ['NCHW', 'NHWC'])
def test_backward_gives_the_gradient(net, layout):
    """With diffs of our own at every top, in float32 and however the bottoms lie in memory."""
    layer = net.layer_dict['L']
    net.reshape()
    rng = np.random.default_rng(2)
    varied = [i for i in range(len(net.bottom_names['L'])) if i not in layer.no_gradient]
    inputs = [net.blobs[f'x{i}'] for i in range(len(net.bottom_names['L']))]
    tops = [net.blobs[name] for name in net.top_names['L']]
    leaves = [torch.tensor(blob.data, dtype=torch.float64, requires_grad=True) for blob in inputs]
    weights = [torch.tensor(blob.data, dtype=torch.float64, requires_grad=layer.learns)
               for blob in layer.blobs]
    layer._leaves = dict(enumerate(weights))
    results = layer.compute(*leaves)
    layer._leaves = {}
    results = results if isinstance(results, tuple) else (results,)
    if layout == 'NHWC':
        for blob in inputs:
            if len(blob.shape) == 4:
                blob.tensor = blob.tensor.contiguous(memory_format=torch.channels_last)
    net.forward()
    for blob, result in zip(tops, results, strict=True):
        assert blob.shape == tuple(result.shape)
        np.testing.assert_allclose(blob.data, result.detach(), rtol=1e-4, atol=1e-5)
        blob.diff[...] = rng.normal(size=blob.shape)
    net.backward()
    outputs, diffs = zip(*[(result, torch.tensor(blob.diff, dtype=torch.float64))
                           for blob, result in zip(tops, results) if result.requires_grad])
    leaves = [leaves[i] for i in varied] + weights * layer.learns
    wanted = torch.autograd.grad(outputs, leaves, diffs)
    found = [inputs[i].diff for i in varied] + [blob.diff for blob in layer.blobs if layer.learns]
    assert len(wanted) == len(found) > 0
    for ours, reference in zip(found, wanted):
        np.testing.assert_allclose(ours, reference, rtol=1e-3, atol=1e-4)
    for i in set(range(len(inputs))) - set(varied):
        assert not inputs[i].diff.any()
